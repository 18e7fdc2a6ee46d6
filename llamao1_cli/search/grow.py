"""Grow many trees at once: pick, ask, attach, judge, reward, absorb, until the rule is done."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.protocol import Beginning, Engine, Request, Thought
from llamao1_cli.language.marked import Meta, hint
from llamao1_cli.language.protocol import Language
from llamao1_cli.search.frontier import Frontier
from llamao1_cli.search.pending import Expansion, PendingExpansions, TokenBudget
from llamao1_cli.search.protocol import (
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
from llamao1_cli.tasks.rewards import Rewards


@dataclass(frozen=True)
class SearchRequest:
    """The problems to search, and how."""

    problems: Sequence[Problem]
    search: SearchConfig
    seeds: Sequence[int] = ()  # of the problems' trees
    given: Sequence[Sequence[Thought]] = ()  # what each tree begins behind; (): the problems alone
    rule: SearchRule | None = None  # None: the configured one
    rewards: Rewards | None = None  # None, as in evaluation: nobody knows them, and values count
    judge: Judge | None = None  # sets values, the root's with the first; None: they are ratings
    budget: TokenBudget = field(default_factory=TokenBudget)  # of each tree
    on_growth: OnGrowth = unwatched


Waiting = dict[int, tuple[PendingExpansions, Expansion]]  # by ticket, with the others of its tree


class _Siblings:
    """Where each node's next children leave those that it has, if they are to be distinct."""

    def __init__(self, search: SearchConfig) -> None:
        self._distinct, self._at_once = not search.replacement, search.branches_at_once
        self._frontiers: dict[tuple[int, int], Frontier] = {}  # by the ids of tree and node
        self._postponed: dict[int, list[Pick]] = {}  # by the tree's id

    def frontier(self, pick: Pick) -> Frontier | None:
        """Returns where the picked expansions begin; None where they may repeat what is there."""
        if pick.frontier is not None or not self._distinct:
            return pick.frontier
        key = id(pick.tree), pick.node.id
        if key not in self._frontiers:
            self._frontiers[key] = _children_frontier(pick.tree, pick.node)
        return self._frontiers[key]

    def full(self, pick: Pick, frontier: Frontier, asked: int) -> bool:
        """Returns whether no more expansions of a pick than those `asked` may begin now."""
        return not len(frontier) or (pick.frontier is None and asked >= self._at_once)

    def waits(self, tree: Tree) -> bool:
        """Returns whether picks of the tree were postponed."""
        return id(tree) in self._postponed

    def postpone(self, pick: Pick) -> None:
        """Keep a pick until its tree knows its other new children."""
        self._postponed.setdefault(id(pick.tree), []).append(pick)

    def resumed(self, tree: Tree) -> list[Pick]:
        """Returns the tree's picks that were postponed, but for nodes that nothing is left of."""
        return [pick for pick in self._postponed.pop(id(tree), []) if not pick.node.closed]


def _children_frontier(tree: Tree, node: Node) -> Frontier:
    """Returns the frontier of a node's children. One may be there: a roll-out that went through the
    node, which was a first draw like any other."""
    frontier = Frontier(node, np.random.default_rng([tree.seed, 5, node.id]), whole=False)
    for child in tree.children(node):
        frontier.grown(tree, frontier.take(), [child], cut=False)
    return frontier


def grow(request: SearchRequest, engine: Engine, language: Language) -> list[Tree]:
    """Returns a searched tree for each problem, reproducible from its seed.

    A tree goes on as soon as its own expansions are back, whatever the others do. It stops where
    the rule is done with it or its budget pays for no further expansion; the last one may be cut.
    """
    search, judge = request.search, request.judge or keep_ratings
    rule = request.rule or configured_rule(search)
    trees = _plant(request, engine, language)
    siblings = _Siblings(search)
    waiting: Waiting = {}
    picks = rule.pick(trees)
    while picks or waiting:
        while picks:
            asked, idle = _ask(picks, rule, request, siblings, engine, language)
            waiting |= asked
            picks = rule.pick(idle) if idle else []
        complete = _answered(waiting, engine) if waiting else []
        grown = [(each.tree, chain) for each in complete for chain in each.attach(language.answers)]
        judge([each.tree for each in complete])
        if request.rewards is not None:
            reward_nodes([(t, node) for t, nodes in grown for node in nodes], request.rewards)
        for tree, nodes in grown:
            if nodes:
                rule.absorb(tree, nodes[-1])
        if complete:
            request.on_growth(trees)
        able = [e.tree for e in complete if e.tree.generated_tokens < request.budget.tokens]
        picks = [pick for tree in able for pick in siblings.resumed(tree)]
        begun = {id(pick.tree) for pick in picks}
        picks += rule.pick([tree for tree in able if id(tree) not in begun])
    for tree in trees:
        rectify(tree, search.discount, search.unfinished, search.weights)
    return trees


def _plant(request: SearchRequest, engine: Engine, language: Language) -> list[Tree]:
    """Returns a tree of the root, rated if the language rates, and of what is given, for each
    problem."""
    paths = [language.unrated(language.root(problem.text)) for problem in request.problems]
    given = request.given or [()] * len(paths)
    ratings = engine.rate(paths) if language.rates else [None] * len(paths)
    rows = zip(request.problems, request.seeds, ratings, given, strict=True)
    return [Tree.plant(*row, language.answers) for row in rows]


def _ask(
    picks: list[Pick],
    rule: SearchRule,
    request: SearchRequest,
    siblings: _Siblings,
    engine: Engine,
    language: Language,
) -> tuple[Waiting, list[Tree]]:
    """Submit all picks that can be paid for; returns what each ticket stands for, and the trees
    whose picks turned out to have nothing left."""
    pending: dict[int, PendingExpansions] = {}  # by the tree's id
    owners: list[tuple[PendingExpansions, Expansion]] = []
    asked: list[Request] = []
    for pick in picks:
        tree, frontier = pick.tree, siblings.frontier(pick)
        mine = pending.setdefault(id(tree), PendingExpansions(tree, request.budget.left(tree)))
        for index in range(pick.count):
            if frontier is not None and siblings.full(pick, frontier, index):
                siblings.postpone(replace(pick, count=pick.count - index))
                break
            expansion = _paid(pick, frontier, mine, rule, request)
            if expansion is None:
                break
            owners.append((mine, expansion))
            known = tree.problem.answer if request.rewards is not None else None
            thoughts = rule.reach(expansion.node)
            asked.append(_request(tree, expansion, thoughts, request.search, known, language))
    idle = [m.tree for m in pending.values() if not m.expansions and siblings.waits(m.tree)]
    for tree in idle:
        siblings.resumed(tree)  # none is: nothing is left where they were
    return dict(zip(engine.submit(asked), owners, strict=True)), idle


def _paid(
    pick: Pick,
    frontier: Frontier | None,
    pending: PendingExpansions,
    rule: SearchRule,
    request: SearchRequest,
) -> Expansion | None:
    """Returns the tree's next expansion, with its tokens set aside; None if they are spent."""
    node = pick.node if frontier is None else frontier.first.parent
    limit = pending.reserve(
        rule.reach(node), request.search.max_thought_tokens, request.budget.judging
    )
    if limit == 0:
        return None
    branch = None if frontier is None else frontier.take()
    expansion = Expansion(node, limit, frontier, branch)
    pending.expansions.append(expansion)
    return expansion


def _answered(waiting: Waiting, engine: Engine) -> list[PendingExpansions]:
    """Returns the trees' expansions that the engine's next results complete."""
    complete = []
    for ticket, thoughts in engine.poll():
        pending, expansion = waiting.pop(ticket)
        expansion.thoughts = thoughts
        if pending.complete:
            complete.append(pending)
    return complete


def _request(
    tree: Tree,
    expansion: Expansion,
    thoughts: int,
    search: SearchConfig,
    known: str | None,
    language: Language,
) -> Request:
    """Returns the request for up to `thoughts` thoughts of an expansion; `known` is the true answer
    where a hint may tell it."""
    node = expansion.node
    tree.expansions += 1
    rng = np.random.default_rng([tree.seed, 2, tree.expansions])
    metas: tuple[Meta | None, ...] = (None,) * thoughts
    if search.meta_actions == "matrix":
        matrix = transition_matrix(tree)
        metas = draw_metas(matrix, node.thought.meta, thoughts, search.allowed_metas, rng)
    answer = known if search.hints == "answer" else None
    told = search.hints != "none"
    return Request(
        path=tree.path_ids(node, language),
        depth=node.depth + 1,
        metas=metas,
        hints=tuple(
            hint(meta, answer, language.answers.where) if told and meta else None for meta in metas
        ),
        sampling=search.sampling,
        seed=int(rng.integers(2**62)),
        budget=expansion.limit,
        begins=expansion.branch.beginning if expansion.branch else Beginning(),
    )


def reward_nodes(nodes: Sequence[tuple[Tree, Node]], rewards: Rewards) -> None:
    """Give every new node that ends a solution what that earned."""
    ended = [(tree, node, said) for tree, node in nodes if (said := tree.solution(node))]
    earned = rewards.of([(tree.problem, said) for tree, _, said in ended])
    for (tree, node, _), reward in zip(ended, earned, strict=True):
        tree.failed_rewards += reward is None
        node.earn(reward or 0.0, rewards.solved_at)
