"""What the credit rules of the algorithms share: pure functions of searched trees."""

import math

import numpy as np

from llamao1_cli.search.tree import Node, Tree

STD_FLOOR = 1e-4  # keeps the division by a group's deviation finite


def has_signal(tree: Tree) -> bool:
    """Returns whether the leaves of a tree have different targets."""
    values = {node.target for node in tree.leaf_nodes()}
    return len(values) > 1


def target_of(node: Node) -> float:
    """Returns the target of a node. Raises ValueError if it has none yet."""
    if node.target is None or math.isnan(node.target):
        raise ValueError("a tree must be rectified before it is learned from")
    return node.target


def mean_below(tree: Tree, leaves: dict[int, float]) -> np.ndarray:
    """Returns the mean of the leaves' numbers below each node `[N]`; the root's is 0."""
    sums, counts = np.zeros((2, len(tree.nodes)))
    for node in reversed(tree.nodes[1:]):
        if node.id in leaves:
            sums[node.id], counts[node.id] = leaves[node.id], 1
        sums[node.parent] += sums[node.id]
        counts[node.parent] += counts[node.id]
    means = sums / np.maximum(counts, 1)
    means[0] = 0.0
    return means
