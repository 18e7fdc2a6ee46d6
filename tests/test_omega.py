"""OmegaPRM's search against a linear scan and a replay, on an engine whose slips are known."""

import math
from collections import Counter

import numpy as np
import pytest
from fake_engine import FakeEngine, by_equality, thought
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.codec import Codec
from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.protocol import Request, Thought
from llamao1_cli.search.grow import grow
from llamao1_cli.search.omega import Omega, completion_score
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import Problem
from llamao1_cli.value_training import examples_of

CONFIG = SearchConfig(rollout=True, max_depth=9)


class Stumbling(FakeEngine):
    """Every second completion of a sound prefix slips at some step; a slip is never made good."""

    def __init__(self, codec: Codec, batch: int) -> None:
        super().__init__(codec, batch=batch)
        self._asked = Counter[tuple[int, ...]]()

    def _chain(self, request: Request) -> list[Thought]:
        rng = np.random.default_rng(request.seed)
        path = tuple(request.path)
        self._asked[path] += 1
        slipped = "slip" in self._codec.tokenizer.decode(path)
        length = int(rng.integers(1, len(request.metas) + 1))
        slip = -1 if slipped or self._asked[path] % 2 else int(rng.integers(length))
        chain = []
        for place in range(length):
            text = f"slip {rng.integers(9)}" if place == slip else f"step {rng.integers(9)}"
            slipped |= place == slip
            if place == length - 1:
                text += f" \\boxed{{{8 if slipped else 7}}}"
            chain.append(thought(self._codec, rng, text, float(rng.random())))
        return chain


def hunted(codec: Codec, seeds: list[int], rule: Omega, batch: int = 3) -> list[Tree]:
    problems = [Problem(f"p{seed}", f"How many are {seed}?", "7") for seed in seeds]
    engine = Stumbling(codec, batch)
    return grow(problems, seeds, engine, codec, CONFIG, grade=by_equality, rule=rule)


def slipped(tree: Tree, node: Node) -> bool:
    return any("slip" in step.thought.text for step in tree.path(node)[1:])


def replay(tree: Tree, completions: int, searches: int) -> tuple[list[int], dict[int, float]]:
    """The first wrong steps, and the values measured, by a linear scan of each wrong completion."""
    values: dict[int, float] = {}
    visits: dict[int, int] = {}
    pool: list[tuple[int, list[int]]] = []

    def measure(prefix: int) -> None:
        firsts = tree.nodes[prefix].children
        firsts = firsts if prefix == 0 else firsts[1:]  # the first goes on with its own completion
        assert len(firsts) == completions
        ways = []
        for first in firsts:
            way = [first]
            while tree.nodes[way[-1]].children:
                way.append(tree.nodes[way[-1]].children[0])
            ways.append(way)
        ways.sort(key=lambda way: absorbed.index(way[-1]))
        right = [tree.nodes[way[-1]].outcome for way in ways]
        values[prefix], visits[prefix] = sum(right) / completions, 0
        if any(right):
            pool.extend((prefix, way) for way, good in zip(ways, right, strict=True) if not good)

    absorbed = [node.id for node in tree.nodes if not node.children]
    measure(0)
    found = []
    for _ in range(searches):
        if not pool:
            break
        total = sum(visits.values())
        scores = [
            0.5 ** (1 - values[prefix])
            * 0.9 ** (sum(len(tree.nodes[i].thought.ids) for i in way) / 500)
            + 0.125 * math.sqrt(total) / (1 + visits[prefix])
            for prefix, way in pool
        ]
        prefix, way = pool.pop(scores.index(max(scores)))
        visits[prefix] += 1
        wrong = next(place for place, i in enumerate(way) if "slip" in tree.nodes[i].thought.text)
        found.append(way[wrong])
        low, high = -1, len(way) - 1
        while high - low > 1:
            middle = (low + 1 + high + 1) // 2 - 1
            measure(way[middle])
            low, high = (middle, high) if middle < wrong else (low, middle)
    return found, values


@given(
    seed=st.integers(0, 10**6),
    completions=st.sampled_from([2, 4]),
    searches=st.integers(0, 5),
    batch=st.integers(1, 9),
)
def test_searches_find_what_a_linear_scan_finds(
    codec: Codec, seed: int, completions: int, searches: int, batch: int
) -> None:
    rule = Omega(completions, searches)
    trees = hunted(codec, [seed, seed + 1, seed + 2], rule, batch)
    for tree in trees:
        found, values = replay(tree, completions, searches)
        assert [node.id for node in rule.first_wrong_steps(tree)] == found
        rule.label(tree)
        for node in tree.nodes:
            if node.id in values:
                assert values[node.id] == (0.0 if slipped(tree, node) else 0.5)
                assert (node.target, node.leaves) == (values[node.id], completions)
            elif not node.children:
                assert (node.target, node.leaves) == (float(node.outcome), 1)
            else:
                below = [tree.nodes[i] for i in node.children]
                assert node.target == pytest.approx(np.mean([child.target for child in below]))
                assert node.leaves == sum(child.leaves for child in below)


def test_a_search_measures_no_more_prefixes_than_halving_needs(codec: Codec) -> None:
    rule = Omega(2, 1)
    trees = hunted(codec, list(range(40)), rule)
    lengths = []
    for tree in trees:
        (wrong,) = rule.first_wrong_steps(tree)
        measured = [node for node in tree.nodes[1:] if len(node.children) > 1]
        (first,) = (way for way in chains(tree) if wrong in way)
        assert len(measured) <= math.ceil(math.log2(len(first)))
        lengths.append(len(first))
    assert max(lengths) >= 8


def chains(tree: Tree) -> list[list[Node]]:
    """The first completions, from the root down."""
    ways = []
    for child in tree.children(tree.root):
        way = [child]
        while way[-1].children:
            way.append(tree.nodes[way[-1].children[0]])
        ways.append(way)
    return ways


def test_labels_are_value_targets(codec: Codec) -> None:
    rule = Omega(2, 2)
    trees = hunted(codec, [1, 2, 3], rule)
    for tree in trees:
        rule.label(tree)
        assert Tree.from_json(tree.to_json()) == tree
    examples = examples_of(trees)
    assert examples.lesson.targets.tolist() == [
        node.target for tree in trees for node in tree.nodes
    ]


def test_a_prefix_without_room_is_worth_nothing(codec: Codec) -> None:
    engine = FakeEngine(codec, full=lambda request: True)
    rule = Omega(4, 3)
    (tree,) = grow(
        [Problem("p", "?", "7")], [0], engine, codec, CONFIG, grade=by_equality, rule=rule
    )
    rule.label(tree)
    assert (tree.root.target, rule.first_wrong_steps(tree)) == (0.0, [])


def test_scores_by_hand() -> None:
    assert completion_score(0.5, 100, 0, 0) == pytest.approx(0.5**0.5 * 0.9**0.2)
    assert completion_score(1.0, 0, 3, 16) == pytest.approx(1 + 0.125 * 4 / 4)
