"""Kimi k1.5 (Kimi team 2025): policy mirror descent on whole solutions, short ones preferred."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from llamao1_cli.config import LearnConfig
from llamao1_cli.errors import UserError
from llamao1_cli.learn.algorithms.protocol import ActionBatch
from llamao1_cli.learn.credit import mean_below, target_of
from llamao1_cli.learn.losses import log_ratio
from llamao1_cli.search.tree import Tree


class K15:
    """Centred rewards, and a squared log-ratio that keeps the policy near what sampled."""

    def __init__(self, config: LearnConfig) -> None:
        self._config = config

    def advantages(self, tree: Tree, discount: float) -> np.ndarray | None:
        """Returns the centred reward of each node's solution `[N]`; None where all are alike."""
        return centred_rewards(tree, self._config.length_weight)

    def scale(self, advantages: Sequence[np.ndarray]) -> float:
        """Returns 1: rewards are in [0, 1] but for the length's."""
        return 1.0

    def policy_loss(
        self, logprobs: Tensor, actions: ActionBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the mirror descent loss of the solutions; it counts nothing."""
        loss = mirror_descent_loss(
            logprobs,
            actions.behaviour,
            actions.advantage,
            actions.solution,
            actions.importance[actions.solution_tree],
            tau=self._config.mirror_weight,
        )
        return loss, {}


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
        right = value > 0.5 if leaf.outcome is None else leaf.outcome
        rewards.append(value + length_weight * (brevity if right else min(brevity, 0.0)))
    if max(rewards) == min(rewards):
        return None
    centred = np.array(rewards) - np.mean(rewards)
    return mean_below(tree, {leaf.id: c for leaf, c in zip(leaves, centred, strict=True)})


def mirror_descent_loss(
    logprobs: torch.Tensor,
    behaviour: torch.Tensor,
    advantages: torch.Tensor,
    solutions: torch.Tensor,
    weights: torch.Tensor,
    *,
    tau: float,
) -> torch.Tensor:
    """Kimi k1.5's policy mirror descent (Kimi team 2025, eq. 3), summed over solutions.

    -A log pi(y) + tau / 2 (log pi(y) / mu(y))^2 with the log-probs of whole solutions y: action i
    belongs to solution `solutions[i]` in [0, S); `weights` `[S]`, the others `[A]`.
    """
    gaps = torch.zeros_like(weights).index_add_(0, solutions, log_ratio(logprobs, behaviour))
    gain = (weights[solutions] * advantages * logprobs.float()).sum()
    return tau / 2 * (weights * gaps**2).sum() - gain
