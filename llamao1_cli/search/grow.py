"""Grow many trees at once: pick, expand, grade, absorb, until the rule is done."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from llamao1_cli.codec import Codec
from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.protocol import Engine, Request
from llamao1_cli.language import Meta, hint
from llamao1_cli.search.forks import Forks
from llamao1_cli.search.mcts import Mcts
from llamao1_cli.search.metas import draw_metas, transition_matrix
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import Problem

Pick = tuple[Tree, Node, int]
Grade = Callable[[Sequence[tuple[str, str]]], list[bool]]


class SearchRule(Protocol):
    """Decides where trees grow, and takes in what grew."""

    def pick(self, trees: list[Tree]) -> list[Pick]:
        """The next expansions, as (tree, node, candidates); [] when the search is over."""
        ...

    def absorb(self, tree: Tree, node: Node) -> None:
        """Take in the last node of a new chain, graded if grades are known."""
        ...


def grow(
    problems: Sequence[Problem],
    seeds: Sequence[int],
    engine: Engine,
    codec: Codec,
    config: SearchConfig,
    *,
    grade: Grade | None,
    on_round: Callable[[list[Tree]], None] = lambda trees: None,
) -> list[Tree]:
    """A searched tree for each problem, reproducible from its seed.

    `grade` judges (answer, true answer) pairs while the trees grow; None, as in evaluation, leaves
    every outcome unknown, and ratings take its place. `on_round` sees the trees after each round.
    """
    rule: SearchRule = Mcts(config) if config.algorithm == "mcts" else Forks(config)
    trees = _plant(problems, seeds, engine, codec)
    while picks := rule.pick(trees):
        chains = _expand(picks, engine, codec, config, answers_known=grade is not None)
        if grade is not None:
            _grade([(tree, node) for tree, nodes in chains for node in nodes], grade)
        for tree, nodes in chains:
            if nodes:
                rule.absorb(tree, nodes[-1])
        on_round(trees)
    for tree in trees:
        rectify(tree, config.discount, config.unfinished)
    return trees


def rectify(tree: Tree, discount: float, unfinished: str) -> None:
    """Give each node the value that outcomes give it, and count the leaves below it.

    A leaf is worth its outcome (1 or 0); one that is unfinished or ungraded 0, or its rating where
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
    return node.thought.value if unfinished == "rating" else 0.0


def _plant(
    problems: Sequence[Problem], seeds: Sequence[int], engine: Engine, codec: Codec
) -> list[Tree]:
    paths = [codec.root(problem.text)[:-3] for problem in problems]  # up to the root's rating
    values = engine.rate(paths)
    return [
        Tree.plant(problem, seed, value)
        for problem, seed, value in zip(problems, seeds, values, strict=True)
    ]


def _expand(
    picks: list[Pick], engine: Engine, codec: Codec, config: SearchConfig, *, answers_known: bool
) -> list[tuple[Tree, list[Node]]]:
    """Run all picks as one batch and attach what comes back."""
    places: list[tuple[Tree, Node]] = []
    requests: list[Request] = []
    for tree, node, count in picks:
        path = tree.path_ids(node, codec)
        for _ in range(count):
            places.append((tree, node))
            requests.append(_request(tree, node, path, config, answers_known=answers_known))
    chains = engine.expand(requests)
    grown = []
    for (tree, node), thoughts in zip(places, chains, strict=True):
        node.closed = node.closed or not thoughts
        grown.append((tree, tree.attach(node, thoughts)))
    return grown


def _request(
    tree: Tree, node: Node, path: list[int], config: SearchConfig, *, answers_known: bool
) -> Request:
    tree.expansions += 1
    rng = np.random.default_rng([tree.seed, 2, tree.expansions])
    rolls = config.rollout or config.algorithm == "forks"
    count = config.max_depth - node.depth if rolls else 1
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
        max_tokens=config.max_thought_tokens,
        temperature=config.temperature,
        seed=int(rng.integers(2**62)),
    )


def _grade(places: list[tuple[Tree, Node]], grade: Grade) -> None:
    """Give every new node that states a final answer its outcome."""
    stated = [(tree, node, node.answer) for tree, node in places if node.answer is not None]
    verdicts = grade([(answer, tree.problem.answer) for tree, _, answer in stated])
    for (_, node, _), verdict in zip(stated, verdicts, strict=True):
        node.outcome = verdict
