"""Self-refine search over whole solutions, after LLaMA-Berry (Zhang et al. 2024).

A solution is a chain of thoughts up to a final answer. It is improved by a critique and a rewriting
below it, and judged by comparison with all other solutions of its problem.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.protocol import UNREAD, Engine, Request, complete
from llamao1_cli.language.marked import Meta, hint
from llamao1_cli.language.protocol import Language
from llamao1_cli.search.grow import SearchRequest
from llamao1_cli.search.pending import Expansion, PendingExpansions, TokenBudget, attach_chain
from llamao1_cli.search.protocol import keep_ratings
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.refine.preference import Comparison, value_log_odds
from llamao1_cli.search.refine.solutions import Refinement, Solutions
from llamao1_cli.search.tree import Node, Tree

# Returns the log-odds [N] that the first solution of each comparison is the better one.
Prefer = Callable[[Sequence[Comparison]], np.ndarray]


def self_refine(
    request: SearchRequest,
    engine: Engine,
    language: Language,
    refinement: Refinement,
    prefer: Prefer | None,
) -> list[Tree]:
    """Returns a tree of solutions and rewritings for each problem, reproducible from its seed.

    `prefer` says which solution of two is better; without it the values of their last thoughts do
    (`value_log_odds`). At the end the value of a solution's last thought is its quality in [0, 1].
    All trees rewrite in step. One ends early when every solution is closed, or when its budget is
    spent; its last thought may then be cut. Nothing is graded, and the request's rule is not
    asked. Of the search configuration the limits, the sampling and the hints apply.
    """
    config, judge = request.search, request.judge or keep_ratings
    forest = [
        Solutions(Tree.plant(problem, seed, UNREAD))
        for problem, seed in zip(request.problems, request.seeds, strict=True)
    ]
    trees = [solutions.tree for solutions in forest]
    wanted = [(solutions, -1) for solutions in forest for _ in range(refinement.first)]
    for _ in range(refinement.rewritings + 1):
        asked = _affordable(wanted, language, config, request.budget)
        if not asked:
            break
        chains = complete(engine, [expansion for _, _, expansion in asked])
        for (solutions, index, expansion), thoughts in zip(asked, chains, strict=True):
            start = _start(solutions, index)
            if nodes := attach_chain(
                solutions.tree, start, thoughts, expansion.budget, language.answers
            ):
                solutions.add(index, nodes)
        judge(trees)
        _compare(forest, prefer, refinement)
        request.on_growth(trees)
        choices = [(s, s.best_open(refinement.exploration)) for s in forest]
        wanted = [(solutions, index) for solutions, index in choices if index is not None]
    for tree in trees:
        rectify(tree, config.discount, config.unfinished)
    return trees


def _affordable(
    wanted: Sequence[tuple[Solutions, int]],
    language: Language,
    config: SearchConfig,
    budget: TokenBudget,
) -> list[tuple[Solutions, int, Request]]:
    """Returns the requests that can be paid for, each with the solution it rewrites (-1: none)."""
    pending: dict[int, PendingExpansions] = {}
    asked = []
    for solutions, index in wanted:
        tree = solutions.tree
        mine = pending.setdefault(id(tree), PendingExpansions(tree, budget.left(tree)))
        limit = mine.reserve(len(_metas(index, config)), config.max_thought_tokens, budget.judging)
        if limit != 0:
            mine.expansions.append(Expansion(_start(solutions, index), limit))
            made = _request(solutions, index, language, config)
            asked.append((solutions, index, replace(made, budget=limit)))
    return asked


def _start(solutions: Solutions, index: int) -> Node:
    """Returns the thought below which a new solution (-1), or the rewriting of one, grows."""
    return solutions.tree.root if index < 0 else solutions.ends[index]


def _metas(index: int, config: SearchConfig) -> tuple[Meta | None, ...]:
    """Returns the meta-actions of a new solution (-1), or of a critique and a rewriting."""
    forced = () if index < 0 else (Meta.CRITIC, Meta.REFINE)
    return (*forced, *[None] * (config.max_depth - (index >= 0)))


def _request(solutions: Solutions, index: int, language: Language, config: SearchConfig) -> Request:
    """Returns the request for a new solution (-1), or for the critique and rewriting of one."""
    tree = solutions.tree
    tree.expansions += 1
    rng = np.random.default_rng([tree.seed, 2, tree.expansions])
    start, metas = _start(solutions, index), _metas(index, config)
    told = config.hints != "none"
    return Request(
        path=tree.path_ids(start, language),
        depth=start.depth + 1,
        metas=metas,
        hints=tuple(
            hint(meta, None, language.answers.where) if told and meta else None for meta in metas
        ),
        sampling=config.sampling,
        seed=int(rng.integers(2**62)),
    )


def _compare(forest: Sequence[Solutions], prefer: Prefer | None, refinement: Refinement) -> None:
    """Compare the new solutions of all trees at once, and set every solution's quality."""
    for solutions in forest:
        solutions.keep_values()
    pending = [(solutions, pair) for solutions in forest for pair in solutions.uncompared()]
    if prefer is None:
        odds = value_log_odds(np.array([[s.values[i], s.values[j]] for s, (i, j) in pending]))
    else:
        odds = prefer(
            [
                Comparison(s.tree.problem.text, s.texts[first], s.texts[second])
                for s, (first, second) in pending
            ]
        )
    verdicts = iter(odds.tolist())
    for solutions in forest:
        solutions.add_odds({pair: next(verdicts) for pair in solutions.uncompared()})
        if solutions.ends:
            solutions.set_qualities(refinement)
