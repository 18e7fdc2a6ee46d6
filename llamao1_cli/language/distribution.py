"""The distribution that thoughts are sampled from, by pure functions of logits.

Rollout and update share them, so that both mean the same probabilities.
"""

import torch
from torch import Tensor

from llamao1_cli.language.sampling import Sampling

FLOOR = -1e9  # stands for log 0: finite, so that its product with probability 0 is 0
SUMMED = 256  # tokens of a block, whose weights are summed before one of them is searched for


def action_scores(
    logits: Tensor,
    allowed: Tensor,
    temperature: float | Tensor,
    top_k: int | Tensor = 0,
    top_p: float | Tensor = 1.0,
    keep: Tensor | None = None,
) -> Tensor:
    """Returns unnormalised log-probs `[..., V]`, fp32, of the distribution of the next token.

    `allowed` `[..., V]` masks what the language forbids, then `temperature` > 0 scales, then
    `top_k` and `top_p` cut; each is a number or `[..., 1]`. The tokens `keep` `[...]` are never
    cut. Forbidden and cut tokens are at the floor, the largest score is 0.
    """
    scores = logits.float().masked_fill(~allowed, FLOOR)
    scores = (scores - scores.amax(-1, keepdim=True).detach()) / temperature
    return truncate(scores, top_k, top_p, keep)


def action_logprobs(logits: Tensor, tokens: Tensor, allowed: Tensor, sampling: Sampling) -> Tensor:
    """Returns the log-probs `[...]` of `tokens` under the distribution that `sampling` draws from
    logits `[..., V]`; greedy choices are scored under temperature 1."""
    temperature = sampling.temperature or 1.0
    scores = action_scores(logits, allowed, temperature, sampling.top_k, sampling.top_p, tokens)
    return scores.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def truncate(
    scores: Tensor, top_k: int | Tensor, top_p: float | Tensor, keep: Tensor | None = None
) -> Tensor:
    """Returns the scores with all but the likeliest at the floor.

    Kept are the `top_k` largest (0: all) and, of these, the fewest that together have probability
    `top_p` (Holtzman et al. 2020), and the tokens `keep`. Of equal scores the lower token is first.
    """
    numbers = not isinstance(top_k, Tensor) and not isinstance(top_p, Tensor)
    if numbers and top_k == 0 and top_p >= 1:
        return scores
    with torch.no_grad():
        ordered, order = scores.sort(dim=-1, descending=True, stable=True)
        rank = torch.arange(scores.shape[-1], device=scores.device)
        kept = (top_k == 0) | (rank < top_k)
        chances = ordered.masked_fill(~kept, FLOOR).softmax(-1)
        before = chances.cumsum(-1) - chances
        kept = kept & ((before < top_p) | (top_p >= 1))
        kept[..., 0] = True
        mask = torch.zeros_like(kept).scatter(-1, order, kept)
        if keep is not None:
            mask.scatter_(-1, keep.unsqueeze(-1), True)
    return scores.masked_fill(~mask, FLOOR)


def invert(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Returns one token a row `[B]` by inverting the distribution of `weights` `[B, V]` at
    `uniforms` `[B]` in [0, 1); weights need not sum to 1.

    Inversion makes a row's sample depend on its own uniform alone, whatever the batch. The block of
    tokens is found by the sums of the blocks first, and then the token in it, so that no running
    sum has length V.
    """
    size = weights.shape[-1]
    whole = size // SUMMED * SUMMED
    sums = weights[:, :whole].unflatten(-1, (-1, SUMMED)).sum(-1)
    if whole < size:
        sums = torch.cat([sums, weights[:, whole:].sum(-1, keepdim=True)], -1)
    cumulative = sums.double().cumsum(-1)
    target = uniforms.double().unsqueeze(-1) * cumulative[:, -1:]
    block = _first_above(cumulative, target)
    tokens = block * SUMMED + torch.arange(SUMMED, device=weights.device)
    inside = weights.gather(-1, tokens.clamp(max=size - 1)).masked_fill(tokens >= size, 0.0)
    target = target - (cumulative - sums.double()).gather(-1, block)
    return (block * SUMMED + _first_above(inside.double().cumsum(-1), target)).squeeze(-1)


def entropy_figures(weights: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns log Z, entropy H = -sum p log p in nats, and varentropy sum p (log p + H)^2 over the
    last axis, for p = exp(scores) / Z; `weights` are exp(scores)."""
    total = weights.sum(-1)
    first = torch.linalg.vecdot(weights, scores) / total
    second = torch.linalg.vecdot(weights * scores, scores) / total
    return total.log(), total.log() - first, (second - first**2).clamp(min=0.0)


def _first_above(cumulative: Tensor, target: Tensor) -> Tensor:
    """Returns the index `[B, 1]` of the first entry above the target; rounding never leads past the
    last entry that added something."""
    return torch.searchsorted(
        cumulative, torch.minimum(target, cumulative[:, -1:] * (1 - 1e-12)), right=True
    )
