"""RLSP, self-play on trees: a credit for each thought, from what became of the tree below it."""

import math
from collections.abc import Sequence

import numpy as np

from llamao1_cli.errors import RunFailedError
from llamao1_cli.learn.algorithms.clipped import ClippedLoss
from llamao1_cli.learn.credit import (
    STD_FLOOR,
    has_signal,
    leaf_targets,
    mean_and_deviation,
    target_of,
)
from llamao1_cli.search.tree import Node, Tree


class Rlsp(ClippedLoss):
    """Advantages by `learn.credit`, over the standard deviation of all thoughts'."""

    def advantages(self, tree: Tree, discount: float) -> np.ndarray | None:
        """Returns the configured credit of each node `[N]`; None where all leaves are worth the
        same."""
        credit = self._config.credit
        if not has_signal(tree):
            return None
        if credit == "gae":
            return gae(tree, discount, self._config.gae_lambda)
        if credit == "group":
            return group_quality(tree)
        return quality_gain(tree, treerl=credit == "treerl")

    def scale(self, advantages: Sequence[np.ndarray]) -> float:
        """Returns the standard deviation of all thoughts' advantages.

        It is that of the whole batch, never of a tree: in a tree of equals it would blow noise up.
        Raises RunFailedError for an advantage that is not finite.
        """
        scale = float(np.std(np.concatenate(advantages))) or 1.0
        if not math.isfinite(scale):
            raise RunFailedError(
                "an advantage is not finite; a rating or a value of the trees is not"
            )
        return scale


def gae(tree: Tree, discount: float, lam: float) -> np.ndarray:
    """Returns generalised advantage estimates on a tree `[N]` (Schulman et al. 2016).

    A(n) = d(n) + discount * lam * mean of A over children,
    d(n) = r(n) + discount * V(n) - V(parent); at a terminal node V is 0 and r its reward,
    or its target where it has none.
    """
    result = np.zeros(len(tree.nodes))
    for node in reversed(tree.nodes[1:]):
        assert node.parent is not None
        reward = _reward(node) if node.terminal else 0.0
        ahead = 0.0 if node.terminal else discount * node.value
        delta = reward + ahead - tree.nodes[node.parent].value
        later = _mean(result, tree.children(node)) if node.children else 0.0
        result[node.id] = delta + discount * lam * later
    return result


def quality_gain(tree: Tree, *, treerl: bool) -> np.ndarray:
    """Returns advantages from the targets Q `[N]`.

    Plain: Q(n) - Q(parent). TreeRL: [Q(n) - Q(parent) + Q(n) - Q(start)] * sqrt(leaves below n).
    Without replacement, where a thought counts by its mass, the root of the leaves is left out.
    """
    quality = np.array([target_of(node) for node in tree.nodes])
    parents = [0 if node.parent is None else node.parent for node in tree.nodes]
    gain = quality - quality[parents]
    if not treerl:
        return gain
    leaves = np.array([1 if node.mass is not None else node.leaves for node in tree.nodes])
    return (gain + quality - quality[tree.begun]) * np.sqrt(leaves)


def group_quality(tree: Tree) -> np.ndarray:
    """Returns (Q(n) - Q(start)) / the standard deviation of the tree's leaves `[N]`, Q being the
    target: GRPO's advantage, but for each thought, by what became of it.

    The mean over children in Q keeps a thought that was forked often from counting as often, and
    the division gives a rare success the weight that it has on a problem this hard.
    """
    quality = np.array([target_of(node) for node in tree.nodes])
    _, deviation = mean_and_deviation(*leaf_targets(tree))
    return (quality - quality[tree.begun]) / (deviation + STD_FLOOR)


def _mean(results: np.ndarray, nodes: Sequence[Node]) -> float:
    """Returns the mean of the nodes' results, by their masses where they have some."""
    own, masses = results[[node.id for node in nodes]], [node.mass or 0.0 for node in nodes]
    return float(np.average(own, weights=masses) if any(masses) else np.mean(own))


def _reward(node: Node) -> float:
    return node.reward if node.reward is not None else node.target or 0.0
