"""From searched trees to experiences: credit for each thought, and arrays to learn from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llamao1_cli.codec import Codec, Place, place_of
from llamao1_cli.config import LearnConfig
from llamao1_cli.search.tree import Node, Tree, node_ids


@dataclass(frozen=True)
class Experience:
    """One path from root to leaf; arrays over its T tokens.

    A node shared by several paths trains in the first of them and is context in the others.
    """

    ids: np.ndarray  # int32
    action: np.ndarray  # bool: a sampled token that trains the policy
    place: np.ndarray  # uint8: `Place` of a sampled token
    logprob: np.ndarray  # float32: behaviour log-prob of a sampled token
    advantage: np.ndarray  # float32: the advantage of the token's thought
    rated: np.ndarray  # float32: where the value is read, how many leaves it speaks for; else 0
    target: np.ndarray  # float32: rectified value where `rated`
    iteration: int  # of the weights that sampled it


def advantages(tree: Tree, config: LearnConfig, discount: float) -> np.ndarray:
    """The advantage of every node `[N]` by the configured rule; the root's is 0.

    A tree without signal, all right or all wrong, teaches the policy nothing: zeros.
    """
    if not has_signal(tree):
        return np.zeros(len(tree.nodes))
    if config.credit == "gae":
        return gae(tree, discount, config.gae_lambda)
    return quality_gain(tree, treerl=config.credit == "treerl")


def has_signal(tree: Tree) -> bool:
    """Whether the leaves differ in what they turned out to be worth."""
    values = {node.target for node in tree.leaf_nodes()}
    return len(values) > 1


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
        ahead = 0.0 if node.terminal else discount * node.thought.value
        delta = reward + ahead - tree.nodes[node.parent].thought.value
        later = float(np.mean(result[node.children])) if node.children else 0.0
        result[node.id] = delta + discount * lam * later
    return result


def quality_gain(tree: Tree, *, treerl: bool) -> np.ndarray:
    """Advantages from rectified values Q `[N]`.

    Plain: Q(n) - Q(parent). TreeRL: [(Q(n) - Q(parent)) + (Q(n) - Q(root))] * sqrt(leaves below n).
    """
    quality = np.array([_target(node) for node in tree.nodes])
    parents = [0 if node.parent is None else node.parent for node in tree.nodes]
    gain = quality - quality[parents]
    if not treerl:
        return gain
    leaves = np.array([node.leaves for node in tree.nodes])
    return (gain + quality - quality[0]) * np.sqrt(leaves)


def experiences(
    trees: Sequence[Tree],
    codec: Codec,
    config: LearnConfig,
    discount: float,
    *,
    min_tokens: int = 1,
) -> list[Experience]:
    """The experiences of an iteration's trees, advantages scaled by their standard deviation.

    The scale is that of the whole batch of thoughts, never of a tree: in a tree of equals it would
    blow noise up. `min_tokens` is the sampling's, which says where a thought could end.
    """
    credit = [advantages(tree, config, discount) for tree in trees]
    signal = [a[1:] for tree, a in zip(trees, credit, strict=True) if has_signal(tree)]
    scale = float(np.std(np.concatenate(signal))) if signal else 1.0
    made = []
    for tree, values in zip(trees, credit, strict=True):
        made += _paths(tree, values / (scale or 1.0), codec, min_tokens)
    return made


def _paths(tree: Tree, credit: np.ndarray, codec: Codec, min_tokens: int) -> list[Experience]:
    """One experience a leaf that still has something to teach; one at all if there is no signal."""
    leaves = list(tree.leaf_nodes())
    signal = has_signal(tree)
    seen: set[int] = set()
    made = []
    for leaf in leaves if signal else leaves[:1]:
        path = tree.path(leaf)[1:]
        if path:
            made.append(_path(tree, path, credit, codec, seen, signal, min_tokens))
            seen.update(node.id for node in path)
    return made


def _path(
    tree: Tree,
    path: list[Node],
    credit: np.ndarray,
    codec: Codec,
    seen: set[int],
    signal: bool,
    min_tokens: int,
) -> Experience:
    root = codec.root(tree.problem.text)
    ids = list(root)
    parts = [(node, *node_ids(node, codec)) for node in path]
    for _, tokens, _ in parts:
        ids += tokens
    size = len(ids)
    action = np.zeros(size, bool)
    place = np.full(size, Place.INSIDE, np.uint8)
    logprob, advantage, rated, target = (np.zeros(size, np.float32) for _ in range(4))
    # The only path of a tree of equals speaks for all its leaves.
    count = {node.id: node.leaves if signal else tree.root.leaves for node in [tree.root, *path]}
    # The root's own value is the baseline of the first thoughts, so it is trained too.
    rated[len(root) - 3], target[len(root) - 3] = count[0] * (0 not in seen), _target(tree.root)
    seen.add(0)
    end = len(root)
    for node, tokens, offset in parts:
        start, end = end + offset, end + len(tokens)
        stop = start + len(node.thought.ids)
        place[start:stop] = [
            place_of(index, node.thought.forced_meta, min_tokens) for index in range(stop - start)
        ]
        logprob[start:stop] = node.thought.logprobs
        advantage[start:stop] = credit[node.id]
        action[start:stop] = signal and node.id not in seen
        rated[end - 3] = count[node.id] * (node.id not in seen)
        target[end - 3] = _target(node)
    return Experience(
        np.array(ids, np.int32), action, place, logprob, advantage, rated, target, tree.iteration
    )


def _reward(node: Node) -> float:
    return float(node.outcome) if node.outcome is not None else node.target or 0.0


def _target(node: Node) -> float:
    if node.target is None or math.isnan(node.target):
        raise ValueError("a tree must be rectified before it is learned from")
    return node.target
