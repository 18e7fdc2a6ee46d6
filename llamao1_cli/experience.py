"""From searched trees to experiences: credit for each thought, and a token trie to learn from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llamao1_cli.codec import Codec, place_of
from llamao1_cli.config import LearnConfig
from llamao1_cli.search.tree import Node, Tree, node_ids


@dataclass(frozen=True)
class Actions:
    """Sampled tokens that train the policy; arrays `[A]`."""

    at: np.ndarray  # int32: the trie token whose logits predicted it
    token: np.ndarray  # int32
    place: np.ndarray  # uint8: `Place` in its thought
    logprob: np.ndarray  # float32: behaviour log-prob
    advantage: np.ndarray  # float32: of its thought


@dataclass(frozen=True)
class Ratings:
    """Values that are trained, one a node; arrays `[M]`."""

    at: np.ndarray  # int32: the trie token at which the value is read
    leaves: np.ndarray  # float32: how many leaves it speaks for
    target: np.ndarray  # float32: rectified value


@dataclass(frozen=True)
class Experience:
    """One tree as a token trie: what paths have in common from their start is there once.

    A path ends where the value of its last node is read, as nothing reads what follows. A token's
    position is its depth in the trie. Nodes that say the same share their tokens, and each has its
    actions and its rating there.
    """

    ids: np.ndarray  # [T] int32
    before: (
        np.ndarray
    )  # [T] int32: the token before it on its paths, which has a lower index; or -1
    actions: Actions
    ratings: Ratings
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
        ahead = 0.0 if node.terminal else discount * node.value
        delta = reward + ahead - tree.nodes[node.parent].value
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
    """One experience a tree that grew, of scaled advantages.

    `min_tokens` is the sampling's, which says where a thought could end.
    """
    credit = scaled_advantages(trees, config, discount)
    return [
        _experience(tree, values, codec, min_tokens)
        for tree, values in zip(trees, credit, strict=True)
        if tree.root.children
    ]


def scaled_advantages(
    trees: Sequence[Tree], config: LearnConfig, discount: float
) -> list[np.ndarray]:
    """The advantages `[N]` of each tree's nodes over the standard deviation of all thoughts'.

    The scale is that of the whole batch of thoughts, never of a tree: in a tree of equals it would
    blow noise up. Trees without signal have no part in it.
    """
    credit = [advantages(tree, config, discount) for tree in trees]
    signal = [a[1:] for tree, a in zip(trees, credit, strict=True) if has_signal(tree)]
    scale = float(np.std(np.concatenate(signal))) if signal else 1.0
    return [values / (scale or 1.0) for values in credit]


class _Trie:
    """Tokens in the order they are first met, each behind the one before it."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.before: list[int] = []
        self._places: dict[tuple[int, int], int] = {}

    def extend(self, last: int, tokens: Sequence[int]) -> list[int]:
        """Indices of `tokens` behind the token `last` (-1: the start); known ones are shared."""
        places = []
        for token in tokens:
            place = self._places.setdefault((last, token), len(self.ids))
            if place == len(self.ids):
                self.ids.append(token)
                self.before.append(last)
            places.append(place)
            last = place
        return places


def _experience(tree: Tree, credit: np.ndarray, codec: Codec, min_tokens: int) -> Experience:
    """The whole tree; of a tree without signal one path, which speaks for all leaves."""
    signal = has_signal(tree)
    nodes = _depth_first(tree) if signal else tree.path(next(tree.leaf_nodes()))
    trie = _Trie()
    ends: dict[int | None, int] = {None: -1}  # last token of each node
    acted: list[tuple[Node, list[int]]] = []
    rated: list[int] = []
    for node in nodes:
        tokens, offset = _tokens(tree, node, codec)
        read = len(tokens) - 3  # the start of the rating
        places = trie.extend(ends[node.parent], tokens if node.children else tokens[: read + 1])
        ends[node.id] = places[-1]
        # The root's own value is the baseline of the first thoughts, so it is trained too.
        rated.append(places[read])
        if signal and node.thought.ids:
            acted.append((node, places[offset - 1 :]))
    leaves = [node.leaves if signal else tree.root.leaves for node in nodes]
    targets = [_target(node) for node in nodes]
    return Experience(
        np.array(trie.ids, np.int32),
        np.array(trie.before, np.int32),
        _actions(acted, credit, min_tokens),
        Ratings(np.array(rated, np.int32), *(np.array(c, np.float32) for c in (leaves, targets))),
        tree.iteration,
    )


def _tokens(tree: Tree, node: Node, codec: Codec) -> tuple[list[int], int]:
    """Tokens of a node, and the index at which its sampled ones begin; the root has none."""
    if node.parent is None:
        return codec.root(tree.problem.text), 0
    return node_ids(node, codec)


def _depth_first(tree: Tree) -> list[Node]:
    """All nodes, each followed by what is below it: paths that share much stand together."""
    ordered, waiting = [], [tree.root]
    while waiting:
        node = waiting.pop()
        ordered.append(node)
        waiting += reversed(tree.children(node))
    return ordered


def _actions(acted: list[tuple[Node, list[int]]], credit: np.ndarray, min_tokens: int) -> Actions:
    """The sampled tokens of the nodes; with each node come the trie tokens from the one on that
    predicts its first."""
    rows = [
        (
            places[index],
            token,
            place_of(index, node.thought.forced_meta, min_tokens),
            node.thought.logprobs[index],
            credit[node.id],
        )
        for node, places in acted
        for index, token in enumerate(node.thought.ids)
    ]
    types = (np.int32, np.int32, np.uint8, np.float32, np.float32)
    columns = list(zip(*rows, strict=True)) or [()] * len(types)
    return Actions(*(np.array(c, t) for c, t in zip(columns, types, strict=True)))


def _reward(node: Node) -> float:
    return float(node.outcome) if node.outcome is not None else node.target or 0.0


def _target(node: Node) -> float:
    if node.target is None or math.isnan(node.target):
        raise ValueError("a tree must be rectified before it is learned from")
    return node.target
