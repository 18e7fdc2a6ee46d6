"""Pure functions of tensors: policy, value and KL losses. No model, no configuration.

Every loss is a sum; the trainer divides by the size of the whole optimizer step, so that neither
accumulation nor the number of ranks changes a gradient.
"""

import torch
from torch.nn import functional

LOG_RATIO_LIMIT = 20.0


def log_ratio(logprobs: torch.Tensor, behaviour: torch.Tensor) -> torch.Tensor:
    """Returns log pi / mu in fp32, clamped to +-20 so that its exponential is finite."""
    return (logprobs.float() - behaviour.float()).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def policy_loss(
    logprobs: torch.Tensor,
    behaviour: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip: float,
    clip_high: float,
    cap: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns PPO's clipped surrogate (Schulman et al. 2017), summed, and how many tokens it clips.

    -min(r A, clip(r, 1 - clip, 1 + clip_high) A), r = pi / mu; DAPO's clip-higher (Yu et al. 2025)
    leaves more room upwards. Clipping leaves r unbounded where A < 0, and there a small mu, or one
    that engine and trainer disagree on, would swamp the batch; r is capped first (dual clip, Ye et
    al. 2020). All tensors have one shape.
    """
    ratio = log_ratio(logprobs, behaviour).exp()
    plain = ratio.clamp(max=cap) * advantages
    clipped = ratio.clamp(1 - clip, 1 + clip_high) * advantages
    loss = -torch.minimum(plain, clipped).sum()
    return loss, ((clipped < plain) | ((ratio > cap) & (advantages < 0))).sum()


def value_loss(
    differences: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Returns the binary cross-entropy of sigmoid(positive - negative logit) and `targets`,
    weighted sum."""
    each = functional.binary_cross_entropy_with_logits(
        differences.float(), targets.float(), reduction="none"
    )
    return (weights * each).sum()


def pair_loss(logits: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """-log sigmoid(v of the better - v of the worse) (Bradley and Terry 1952), summed over pairs
    `[P, 2]` of the nodes with `logits` `[N]`."""
    better, worse = logits[pairs[:, 0]], logits[pairs[:, 1]]
    return functional.softplus(worse - better).sum()


def kl_estimate(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Schulman's k3 estimate of KL(pi || reference), summed: exp(d) - d - 1, d = log ref / pi."""
    d = log_ratio(reference, logprobs)
    return (d.exp() - d - 1).sum()
