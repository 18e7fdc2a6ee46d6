"""Pure functions of logits that rollout and update share: one distribution, computed one way."""

import torch


def action_logprobs(
    logits: torch.Tensor, allowed: torch.Tensor, temperature: float | torch.Tensor
) -> torch.Tensor:
    """Log-probs `[..., V]`, in fp32, of the distribution that thoughts are sampled from.

    `allowed` `[..., V]` masks tokens that the language forbids; `temperature` > 0 is a number, or a
    tensor that broadcasts against the logits.
    """
    return (logits.float() / temperature).masked_fill(~allowed, -torch.inf).log_softmax(-1)


def entropy_and_varentropy(logprobs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """H = -sum p log p in nats, and sum p (log p + H)^2, over the last axis of log-probs."""
    probabilities = logprobs.exp()
    finite = logprobs.masked_fill(probabilities == 0, 0.0)  # 0 log 0 = 0
    entropy = -(probabilities * finite).sum(-1)
    varentropy = (probabilities * (finite + entropy.unsqueeze(-1)) ** 2).sum(-1)
    return entropy, varentropy


def draw(logprobs: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """One token a row `[B]` by inverting the distribution `[B, V]` at `uniforms` `[B]` in [0, 1).

    Inversion makes a row's sample depend on its own uniform alone, whatever the batch.
    """
    cumulative = logprobs.double().exp().cumsum(-1)
    targets = uniforms.double().unsqueeze(-1) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, targets, right=True).squeeze(-1)


def rating_probability(logits: torch.Tensor, positive: int, negative: int) -> torch.Tensor:
    """Probability of success `[...]` from logits `[..., V]`: two-way softmax of the ratings."""
    return torch.sigmoid(logits[..., positive].float() - logits[..., negative].float())
