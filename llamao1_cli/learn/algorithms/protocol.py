"""What a learning algorithm decides: the credit of thoughts, and the loss of their tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from llamao1_cli.search.tree import Tree


@dataclass(frozen=True)
class ActionBatch:
    """The A sampled tokens of a micro-batch, of B trees and S solutions of theirs."""

    behaviour: Tensor  # [A] log-prob at which the token was sampled
    advantage: Tensor  # [A] of its thought
    tree: Tensor  # [A] index of its tree, in [0, B)
    solution: Tensor  # [A] index of the solution it belongs to, in [0, S)
    solution_tree: Tensor  # [S] index of the solution's tree, in [0, B)
    importance: Tensor  # [B] weight of each tree, from the replay


class Algorithm(Protocol):
    """Decides what the policy learns from searched trees. It is made from a `LearnConfig`."""

    def advantages(self, tree: Tree, discount: float) -> np.ndarray | None:
        """Returns the advantage of each node `[N]`, the root's 0.

        NaN marks a thought that does not train; None a tree that teaches the policy nothing.
        """
        ...

    def scale(self, advantages: Sequence[np.ndarray]) -> float:
        """Returns what all advantages of an iteration are divided by, from those of the trees that
        teach something, without those of nodes that do not train."""
        ...

    def policy_loss(
        self, logprobs: Tensor, actions: ActionBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss of the actions, summed, and what it counted on the way, by metric;
        `logprobs` `[A]` are those under the weights that train."""
        ...
