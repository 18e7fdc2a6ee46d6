"""What outcomes make of every node after the search, against plain recursion and by hand."""

import copy

import numpy as np
import pytest
from fake_engine import random_tree, shaped_tree, thought
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.codec import Codec
from llamao1_cli.credit import quality_gain
from llamao1_cli.search.rectify import rectify, same_thoughts
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import Problem


def words(tree: Tree, node: Node) -> list[tuple]:
    """What the thoughts of the path say; a thought without tokens says what no other says."""
    return [
        (n.thought.meta, n.thought.ids, n.thought.complete, n.thought.shown)
        if n.thought.ids
        else n.id
        for n in tree.path(node)
    ]


def worth(tree: Tree, node: Node, discount: float, unfinished: str) -> float:
    alike = [n for n in tree.nodes if words(tree, n) == words(tree, node)]
    below = [n for n in tree.nodes if n.parent in [one.id for one in alike]]
    if below:
        return discount * sum(worth(tree, n, discount, unfinished) for n in below) / len(below)
    return sum(
        (1.0 if n.outcome else 0.0)
        if n.outcome is not None
        else (n.value if unfinished == "rating" else 0.0)
        for n in alike
    ) / len(alike)


def with_echoes(tree: Tree, seed: int) -> Tree:
    """Some thoughts said once more by a sibling, which goes on in its own way."""
    rng = np.random.default_rng(seed)
    for node in list(tree.nodes[1:]):
        if rng.random() < 0.4:
            assert node.parent is not None
            echo = tree.attach(tree.nodes[node.parent], [copy.deepcopy(node.thought)])[0]
            echo.outcome = node.outcome
            if not node.terminal and rng.random() < 0.7:
                other = tree.nodes[rng.integers(1, len(tree.nodes))]
                leaf = tree.attach(echo, [copy.deepcopy(other.thought)])[0]
                leaf.outcome = bool(rng.random() < 0.5) if leaf.terminal else None
    return tree


def leaves_below(tree: Tree, node: Node) -> int:
    below = [n for n in tree.nodes if n.parent == node.id]
    return sum(leaves_below(tree, n) for n in below) if below else 1


@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 12),
    discount=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    unfinished=st.sampled_from(["failure", "rating"]),
)
def test_rectify_equals_plain_recursion(
    codec: Codec, seed: int, size: int, discount: float, unfinished: str
) -> None:
    tree = with_echoes(random_tree(codec, seed, size), seed)
    rectify(tree, discount, unfinished)
    for node in tree.nodes:
        assert node.target == pytest.approx(worth(tree, node, discount, unfinished))
        assert node.leaves == leaves_below(tree, node)


def test_rectify_by_hand() -> None:
    #      0
    #   1     2        1: right, wrong, right; 2: wrong and one unfinished, rated 0.6
    # 3 4 5  6 7
    tree = shaped_tree([0, 0, 1, 1, 1, 2, 2], {3: True, 4: False, 5: True, 6: False})
    tree.nodes[7].value = 0.6
    rectify(tree, 0.9, "failure")
    assert [n.target for n in tree.nodes] == pytest.approx([0.27, 0.6, 0, 1, 0, 1, 0, 0])
    rectify(tree, 0.9, "rating")
    assert [n.target for n in tree.nodes] == pytest.approx([0.3915, 0.6, 0.27, 1, 0, 1, 0, 0.6])
    assert [n.leaves for n in tree.nodes] == [5, 3, 2, 1, 1, 1, 1, 1]


def test_a_deeper_failure_is_no_better_failure() -> None:
    tree = shaped_tree([0, 1, 2, 0], {3: False, 4: False})
    rectify(tree, 0.9, "failure")
    assert [node.target for node in tree.nodes] == [0.0] * 5
    deep = shaped_tree([0, 1, 2], {3: True})
    rectify(deep, 0.9, "failure")
    assert [n.target for n in deep.nodes] == pytest.approx([0.729, 0.81, 0.9, 1.0])


def test_a_target_of_zero_counts_and_order_does_not() -> None:
    for outcomes in ({1: False, 2: True}, {1: True, 2: False}):
        tree = shaped_tree([0, 0], outcomes)
        rectify(tree, 1.0, "failure")
        assert tree.root.target == 0.5


def test_blame_falls_where_wrong_solutions_part_from_right_ones(codec: Codec) -> None:
    """Four solutions begin alike; two of them slip in the second step."""
    rng = np.random.default_rng(0)
    first, good, slip = (thought(codec, rng, text, 0.5) for text in ("7 + 3", "10 - 4", "10 - 5"))
    tree = Tree.plant(Problem("p", "How many?", "6"), 0, 0.5)
    for second, right in ((good, True), (slip, False), (good, True), (slip, False)):
        answer = thought(codec, rng, f"\\boxed{{{6 if right else 5}}}", 0.5)
        chain = [copy.deepcopy(first), copy.deepcopy(second), answer]
        tree.attach(tree.root, chain)[-1].outcome = right
    rectify(tree, 1.0, "failure")
    assert [node.target for node in tree.nodes] == [0.5] + [0.5, 1, 1, 0.5, 0, 0] * 2
    # The common beginning is neither praised nor blamed; alone, each solution would be, whole.
    gains = quality_gain(tree, treerl=True)
    assert gains.tolist() == pytest.approx([0.0] + [0, 1, 0.5, 0, -1, -0.5] * 2)
    assert same_thoughts(tree) == [0, 1, 2, 3, 1, 5, 6, 1, 2, 3, 1, 5, 6]
