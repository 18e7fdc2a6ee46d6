"""Credit: what each thought of a searched tree did for its outcome. Pure functions of trees.

Every rule gives an advantage a node `[N]`, the root's 0; NaN marks a thought that does not train,
and None stands for a tree that teaches the policy nothing.
"""

import math

import numpy as np

from llamao1_cli.config import LearnConfig
from llamao1_cli.errors import UserError
from llamao1_cli.search.tree import Node, Tree

STD_FLOOR = 1e-4  # keeps GRPO's division finite


def advantages(tree: Tree, config: LearnConfig, discount: float) -> np.ndarray | None:
    """The advantages of a tree's nodes by the configured algorithm, unscaled."""
    if config.algorithm == "expert_iteration":
        return right_paths(tree)
    if config.algorithm == "k15":
        return centred_rewards(tree, config.length_weight)
    if not has_signal(tree):
        return None
    if config.algorithm == "grpo":
        return group_gain(tree, divide=config.group_std)
    if config.credit == "gae":
        return gae(tree, discount, config.gae_lambda)
    if config.credit == "group":
        return group_quality(tree)
    return quality_gain(tree, treerl=config.credit == "treerl")


def has_signal(tree: Tree) -> bool:
    """Whether the leaves differ in what they turned out to be worth."""
    values = {node.target for node in tree.leaf_nodes()}
    return len(values) > 1


def target_of(node: Node) -> float:
    """The rectified value of a node. Raises ValueError if there is none yet."""
    if node.target is None or math.isnan(node.target):
        raise ValueError("a tree must be rectified before it is learned from")
    return node.target


def gae(tree: Tree, discount: float, lam: float) -> np.ndarray:
    """Generalised advantage estimation on a tree `[N]`.

    A(n) = d(n) + discount * lam * mean of A over children,
    d(n) = r(n) + discount * V(n) - V(parent); at a terminal node V is 0 and r its outcome,
    or its target where it was not graded.
    """
    result = np.zeros(len(tree.nodes))
    for node in reversed(tree.nodes[1:]):
        assert node.parent is not None
        reward = _reward(node) if node.terminal else 0.0
        ahead = 0.0 if node.terminal else discount * node.value
        delta = reward + ahead - tree.nodes[node.parent].value
        later = float(np.mean(result[node.children])) if node.children else 0.0
        result[node.id] = delta + discount * lam * later
    return result


def quality_gain(tree: Tree, *, treerl: bool) -> np.ndarray:
    """Advantages from rectified values Q `[N]`.

    Plain: Q(n) - Q(parent). TreeRL: [(Q(n) - Q(parent)) + (Q(n) - Q(root))] * sqrt(leaves below n).
    """
    quality = np.array([target_of(node) for node in tree.nodes])
    parents = [0 if node.parent is None else node.parent for node in tree.nodes]
    gain = quality - quality[parents]
    if not treerl:
        return gain
    leaves = np.array([node.leaves for node in tree.nodes])
    return (gain + quality - quality[0]) * np.sqrt(leaves)


def group_quality(tree: Tree) -> np.ndarray:
    """(Q(n) - Q(root)) / the standard deviation of the tree's leaves `[N]`, Q being the rectified
    value: GRPO's advantage, told of each thought by what became of it.

    The mean over children in Q keeps a thought that was forked often from counting as often, and
    the division gives a rare success the weight that it has on a problem this hard.
    """
    quality = np.array([target_of(node) for node in tree.nodes])
    deviation = np.std([target_of(leaf) for leaf in tree.leaf_nodes()])
    return (quality - quality[0]) / (deviation + STD_FLOOR)


def group_gain(tree: Tree, *, divide: bool) -> np.ndarray:
    """GRPO (Shao et al. 2024): each leaf's value minus the mean of all leaves, a leaf at a time; a
    thought that several leaves share has the mean of theirs.

    `divide` takes the leaves' standard deviation out, which favours problems that are nearly solved
    or nearly hopeless (Liu et al. 2025 leave it in).
    """
    leaves = {leaf.id: target_of(leaf) for leaf in tree.leaf_nodes()}
    values = np.array(list(leaves.values()))
    scale = values.std() + STD_FLOOR if divide else 1.0
    return _mean_below(tree, {name: (v - values.mean()) / scale for name, v in leaves.items()})


def centred_rewards(tree: Tree, length_weight: float) -> np.ndarray | None:
    """Kimi k1.5's centred rewards of whole solutions (Kimi team 2025, 2.3.2 and 2.3.3) `[N]`.

    The reward is the leaf's value plus `length_weight` times l = 1/2 - (n - min n) / (max n -
    min n), n being the solution's sampled tokens; of a wrong one at most 0. Raises UserError for a
    tree that branches below its root, as whole solutions share no thoughts.
    """
    if any(len(node.children) > 1 for node in tree.nodes[1:]):
        raise UserError("learn.algorithm: k15 learns from whole solutions; set search.forks: 0")
    leaves = list(tree.leaf_nodes())
    lengths = [sum(len(n.thought.ids) for n in tree.path(leaf)) for leaf in leaves]
    shortest, spread = min(lengths), max(lengths) - min(lengths)
    rewards = []
    for leaf, length in zip(leaves, lengths, strict=True):
        value = target_of(leaf)
        brevity = 0.5 - (length - shortest) / spread if spread else 0.0
        rewards.append(value + length_weight * (brevity if value > 0.5 else min(brevity, 0.0)))
    if max(rewards) == min(rewards):
        return None
    centred = np.array(rewards) - np.mean(rewards)
    return _mean_below(tree, {leaf.id: c for leaf, c in zip(leaves, centred, strict=True)})


def right_paths(tree: Tree) -> np.ndarray | None:
    """1 for each thought on a path to a right leaf, NaN for the others `[N]`."""
    result = np.full(len(tree.nodes), np.nan)
    for leaf in tree.leaf_nodes():
        if leaf.outcome:
            result[[node.id for node in tree.path(leaf)]] = 1.0
    if np.isnan(result).all():
        return None
    result[0] = 0.0
    return result


def _mean_below(tree: Tree, leaves: dict[int, float]) -> np.ndarray:
    """The mean of the leaves' numbers below each node `[N]`; the root's is 0."""
    sums, counts = np.zeros((2, len(tree.nodes)))
    for node in reversed(tree.nodes[1:]):
        if node.id in leaves:
            sums[node.id], counts[node.id] = leaves[node.id], 1
        sums[node.parent] += sums[node.id]
        counts[node.parent] += counts[node.id]
    means = sums / np.maximum(counts, 1)
    means[0] = 0.0
    return means


def _reward(node: Node) -> float:
    return float(node.outcome) if node.outcome is not None else node.target or 0.0
