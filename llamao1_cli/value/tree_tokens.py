"""Trees as the value adapter reads them: token tries with the log-probs of sampled tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from llamao1_cli.language.protocol import Language
from llamao1_cli.model.packed_attention import Layout
from llamao1_cli.model.trie import Trie
from llamao1_cli.model.trie_layout import filled, layout_of, numbers, side_by_side, whole_paths
from llamao1_cli.search.tree import Node, Tree, node_tokens
from llamao1_cli.value.features import rating_logit


@dataclass(frozen=True)
class TreeTokens:
    """T tokens of a tree as a trie, and N of the tree's nodes."""

    ids: np.ndarray  # [T] int32
    before: np.ndarray  # [T] int32: index of the token before it on its paths, or -1
    logprobs: np.ndarray  # [T] float32; 0 where nothing was sampled
    at: np.ndarray  # [N] int32: index of the token at which the node's value is read
    ratings: np.ndarray  # [N] float32: their logits

    def part(self, tokens: np.ndarray, nodes: np.ndarray) -> "TreeTokens":
        """Returns the trie of `tokens` alone, which are whole paths in order, with its `nodes`."""
        number = numbers(tokens, len(self.ids))
        return TreeTokens(
            self.ids[tokens],
            number[self.before[tokens]],
            self.logprobs[tokens],
            number[self.at[nodes]],
            self.ratings[nodes],
        )


@dataclass(frozen=True)
class TokenBatch:
    """A micro-batch: one sequence of T tokens, and N nodes whose values are read in it."""

    ids: torch.Tensor  # [T]
    positions: torch.Tensor  # [T]: of each token on its path
    layout: Layout
    logprobs: torch.Tensor  # [T]
    at: torch.Tensor  # [N]
    ratings: torch.Tensor  # [N]
    nodes: torch.Tensor  # [N]: indices of its nodes among those of all micro-batches


class TokenReader:
    """Turns a growing tree into tokens, every thought once.

    A value is read where the model's rating is, at the token that starts the rating. The tokens
    behind it, which close the node, stand before the first token of each child.
    """

    def __init__(self, language: Language) -> None:
        self._language, self._trie = language, Trie()
        self._logprobs: list[float] = []
        self._at: list[int] = []  # index of the token at which each node read so far has its value

    def read(self, tree: Tree) -> TreeTokens:
        """Returns the nodes that the tree has gained since the last call, with the tokens of their
        paths and no others. Siblings of the same text share tokens, with the first one's log-probs.
        """
        fresh = tree.nodes[len(self._at) :]
        for node in fresh:
            self._add(tree, node)
        at = np.array(self._at[len(self._at) - len(fresh) :], np.int32)
        whole = TreeTokens(
            np.array(self._trie.ids, np.int32),
            np.array(self._trie.before, np.int32),
            np.array(self._logprobs, np.float32),
            at,
            np.array([rating_logit(node.thought) for node in fresh], np.float32),
        )
        return whole.part(self._tokens_up_to(at), np.arange(len(fresh)))

    def _add(self, tree: Tree, node: Node) -> None:
        tokens = node_tokens(tree, node, self._language)
        own, sampled, last = tokens.ids[: tokens.read + 1], tokens.sampled, -1
        if node.parent is not None:
            behind = self._language.behind_rating(tree.nodes[node.parent].thought.shown)
            own, sampled, last = behind + own, sampled + len(behind), self._at[node.parent]
        known = len(self._trie.ids)
        added = self._trie.extend(last, own)
        self._at.append(added[-1])
        self._logprobs += [0.0] * (len(self._trie.ids) - known)
        # Not strict: the tokens that close the thought were not sampled and have no log-prob.
        for token, logprob in zip(added[sampled:], node.thought.logprobs, strict=False):
            if token >= known:
                self._logprobs[token] = logprob

    def _tokens_up_to(self, at: np.ndarray) -> np.ndarray:
        """Returns the indices of the tokens on the paths that end at tokens `at`, in order."""
        kept: set[int] = set()
        for token in at.tolist():
            while token >= 0 and token not in kept:
                kept.add(token)
                token = self._trie.before[token]
        return np.array(sorted(kept), np.int32)


def token_batches(
    items: Sequence[TreeTokens], limit: int, device: torch.device
) -> list[TokenBatch]:
    """Returns all nodes of all trees in micro-batches of at most `limit` tokens; larger trees are
    split between paths."""
    parts: list[tuple[np.ndarray, TreeTokens]] = []
    first = 0
    for item in items:
        for nodes, part in _split(item, limit):
            parts.append((first + nodes, part))
        first += len(item.at)
    sizes = [len(part.ids) for _, part in parts]
    return [_pack([parts[index] for index in batch], device) for batch in filled(sizes, limit)]


def _split(item: TreeTokens, limit: int) -> list[tuple[np.ndarray, TreeTokens]]:
    """Returns parts of at most `limit` tokens where paths allow it, each with the indices of its
    nodes; no part for a tree without new nodes."""
    if not len(item.at):
        return []
    if len(item.ids) <= limit:
        return [(np.arange(len(item.at)), item)]
    kept, first = whole_paths(item.before, limit)
    owned = [np.flatnonzero(first[item.at] == number) for number in range(len(kept))]
    return [(nodes, item.part(tokens, nodes)) for tokens, nodes in zip(kept, owned, strict=True)]


def _pack(parts: Sequence[tuple[np.ndarray, TreeTokens]], device: torch.device) -> TokenBatch:
    items = [item for _, item in parts]
    before, begins = side_by_side([item.before for item in items])
    positions, layout = layout_of(before, device)

    def tensor(arrays: Sequence[np.ndarray], dtype: torch.dtype = torch.long) -> torch.Tensor:
        return torch.from_numpy(np.concatenate(arrays)).to(device, dtype)

    return TokenBatch(
        ids=tensor([item.ids for item in items]),
        positions=tensor([positions]),
        layout=layout,
        logprobs=tensor([item.logprobs for item in items], torch.float32),
        at=tensor([item.at + begin for item, begin in zip(items, begins, strict=True)]),
        ratings=tensor([item.ratings for item in items], torch.float32),
        nodes=tensor([nodes for nodes, _ in parts]),
    )
