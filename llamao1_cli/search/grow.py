"""Grow many trees at once: pick, ask, attach, grade, absorb, until the rule is done."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.protocol import Engine, Request, Thought
from llamao1_cli.language.codec import Codec
from llamao1_cli.language.marked import Meta, hint
from llamao1_cli.search.rules.forks import Forks
from llamao1_cli.search.rules.mcts import Mcts
from llamao1_cli.search.rules.metas import draw_metas, transition_matrix
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import Problem

Pick = tuple[Tree, Node, int]
Grade = Callable[[Sequence[tuple[str, str]]], list[bool]]
Judge = Callable[[Sequence[Tree]], None]


def keep_ratings(trees: Sequence[Tree]) -> None:
    """Judge nothing: every node's value stays its rating."""


class SearchRule(Protocol):
    """Decides where trees grow, and takes in what grew."""

    def pick(self, trees: list[Tree]) -> list[Pick]:
        """The next expansions, as (tree, node, candidates), given the trees that wait for none: all
        of them at first, later those whose expansions have come back."""
        ...

    def absorb(self, tree: Tree, node: Node) -> None:
        """Take in the last node of a new chain, graded if grades are known."""
        ...


@dataclass(frozen=True)
class Purse:
    """What every tree may spend."""

    budget: float  # tokens, infinite for as many as its rule asks for
    judging: int  # most tokens that judge a node

    def left(self, tree: Tree) -> float:
        """What a tree may still promise; of one that has not grown, the root is yet to judge."""
        alone = len(tree.nodes) == 1
        return self.budget - tree.generated_tokens - self.judging * alone


@dataclass(eq=False)
class Turn:
    """The expansions that a tree waits for, taken in together and in the order of asking."""

    tree: Tree
    left: float  # tokens that nothing has been promised yet
    places: list[Node] = field(default_factory=list)
    limits: list[int | None] = field(default_factory=list)  # None: as many tokens as it may need
    chains: list[list[Thought] | None] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every expansion has come back."""
        return None not in self.chains

    def add(self, node: Node, limit: int | None) -> int:
        """Ask for one more expansion of `node`; gives its place."""
        self.places.append(node)
        self.limits.append(limit)
        self.chains.append(None)
        return len(self.places) - 1

    def promise(self, thoughts: int, max_tokens: int, judging: int) -> int | None:
        """Set tokens aside for one more expansion of up to `thoughts` thoughts; gives the most it
        may generate: None for as many as it may need, 0 where it has to wait.

        What cannot be paid for in full waits until it is known what those before it left over. If
        nothing else is asked for, it gets all that is left, and may be cut.
        """
        need = thoughts * (max_tokens + judging)
        if need <= self.left:
            self.left -= need
            return None
        limit = 0 if self.places else max(int(self.left) - thoughts * judging, 0)
        self.left = 0
        return limit


def grow(
    problems: Sequence[Problem],
    seeds: Sequence[int],
    engine: Engine,
    codec: Codec,
    config: SearchConfig,
    *,
    grade: Grade | None,
    judge: Judge = keep_ratings,
    on_turn: Callable[[list[Tree]], None] = lambda trees: None,
    rule: SearchRule | None = None,
    budget: float = math.inf,
    judging: int = 0,
) -> list[Tree]:
    """A searched tree for each problem, reproducible from its seed.

    A tree goes on as soon as its own expansions are back, whatever the others do. `grade` judges
    (answer, true answer) pairs while the trees grow; None, as in evaluation, leaves every outcome
    unknown, and values take its place. `judge` gives the nodes of trees that have grown their
    values, the root's with the first. `on_turn` sees the trees whenever some have grown. `rule`
    takes the place of the configured algorithm.

    No tree spends more than `budget` tokens, those included that `judge` generates, `judging` at
    most for a node. It stops where the rule is done with it or no further expansion can be paid
    for; the last one may be cut.
    """
    purse = Purse(budget, judging)
    rule = rule or (Mcts(config) if config.algorithm == "mcts" else Forks(config))
    trees = _plant(problems, seeds, engine, codec)
    waiting: dict[int, tuple[Turn, int]] = {}  # by ticket: the turn and its place there
    picks = rule.pick(trees)
    while picks or waiting:
        waiting |= _ask(picks, engine, codec, config, purse, answers_known=grade is not None)
        turns = _answered(waiting, engine)
        grown = [(turn.tree, chain) for turn in turns for chain in _attach(turn)]
        judge([turn.tree for turn in turns])
        if grade is not None:
            _grade([(tree, node) for tree, nodes in grown for node in nodes], grade)
        for tree, nodes in grown:
            if nodes:
                rule.absorb(tree, nodes[-1])
        if turns:
            on_turn(trees)
        picks = rule.pick([turn.tree for turn in turns if turn.tree.generated_tokens < budget])
    for tree in trees:
        rectify(tree, config.discount, config.unfinished)
    return trees


def rectify(tree: Tree, discount: float, unfinished: str) -> None:
    """Give each node the value that outcomes give it, and count the leaves below it.

    A leaf is worth its outcome (1 or 0); one that is unfinished or ungraded 0, or its value where
    `unfinished` is "rating". An inner node is worth the discounted mean over its children: they
    were sampled alike, while a mean over leaves would favour the branches that search visited most.
    """
    for node in reversed(tree.nodes):  # children stand behind their parents
        children = tree.children(node)
        if children:
            targets = [child.target for child in children if child.target is not None]
            node.target = discount * sum(targets) / len(targets)
            node.leaves = sum(child.leaves for child in children)
        else:
            node.target = _leaf_target(node, unfinished)
            node.leaves = 1


def _leaf_target(node: Node, unfinished: str) -> float:
    if node.outcome is not None:
        return float(node.outcome)
    return node.value if unfinished == "rating" else 0.0


def _plant(
    problems: Sequence[Problem], seeds: Sequence[int], engine: Engine, codec: Codec
) -> list[Tree]:
    paths = [codec.unrated(codec.root(problem.text)) for problem in problems]
    values = engine.rate(paths)
    return [
        Tree.plant(problem, seed, value)
        for problem, seed, value in zip(problems, seeds, values, strict=True)
    ]


def _ask(
    picks: list[Pick],
    engine: Engine,
    codec: Codec,
    config: SearchConfig,
    purse: Purse,
    *,
    answers_known: bool,
) -> dict[int, tuple[Turn, int]]:
    """Submit all picks that can be paid for; gives each ticket's turn and place in it."""
    turns: dict[int, Turn] = {}
    owners: list[tuple[Turn, int]] = []
    requests: list[Request] = []
    for tree, node, count in picks:
        turn = turns.setdefault(id(tree), Turn(tree, purse.left(tree)))
        path, thoughts = tree.path_ids(node, codec), _reach(node, config)
        for _ in range(count):
            limit = turn.promise(thoughts, config.max_thought_tokens, purse.judging)
            if limit == 0:
                break
            owners.append((turn, turn.add(node, limit)))
            request = _request(tree, node, path, config, answers_known=answers_known)
            requests.append(replace(request, budget=limit))
    return dict(zip(engine.submit(requests), owners, strict=True))


def _answered(waiting: dict[int, tuple[Turn, int]], engine: Engine) -> list[Turn]:
    """The turns that the engine's next results complete."""
    done = []
    for ticket, thoughts in engine.poll():
        turn, place = waiting.pop(ticket)
        turn.chains[place] = thoughts
        if turn.complete:
            done.append(turn)
    return done


def _attach(turn: Turn) -> list[list[Node]]:
    """The new nodes of each expansion."""
    return [
        attach_chain(turn.tree, node, thoughts or [], limit)
        for node, limit, thoughts in zip(turn.places, turn.limits, turn.chains, strict=True)
    ]


def attach_chain(tree: Tree, node: Node, thoughts: list[Thought], limit: int | None) -> list[Node]:
    """The new nodes of an expansion of `node` that might generate `limit` tokens; a node with no
    room for a thought is closed. A thought that was cut because the tokens were spent states no
    answer: the model was not done with it."""
    node.closed = node.closed or not thoughts
    nodes = tree.attach(node, thoughts)
    if nodes and sum(len(each.ids) for each in thoughts) == limit and not thoughts[-1].complete:
        nodes[-1].answer = None
    return nodes


def _reach(node: Node, config: SearchConfig) -> int:
    """Most thoughts that an expansion of `node` may bring."""
    rolls = config.rollout or config.algorithm == "forks"
    return config.max_depth - node.depth if rolls else 1


def _request(
    tree: Tree, node: Node, path: list[int], config: SearchConfig, *, answers_known: bool
) -> Request:
    tree.expansions += 1
    rng = np.random.default_rng([tree.seed, 2, tree.expansions])
    count = _reach(node, config)
    metas: tuple[Meta | None, ...] = (None,) * count
    if config.meta_actions == "matrix":
        matrix = transition_matrix(tree)
        metas = draw_metas(matrix, node.thought.meta, count, config.allowed_metas, rng)
    answer = tree.problem.answer if config.hints == "answer" and answers_known else None
    hints = (
        (None,) * len(metas)
        if config.hints == "none"
        else tuple(hint(meta, answer) for meta in metas if meta is not None)
    )
    return Request(
        path=path,
        depth=node.depth + 1,
        metas=metas,
        hints=hints,
        sampling=config.sampling,
        seed=int(rng.integers(2**62)),
    )


def _grade(places: list[tuple[Tree, Node]], grade: Grade) -> None:
    """Give every new node that states a final answer its outcome."""
    stated = [(tree, node, node.answer) for tree, node in places if node.answer is not None]
    verdicts = grade([(answer, tree.problem.answer) for tree, _, answer in stated])
    for (_, node, _), verdict in zip(stated, verdicts, strict=True):
        node.outcome = verdict
