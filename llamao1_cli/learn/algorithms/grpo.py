"""GRPO (Shao et al. 2024): one credit for all thoughts of a solution."""

from collections.abc import Sequence

import numpy as np

from llamao1_cli.learn.algorithms.clipped import ClippedLoss
from llamao1_cli.learn.credit import (
    STD_FLOOR,
    has_signal,
    leaf_targets,
    mean_and_deviation,
    mean_below,
    target_of,
)
from llamao1_cli.search.tree import Tree


class Grpo(ClippedLoss):
    """Advantages of solutions over the others of their problem."""

    def advantages(self, tree: Tree, discount: float) -> np.ndarray | None:
        """Returns the advantage of each node's solutions `[N]`; None where all are worth the
        same."""
        return group_gain(tree, divide=self._config.group_std) if has_signal(tree) else None

    def scale(self, advantages: Sequence[np.ndarray]) -> float:
        """Returns 1: a group's deviation is divided out already, where that is wanted."""
        return 1.0


def group_gain(tree: Tree, *, divide: bool) -> np.ndarray:
    """GRPO (Shao et al. 2024): each leaf's value minus the mean of all leaves, a leaf at a time; a
    thought that several leaves share has the mean of theirs. Leaves count by what they stand for.

    `divide` takes the leaves' standard deviation out, which favours problems that are nearly solved
    or nearly hopeless (Liu et al. 2025 leave it in).
    """
    mean, deviation = mean_and_deviation(*leaf_targets(tree))
    scale = deviation + STD_FLOOR if divide else 1.0
    gains = {leaf.id: (target_of(leaf) - mean) / scale for leaf in tree.leaf_nodes()}
    return mean_below(tree, gains)
