"""What the credit rules of the algorithms share: pure functions of searched trees."""

import math

import numpy as np

from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.search.weights import solution_counts

STD_FLOOR = 1e-4  # keeps the division by a group's deviation finite


def has_signal(tree: Tree) -> bool:
    """Returns whether the leaves of a tree that stand for anything have different targets."""
    values = {node.target for node in tree.leaf_nodes() if node.mass != 0}
    return len(values) > 1


def target_of(node: Node) -> float:
    """Returns the target of a node. Raises ValueError if it has none yet."""
    if node.target is None or math.isnan(node.target):
        raise ValueError("a tree must be rectified before it is learned from")
    return node.target


def leaf_targets(tree: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Returns the targets of a tree's leaves, and for how many solutions each stands; both
    `[L]`."""
    counts, leaves = solution_counts(tree), list(tree.leaf_nodes())
    return np.array([target_of(leaf) for leaf in leaves]), np.array([counts[n.id] for n in leaves])


def mean_and_deviation(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Returns mean and standard deviation of values of which each is there so many times."""
    mean = float(counts @ values / counts.sum())
    return mean, math.sqrt(float(counts @ (values - mean) ** 2 / counts.sum()))


def mean_below(tree: Tree, leaves: dict[int, float]) -> np.ndarray:
    """Returns the mean of the leaves' numbers below each node `[N]`, each by what it stands for;
    the root's is 0."""
    weights = solution_counts(tree)
    sums, counts = np.zeros((2, len(tree.nodes)))
    for node in reversed(tree.nodes[1:]):
        if node.id in leaves:
            counts[node.id] = weights[node.id]
            sums[node.id] = leaves[node.id] * counts[node.id]
        sums[node.parent] += sums[node.id]
        counts[node.parent] += counts[node.id]
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    means[0] = 0.0
    return means
