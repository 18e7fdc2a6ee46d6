"""PPO's clipped loss of single tokens, which several algorithms share."""

from torch import Tensor

from llamao1_cli.config import LearnConfig
from llamao1_cli.learn.algorithms.protocol import ActionBatch
from llamao1_cli.learn.losses import policy_loss


class ClippedLoss:
    """The policy loss of algorithms that differ in their advantages alone."""

    def __init__(self, config: LearnConfig) -> None:
        self._config = config

    def policy_loss(
        self, logprobs: Tensor, actions: ActionBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns PPO's clipped surrogate, and how many tokens it clipped."""
        config = self._config
        loss, clipped = policy_loss(
            logprobs,
            actions.behaviour,
            actions.advantage * actions.importance[actions.tree],
            clip=config.clip,
            clip_high=config.clip_upwards,
            cap=config.ratio_cap,
        )
        return loss, {"clip_fraction": clipped}
