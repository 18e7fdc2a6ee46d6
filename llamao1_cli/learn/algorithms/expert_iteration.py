"""Expert iteration: right solutions are imitated, all others left alone."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from llamao1_cli.config import LearnConfig
from llamao1_cli.learn.algorithms.protocol import ActionBatch
from llamao1_cli.search.tree import Tree


class ExpertIteration:
    """The log-likelihood of the thoughts on paths to right leaves."""

    def __init__(self, config: LearnConfig) -> None:
        pass

    def advantages(self, tree: Tree, discount: float) -> np.ndarray | None:
        """Returns 1 for each thought to imitate `[N]`; None for a tree without a right leaf."""
        return right_paths(tree)

    def scale(self, advantages: Sequence[np.ndarray]) -> float:
        """Returns 1: every thought that is imitated counts alike."""
        return 1.0

    def policy_loss(
        self, logprobs: Tensor, actions: ActionBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the negative log-likelihood; it counts nothing."""
        weights = actions.advantage * actions.importance[actions.tree]
        return likelihood_loss(logprobs, weights), {}


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


def likelihood_loss(logprobs: Tensor, weights: Tensor) -> Tensor:
    """Negative log-likelihood of the actions `[A]`, weighted sum."""
    return -(weights * logprobs.float()).sum()
