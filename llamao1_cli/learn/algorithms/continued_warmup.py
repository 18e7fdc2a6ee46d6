"""The control of a comparison: no self-play, and more of what the warm-up learned from."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from llamao1_cli.config import LearnConfig
from llamao1_cli.learn.algorithms.protocol import ActionBatch
from llamao1_cli.search.tree import Tree


class ContinuedWarmup:
    """Learns nothing from trees: the trainer goes on with the warm-up's demonstrations."""

    def __init__(self, config: LearnConfig) -> None:
        pass

    def advantages(self, tree: Tree, discount: float) -> np.ndarray | None:
        """Returns None: no tree teaches it anything."""
        return None

    def scale(self, advantages: Sequence[np.ndarray]) -> float:
        """Returns 1: there is nothing to scale."""
        return 1.0

    def policy_loss(
        self, logprobs: Tensor, actions: ActionBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns 0: the demonstrations have a loss of their own."""
        return logprobs.new_zeros(()), {}
