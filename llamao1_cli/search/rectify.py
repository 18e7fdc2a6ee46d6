"""Rectification: the targets of a searched tree, from the rewards of its leaves."""

import math
from collections.abc import Sequence

from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.search.weights import Estimator, weigh


def rectify(tree: Tree, discount: float, unfinished: str, estimator: Estimator = "set") -> None:
    """Set each node's target from the rewards below it, and count the leaves below it.

    The target of a leaf is its reward; of one that is unfinished or unrewarded it is 0, or its
    value where `unfinished` is "rating". That of an inner node is the discounted mean over its
    children: they were sampled alike, while a mean over leaves would favour the branches that
    search visited most. What was drawn without replacement counts by its mass.
    """
    weigh(tree, estimator)
    for node in reversed(tree.nodes):  # children stand behind their parents
        children = tree.children(node)
        if children:
            node.target = discount * _mean_target(children)
            node.leaves = sum(child.leaves for child in children)
        else:
            node.target = _leaf_target(node, unfinished)
            node.leaves = 1


def _mean_target(children: Sequence[Node]) -> float:
    """Returns the mean of the targets, weighted where the children have masses."""
    targets = [child.target for child in children if child.target is not None]
    masses = [child.mass for child in children if child.mass is not None]
    if total := math.fsum(masses):
        return math.fsum(m * t for m, t in zip(masses, targets, strict=True)) / total
    return sum(targets) / len(targets)


def _leaf_target(node: Node, unfinished: str) -> float:
    if node.reward is not None:
        return node.reward
    return node.value if unfinished == "rating" else 0.0
