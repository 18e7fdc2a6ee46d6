"""Grow many trees at once: pick, ask, attach, judge, grade, absorb, until the rule is done."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.protocol import Engine, Request
from llamao1_cli.language.codec import Codec
from llamao1_cli.language.marked import Meta, hint
from llamao1_cli.search.pending import PendingExpansions, TokenBudget
from llamao1_cli.search.protocol import (
    Grade,
    Judge,
    OnGrowth,
    Pick,
    SearchRule,
    keep_ratings,
    unwatched,
)
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.rules import configured_rule
from llamao1_cli.search.rules.metas import draw_metas, transition_matrix
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import Problem


@dataclass(frozen=True)
class SearchRequest:
    """The problems to search, and how."""

    problems: Sequence[Problem]
    search: SearchConfig
    seeds: Sequence[int] = ()  # of the problems' trees
    rule: SearchRule | None = None  # None: the configured one
    grade: Grade | None = None  # None, as in evaluation: no answer is known, and values count
    judge: Judge | None = None  # sets values, the root's with the first; None: they are ratings
    budget: TokenBudget = field(default_factory=TokenBudget)  # of each tree
    on_growth: OnGrowth = unwatched


Waiting = dict[int, tuple[PendingExpansions, int]]  # by ticket: expansions of a tree, index there


def grow(request: SearchRequest, engine: Engine, codec: Codec) -> list[Tree]:
    """Returns a searched tree for each problem, reproducible from its seed.

    A tree goes on as soon as its own expansions are back, whatever the others do. It stops where
    the rule is done with it or its budget pays for no further expansion; the last one may be cut.
    """
    search, grade, judge = request.search, request.grade, request.judge or keep_ratings
    rule = request.rule or configured_rule(search)
    trees = _plant(request, engine, codec)
    waiting: Waiting = {}
    picks = rule.pick(trees)
    while picks or waiting:
        waiting |= _ask(picks, rule, request, engine, codec)
        complete = _answered(waiting, engine)
        grown = [(each.tree, chain) for each in complete for chain in each.attach()]
        judge([each.tree for each in complete])
        if grade is not None:
            _grade([(tree, node) for tree, nodes in grown for node in nodes], grade)
        for tree, nodes in grown:
            if nodes:
                rule.absorb(tree, nodes[-1])
        if complete:
            request.on_growth(trees)
        able = [e.tree for e in complete if e.tree.generated_tokens < request.budget.tokens]
        picks = rule.pick(able)
    for tree in trees:
        rectify(tree, search.discount, search.unfinished)
    return trees


def _plant(request: SearchRequest, engine: Engine, codec: Codec) -> list[Tree]:
    """Returns a tree of the rated root alone for each problem."""
    paths = [codec.unrated(codec.root(problem.text)) for problem in request.problems]
    rows = zip(request.problems, request.seeds, engine.rate(paths), strict=True)
    return [Tree.plant(problem, seed, rating) for problem, seed, rating in rows]


def _ask(
    picks: list[Pick], rule: SearchRule, request: SearchRequest, engine: Engine, codec: Codec
) -> Waiting:
    """Submit all picks that can be paid for; returns what each ticket stands for."""
    search, budget = request.search, request.budget
    pending: dict[int, PendingExpansions] = {}  # by the tree's id
    owners: list[tuple[PendingExpansions, int]] = []
    asked: list[Request] = []
    for tree, node, count in picks:
        mine = pending.setdefault(id(tree), PendingExpansions(tree, budget.left(tree)))
        path, thoughts = tree.path_ids(node, codec), rule.reach(node)
        for _ in range(count):
            limit = mine.reserve(thoughts, search.max_thought_tokens, budget.judging)
            if limit == 0:
                break
            owners.append((mine, mine.add(node, limit)))
            known = tree.problem.answer if request.grade is not None else None
            made = _expansion(tree, node, path, thoughts, search, known)
            asked.append(replace(made, budget=limit))
    return dict(zip(engine.submit(asked), owners, strict=True))


def _answered(waiting: Waiting, engine: Engine) -> list[PendingExpansions]:
    """Returns the trees' expansions that the engine's next results complete."""
    complete = []
    for ticket, thoughts in engine.poll():
        pending, index = waiting.pop(ticket)
        pending.chains[index] = thoughts
        if pending.complete:
            complete.append(pending)
    return complete


def _expansion(
    tree: Tree, node: Node, path: list[int], thoughts: int, search: SearchConfig, known: str | None
) -> Request:
    """Returns the request for up to `thoughts` thoughts below `node`; `known` is the true answer
    where a hint may tell it."""
    tree.expansions += 1
    rng = np.random.default_rng([tree.seed, 2, tree.expansions])
    metas: tuple[Meta | None, ...] = (None,) * thoughts
    if search.meta_actions == "matrix":
        matrix = transition_matrix(tree)
        metas = draw_metas(matrix, node.thought.meta, thoughts, search.allowed_metas, rng)
    answer = known if search.hints == "answer" else None
    told = search.hints != "none"
    return Request(
        path=path,
        depth=node.depth + 1,
        metas=metas,
        hints=tuple(hint(meta, answer) if told and meta else None for meta in metas),
        sampling=search.sampling,
        seed=int(rng.integers(2**62)),
    )


def _grade(nodes: list[tuple[Tree, Node]], grade: Grade) -> None:
    """Give every new node that states a final answer its outcome."""
    stated = [(tree, node, node.answer) for tree, node in nodes if node.answer is not None]
    verdicts = grade([(answer, tree.problem.answer) for tree, _, answer in stated])
    for (_, node, _), verdict in zip(stated, verdicts, strict=True):
        node.outcome = verdict
