"""What the outcomes of a tree teach a value: targets for its nodes, and pairs to tell apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from llamao1_cli.learn.losses import pair_loss, value_loss
from llamao1_cli.search.tree import Tree

MARGIN = 0.3  # nodes whose targets differ by no more are not told apart


@dataclass(frozen=True)
class Lesson:
    """What the outcomes teach of `N` nodes, and of `P` pairs of them to be told apart."""

    targets: np.ndarray  # [N] float32: rectified values
    leaves: np.ndarray  # [N] float32: how many leaves a node speaks for
    pairs: np.ndarray  # [P, 2] int64: first the node that has the higher target

    def losses(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums over leaves and over pairs, of the nodes with `logits` `[N]`."""
        targets, leaves, pairs = (
            torch.from_numpy(array).to(logits.device)
            for array in (self.targets, self.leaves, self.pairs)
        )
        return value_loss(logits, targets, leaves), pair_loss(logits, pairs)

    @property
    def sizes(self) -> tuple[float, int]:
        """What the two losses are divided by for their means."""
        return max(float(self.leaves.sum()), 1.0), max(len(self.pairs), 1)


def lesson_of(trees: Sequence[Tree]) -> Lesson:
    """All nodes of rectified trees and all pairs in them, tree after tree."""
    return join([_lesson(tree) for tree in trees])


def _lesson(tree: Tree) -> Lesson:
    return Lesson(
        targets=np.array([node.target for node in tree.nodes], np.float32),
        leaves=np.array([node.leaves for node in tree.nodes], np.float32),
        pairs=tree_pairs(tree),
    )


def join(parts: Sequence[Lesson]) -> Lesson:
    """The nodes and the pairs of all parts, one after another."""
    starts = np.cumsum([0, *(len(part.targets) for part in parts[:-1])])
    return Lesson(
        targets=np.concatenate([part.targets for part in parts]),
        leaves=np.concatenate([part.leaves for part in parts]),
        pairs=np.concatenate([p.pairs + start for p, start in zip(parts, starts, strict=True)]),
    )


def tree_pairs(tree: Tree) -> np.ndarray:
    """Pairs of leaves, and of siblings, whose targets differ by more than `MARGIN` `[P, 2]`: node
    numbers, the one of the higher target first."""
    targets = np.array([node.target for node in tree.nodes])
    groups = [[leaf.id for leaf in tree.leaf_nodes()]]
    groups += [node.children for node in tree.nodes]
    pairs = []
    for group in (np.array(ids, np.int64) for ids in groups):
        better, worse = np.nonzero(targets[group][:, None] - targets[group] > MARGIN)
        pairs.append(np.stack([group[better], group[worse]], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)
