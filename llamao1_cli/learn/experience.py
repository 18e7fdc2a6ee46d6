"""From searched trees to experiences: credit for each thought, and a token trie to learn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llamao1_cli.config import LearnConfig
from llamao1_cli.language.protocol import Language
from llamao1_cli.learn.algorithms import configured_algorithm
from llamao1_cli.learn.credit import has_signal, target_of
from llamao1_cli.model.trie import Trie
from llamao1_cli.search.tree import Node, Tree, node_tokens
from llamao1_cli.search.weights import draw_weights, solution_counts

# A thought that trains, the trie tokens from the one that predicts its first token on, and its
# advantage times what it counts.
ActedThought = tuple[Node, list[int], float]


@dataclass(frozen=True)
class Actions:
    """Sampled tokens that train the policy; arrays `[A]`."""

    at: np.ndarray  # int32: the trie token whose logits predicted it
    token: np.ndarray  # int32
    path: np.ndarray  # int32: which of the tree's solutions it belongs to
    role: np.ndarray  # uint8: row of the language's grammar
    logprob: np.ndarray  # float32: behaviour log-prob
    advantage: np.ndarray  # float32: of its thought, times what it counts


@dataclass(frozen=True)
class Ratings:
    """The model's ratings of the nodes, which are trained too; arrays `[M]`."""

    at: np.ndarray  # int32: the trie token behind which the rating is read
    leaves: np.ndarray  # float32: for how many leaves the node stands
    target: np.ndarray  # float32: what the outcomes made of it


@dataclass(frozen=True)
class Experience:
    """One tree as a token trie: what paths have in common from their start is there once.

    A path ends where the rating of its last node is read, as nothing reads what follows. A token's
    position is its depth in the trie. Nodes that say the same share their tokens, and each has its
    actions and its rating there; but a token that was drawn once for several thoughts is one
    action, with the sum of their advantages.
    """

    ids: np.ndarray  # [T] int32
    before: np.ndarray  # [T] int32: the token before it on its paths, of lower index; or -1
    actions: Actions
    ratings: Ratings
    iteration: int  # of the weights that sampled it


def experiences(
    trees: Sequence[Tree],
    language: Language,
    config: LearnConfig,
    discount: float,
    *,
    min_tokens: int = 1,
    share: slice = slice(None),
) -> list[Experience]:
    """Returns an experience for each tree that grew, with advantages scaled over all trees.

    `min_tokens` is the sampling's, which says where a thought could end; `share` says which of the
    trees that grew are wanted.
    """
    credit = scaled_advantages(trees, config, discount)
    learned = [pair for pair in zip(trees, credit, strict=True) if grew(pair[0])]
    return [_experience(tree, values, language, min_tokens) for tree, values in learned[share]]


def grew(tree: Tree) -> bool:
    """Returns whether the tree has a thought, and so an experience."""
    return bool(tree.start.children)


def scaled_advantages(
    trees: Sequence[Tree], config: LearnConfig, discount: float
) -> list[np.ndarray | None]:
    """Returns the scaled advantages `[N]` of each tree's nodes, None for a tree without any.

    The scale is the algorithm's, over all trees. Trees without signal have no part in it.
    """
    algorithm = configured_algorithm(config)
    credit = [algorithm.advantages(tree, discount) for tree in trees]
    signal = [
        values[[node.id for node in tree.nodes if trains(tree, node)]]
        for tree, values in zip(trees, credit, strict=True)
        if values is not None
    ]
    scale = algorithm.scale(signal) if signal else 1.0
    return [None if values is None else values / scale for values in credit]


def trains(tree: Tree, node: Node) -> bool:
    """Returns whether a node is a thought that was sampled for the tree and stands for anything."""
    return node.id > tree.begun and node.mass != 0


def _experience(
    tree: Tree, credit: np.ndarray | None, language: Language, min_tokens: int
) -> Experience:
    """Returns the experience of the whole tree, but for what stands for nothing; where all leaves
    are worth the same, of one path that stands for all. What was given is context alone."""
    alike = credit is None and not has_signal(tree)
    one = next((leaf for leaf in tree.leaf_nodes() if leaf.mass != 0), tree.start)
    nodes = tree.path(one) if alike else _depth_first(tree)
    counts, weights = solution_counts(tree), draw_weights(tree)
    trie = Trie()
    ends: dict[int | None, int] = {None: -1}  # last token of each node
    acted: list[ActedThought] = []
    rated: list[tuple[Node, int]] = []
    for node in nodes:
        tokens = node_tokens(tree, node, language)
        own = tokens.ids if node.children else tokens.ids[: tokens.read + 1]
        indices = trie.extend(ends[node.parent], own)
        ends[node.id] = indices[-1]
        if node.id > tree.begun and credit is not None and not np.isnan(credit[node.id]):
            predicting = [ends[node.parent], *indices][tokens.sampled :]
            acted.append((node, predicting, credit[node.id] * weights[node.id]))
        # The rating before the first thoughts is their baseline, so it is trained too.
        if language.rates and node.id >= tree.begun:
            rated.append((node, indices[tokens.read]))
    leaves = [tree.root.leaves if alike else counts[node.id] for node, _ in rated]
    targets = [target_of(node) for node, _ in rated]
    return Experience(
        np.array(trie.ids, np.int32),
        np.array(trie.before, np.int32),
        _actions(acted, _solutions(tree), language, min_tokens),
        Ratings(
            np.array([at for _, at in rated], np.int32),
            *(np.array(c, np.float32) for c in (leaves, targets)),
        ),
        tree.iteration,
    )


def _solutions(tree: Tree) -> list[int]:
    """Returns the leaf `[N]` whose solution each node is counted to: the first one below it."""
    first = list(range(len(tree.nodes)))
    for node in reversed(tree.nodes):
        if node.children:
            first[node.id] = first[node.children[0]]
    return first


def _depth_first(tree: Tree) -> list[Node]:
    """Returns the nodes that stand for something, each followed by those below it: paths that share
    much come together."""
    ordered, waiting = [], [tree.root]
    while waiting:
        node = waiting.pop()
        ordered.append(node)
        waiting += [child for child in reversed(tree.children(node)) if child.mass != 0]
    return ordered


def _actions(
    acted: list[ActedThought], solutions: list[int], language: Language, min_tokens: int
) -> Actions:
    """Returns the sampled tokens of the thoughts. One that was drawn for an earlier thought adds
    to the advantage that it has there."""
    rows: list[list[float]] = []
    drawn: dict[tuple[int, int], list[float]] = {}  # by where a token stands: its first row
    for node, indices, advantage in acted:
        thought = node.thought
        for index, (at, token) in enumerate(zip(indices, thought.ids, strict=False)):
            if index < thought.known and (at, token) in drawn:
                drawn[at, token][-1] += advantage
                continue
            role = language.role(index, thought.forced_meta, min_tokens)
            logprob = thought.logprobs[index]
            rows.append([at, token, solutions[node.id], role, logprob, advantage])
            drawn.setdefault((at, token), rows[-1])
    types = (np.int32, np.int32, np.int32, np.uint8, np.float32, np.float32)
    columns = list(zip(*rows, strict=True)) or [()] * len(types)
    return Actions(*(np.array(c, t) for c, t in zip(columns, types, strict=True)))
