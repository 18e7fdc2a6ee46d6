"""What the outcomes of trees teach a value function: targets of nodes, and pairs to rank."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from llamao1_cli.learn.losses import pair_loss, value_loss
from llamao1_cli.search.tree import Tree
from llamao1_cli.search.weights import solution_counts

MARGIN = 0.3  # nodes whose targets differ by no more are not ranked


@dataclass(frozen=True)
class Supervision:
    """The targets of `N` nodes, and `P` pairs of nodes of which the first has the higher one."""

    targets: np.ndarray  # [N] float32: what the outcomes made of the nodes
    leaves: np.ndarray  # [N] float32: for how many leaves a node stands, its weight in the loss
    pairs: np.ndarray  # [P, 2] int64: indices of nodes

    def losses(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the value loss summed over leaves and the pair loss summed over pairs, for nodes
        with these `logits` `[N]`."""
        targets, leaves, pairs = (
            torch.from_numpy(array).to(logits.device)
            for array in (self.targets, self.leaves, self.pairs)
        )
        return value_loss(logits, targets, leaves), pair_loss(logits, pairs)

    @property
    def sizes(self) -> tuple[float, int]:
        """The numbers of leaves and of pairs, at least 1: the two summed losses over them are
        means."""
        return max(float(self.leaves.sum()), 1.0), max(len(self.pairs), 1)


def supervision_of(trees: Sequence[Tree]) -> Supervision:
    """Returns the targets of all nodes of trees that have them, and all pairs in them, tree by
    tree."""
    return join([_of_tree(tree) for tree in trees])


def _of_tree(tree: Tree) -> Supervision:
    return Supervision(
        targets=np.array([node.target for node in tree.nodes], np.float32),
        # What the outcomes make of given thoughts is no news of them: they were chosen for it.
        leaves=np.array([0.0] * tree.begun + solution_counts(tree)[tree.begun :], np.float32),
        pairs=tree_pairs(tree),
    )


def join(parts: Sequence[Supervision]) -> Supervision:
    """Returns the nodes and the pairs of all parts, one part after another."""
    starts = np.cumsum([0, *(len(part.targets) for part in parts[:-1])])
    return Supervision(
        targets=np.concatenate([part.targets for part in parts]),
        leaves=np.concatenate([part.leaves for part in parts]),
        pairs=np.concatenate([p.pairs + start for p, start in zip(parts, starts, strict=True)]),
    )


def tree_pairs(tree: Tree) -> np.ndarray:
    """Returns the pairs of leaves, and of siblings, whose targets differ by more than `MARGIN`, as
    node ids `[P, 2]`, the node of the higher target first; none of what stands for nothing."""
    targets = np.array([node.target for node in tree.nodes])
    groups = [[leaf.id for leaf in tree.leaf_nodes()]]
    groups += [node.children for node in tree.nodes]
    groups = [[number for number in group if tree.nodes[number].mass != 0] for group in groups]
    pairs = []
    for group in (np.array(ids, np.int64) for ids in groups):
        better, worse = np.nonzero(targets[group][:, None] - targets[group] > MARGIN)
        pairs.append(np.stack([group[better], group[worse]], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)
