"""What outcomes make of every node after the search, against plain recursion and by hand."""

import pytest
from fake_engine import random_tree, shaped_tree
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Node, Tree


def worth(tree: Tree, node: Node, discount: float, unfinished: str) -> float:
    below = [n for n in tree.nodes if n.parent == node.id]
    if below:
        return discount * sum(worth(tree, n, discount, unfinished) for n in below) / len(below)
    if node.outcome is not None:
        return 1.0 if node.outcome else 0.0
    return node.value if unfinished == "rating" else 0.0


def leaves_below(tree: Tree, node: Node) -> int:
    below = [n for n in tree.nodes if n.parent == node.id]
    return sum(leaves_below(tree, n) for n in below) if below else 1


@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 25),
    discount=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    unfinished=st.sampled_from(["failure", "rating"]),
)
def test_rectify_equals_plain_recursion(
    language: MarkedLanguage, seed: int, size: int, discount: float, unfinished: str
) -> None:
    tree = random_tree(language, seed, size)
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
