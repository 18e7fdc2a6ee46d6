"""Self-refine search over whole solutions, after LLaMA-Berry (Zhang et al. 2024).

A solution is a chain of thoughts up to a final answer. It is improved by a critique and a rewriting
below it, and judged by comparison with all other solutions of its problem.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.protocol import UNREAD, Engine, Request, complete
from llamao1_cli.language.codec import Codec
from llamao1_cli.language.marked import Meta, hint
from llamao1_cli.search.grow import SearchRequest
from llamao1_cli.search.pending import PendingExpansions, attach_chain
from llamao1_cli.search.protocol import keep_ratings
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.refine.preference import (
    Comparison,
    blended_quality,
    tree_neighbours,
    value_log_odds,
)
from llamao1_cli.search.refine.solution_values import ancestors, berry_back_up, closed, uct
from llamao1_cli.search.tree import Node, Tree

# Log-odds [N] that the first solution of each comparison is the better one.
Prefer = Callable[[Sequence[Comparison]], np.ndarray]


@dataclass(frozen=True)
class Refinement:
    """How solutions are rewritten."""

    first: int = 1  # solutions sampled before any is rewritten
    rewritings: int = 8  # a tree
    exploration: float = 1.4  # c of UCT
    global_weight: float = 0.5  # of the rank among all solutions beside that among neighbours
    gamma: float = 0.5  # share of a rewriting's quality that goes up


@dataclass(eq=False)
class Solutions:
    """The solutions of one tree, in the order they came."""

    tree: Tree
    ends: list[Node] = field(default_factory=list)  # each one's last thought
    texts: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)  # what it rewrites, -1 for a first one
    values: list[float] = field(default_factory=list)  # each end's own, before its quality
    odds: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))  # of i against j

    def add(self, parent: int, chain: list[Node]) -> None:
        """One more; its critique, which is about another, is no part of its text."""
        steps = chain[1:] if len(chain) > 1 and parent >= 0 else chain
        self.ends.append(chain[-1])
        self.texts.append("\n".join(node.thought.text.strip() for node in steps))
        self.parents.append(parent)

    def keep_values(self) -> None:
        """Note the values of new ends; their qualities replace them."""
        self.values += [end.value for end in self.ends[len(self.values) :]]

    def pending(self) -> list[tuple[int, int]]:
        """Returns the pairs that were not compared yet, the newer solution first."""
        known = len(self.odds)
        return [(i, j) for i in range(known, len(self.ends)) for j in range(i)]

    def note(self, odds: dict[tuple[int, int], float]) -> None:
        """Take in the log-odds of pairs."""
        grown = np.zeros((len(self.ends), len(self.ends)))
        grown[: len(self.odds), : len(self.odds)] = self.odds
        for (i, j), value in odds.items():
            grown[i, j], grown[j, i] = value, -value
        self.odds = grown

    def set_values(self, refinement: Refinement) -> None:
        """Set the quality of each solution (`value`), and its mean with that of its rewritings
        (`mean_value`).

        Every new solution changes the ranks of all, so the backups are made again, oldest first.
        """
        neighbours = tree_neighbours(np.array(self.parents))
        qualities = blended_quality(self.odds, neighbours, refinement.global_weight)
        carried, visits = qualities, np.ones(len(self.ends), int)
        for leaf in range(len(self.ends)):
            carried = berry_back_up(carried, self.parents, leaf, refinement.gamma)
            visits[ancestors(self.parents, leaf)] += 1
        for index, node in enumerate(self.ends):
            node.value, node.visits = float(qualities[index]), int(visits[index])
            node.value_sum = float(carried[index]) * node.visits

    def best_open(self, exploration: float) -> int | None:
        """Returns the solution to rewrite next, by UCT among those that are not closed; a first
        solution's parent is the problem, visited once for each solution."""
        scores = {}
        for index, node in enumerate(self.ends):
            below = [self.ends[i].mean_value for i, p in enumerate(self.parents) if p == index]
            if not node.closed and not closed(node.mean_value, below):
                parent = self.parents[index]
                above = len(self.ends) if parent < 0 else self.ends[parent].visits
                scores[index] = uct(node.mean_value, node.visits, above, exploration)
        return max(scores, key=lambda index: scores[index]) if scores else None


def self_refine(
    request: SearchRequest,
    engine: Engine,
    codec: Codec,
    refinement: Refinement,
    prefer: Prefer | None,
) -> list[Tree]:
    """Returns a tree of solutions and rewritings for each problem, reproducible from its seed.

    Without `prefer` the values of the last thoughts decide which solution is better
    (`value_log_odds`). In the end a solution's last thought has its quality in [0, 1] as its value.
    All trees rewrite in step; one ends early when every solution is closed, or when its budget is
    spent; the last thought may be cut. No thought is graded, and no rule asked. Of the search
    count the limits, the sampling and whether hints are given.
    """
    config, judge = request.search, request.judge or keep_ratings
    forest = [
        Solutions(Tree.plant(problem, seed, UNREAD))
        for problem, seed in zip(request.problems, request.seeds, strict=True)
    ]
    trees = [solutions.tree for solutions in forest]
    wanted = [(solutions, -1) for solutions in forest for _ in range(refinement.first)]
    for _ in range(refinement.rewritings + 1):
        asked = _affordable(wanted, codec, config, request.budget.tokens)
        if not asked:
            break
        chains = complete(engine, [expansion for _, _, expansion in asked])
        for (solutions, index, expansion), thoughts in zip(asked, chains, strict=True):
            start = _start(solutions, index)
            if nodes := attach_chain(solutions.tree, start, thoughts, expansion.budget):
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
    wanted: Sequence[tuple[Solutions, int]], codec: Codec, config: SearchConfig, budget: float
) -> list[tuple[Solutions, int, Request]]:
    """Returns the requests that can be paid for, each with the tokens it may take."""
    pending: dict[int, PendingExpansions] = {}
    asked = []
    for solutions, index in wanted:
        tree = solutions.tree
        mine = pending.setdefault(id(tree), PendingExpansions(tree, budget - tree.generated_tokens))
        limit = mine.reserve(len(_metas(index, config)), config.max_thought_tokens, judging=0)
        if limit != 0:
            mine.add(_start(solutions, index), limit)
            made = _request(solutions, index, codec, config)
            asked.append((solutions, index, replace(made, budget=limit)))
    return asked


def _start(solutions: Solutions, index: int) -> Node:
    """Returns the thought that a new solution (-1), or the rewriting of one, goes on from."""
    return solutions.tree.root if index < 0 else solutions.ends[index]


def _metas(index: int, config: SearchConfig) -> tuple[Meta | None, ...]:
    """Returns the meta-actions of a new solution (-1), or of a critique and a rewriting."""
    forced = () if index < 0 else (Meta.CRITIC, Meta.REFINE)
    return (*forced, *[None] * (config.max_depth - (index >= 0)))


def _request(solutions: Solutions, index: int, codec: Codec, config: SearchConfig) -> Request:
    """Returns a solution, or the critique and rewriting of one."""
    tree = solutions.tree
    tree.expansions += 1
    rng = np.random.default_rng([tree.seed, 2, tree.expansions])
    start, metas = _start(solutions, index), _metas(index, config)
    told = config.hints != "none"
    return Request(
        path=tree.path_ids(start, codec),
        depth=start.depth + 1,
        metas=metas,
        hints=tuple(hint(meta, None) if told and meta else None for meta in metas),
        sampling=config.sampling,
        seed=int(rng.integers(2**62)),
    )


def _compare(forest: Sequence[Solutions], prefer: Prefer | None, refinement: Refinement) -> None:
    """Compare what is new in all trees at once, and value every solution."""
    for solutions in forest:
        solutions.keep_values()
    pending = [(solutions, pair) for solutions in forest for pair in solutions.pending()]
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
        solutions.note({pair: next(verdicts) for pair in solutions.pending()})
        if solutions.ends:
            solutions.set_values(refinement)
