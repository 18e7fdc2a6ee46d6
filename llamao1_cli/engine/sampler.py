"""Draw tokens from rows of logits, with the figures of the distribution drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llamao1_cli.language.distribution import FLOOR, entropy_figures, invert, truncate
from llamao1_cli.language.sampling import Sampling

NO_TOKEN = -1  # is drawn where everything that could be is barred


@dataclass(frozen=True)
class Choice:
    """How the next token of each of B rows is drawn; all tensors `[B]`."""

    roles: Tensor  # rows of the grammar
    uniforms: Tensor  # in [0, 1)
    temperatures: Tensor  # 0 takes the likeliest token, scored under temperature 1
    top_k: Tensor  # 0 keeps all
    top_p: Tensor
    # These two are known on the host, for asking a GPU means waiting for it.
    greedy: bool = True  # whether a temperature may be 0
    truncates: bool = True  # whether top_k or top_p may leave tokens out


@dataclass(frozen=True)
class Drawn:
    """The tokens drawn for B rows; all tensors `[B]`."""

    tokens: Tensor
    logprobs: Tensor  # under the distribution drawn from
    entropy: Tensor  # of it, in nats
    varentropy: Tensor  # variance of -log p under it


@dataclass(frozen=True)
class TokenStats:
    """One sampled token, and the figures of the distribution that it was drawn from."""

    token: int
    logprob: float
    entropy: float
    varentropy: float


def make_choice(
    sampling: Sequence[Sampling],
    roles: Sequence[int],
    uniforms: Sequence[float],
    device: torch.device,
) -> Choice:
    """Returns the choice of rows with these settings, one of each a row."""
    table = torch.tensor(
        [
            list(roles),
            list(uniforms),
            [each.temperature for each in sampling],
            [each.top_k for each in sampling],
            [each.top_p for each in sampling],
        ],
        dtype=torch.float64,
    ).to(device)
    return Choice(
        table[0].long(),
        table[1],
        table[2].float(),
        table[3].long(),
        table[4],
        greedy=any(each.temperature == 0 for each in sampling),
        truncates=any(each.top_k > 0 or each.top_p < 1 for each in sampling),
    )


def token_stats(drawn: Drawn) -> list[TokenStats]:
    """Returns what was drawn, row by row."""
    columns = (drawn.tokens, drawn.logprobs, drawn.entropy, drawn.varentropy)
    return [TokenStats(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


class Sampler:
    """Samples under a grammar `[roles, V]` that says which tokens are allowed where."""

    def __init__(self, grammar: Tensor) -> None:
        always, sometimes = grammar.all(0), grammar.any(0)
        self._never_sure = (~always).nonzero().squeeze(-1)
        self._varying = (sometimes & ~always).nonzero().squeeze(-1)
        self._varies = grammar[:, self._varying]

    def draw(
        self,
        logits: Tensor,
        choice: Choice,
        tokens: Tensor | None = None,
        barred: Sequence[tuple[int, int]] = (),
    ) -> Drawn:
        """Returns one token a row drawn from logits `[B, V]`, or the given `tokens` `[B]`, with
        their figures.

        `barred` are (row, token) pairs that are not drawn; the figures are those without the bar.
        A row of which nothing else has a probability above 0 draws `NO_TOKEN`.
        """
        scores = self._scores(logits, choice, tokens)
        weights = scores.exp()
        log_total, entropy, varentropy = entropy_figures(weights, scores)
        if tokens is None:
            tokens = invert(weights, choice.uniforms)
            if choice.greedy:
                tokens = torch.where(choice.temperatures == 0, scores.argmax(-1), tokens)
            if barred:
                tokens = _drawn_apart(weights, choice, tokens, barred)
        chosen = scores.gather(-1, tokens.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return Drawn(tokens, chosen - log_total, entropy, varentropy)

    def _scores(self, logits: Tensor, choice: Choice, keep: Tensor | None) -> Tensor:
        """Returns `distribution.action_scores` of many rows: only the few columns that the grammar
        ever forbids are masked, in place."""
        scores = logits.to(torch.float32, copy=True)
        varying = scores[:, self._varying]
        scores.index_fill_(1, self._never_sure, FLOOR)
        scores[:, self._varying] = varying.masked_fill(~self._varies[choice.roles], FLOOR)
        scale = torch.where(choice.temperatures > 0, choice.temperatures, 1.0).unsqueeze(-1)
        scores.sub_(scores.amax(-1, keepdim=True)).div_(scale)
        if not choice.truncates:
            return scores
        return truncate(scores, choice.top_k.unsqueeze(-1), choice.top_p.unsqueeze(-1), keep)


def _drawn_apart(
    weights: Tensor, choice: Choice, tokens: Tensor, barred: Sequence[tuple[int, int]]
) -> Tensor:
    """Returns `tokens` `[B]` with those of the rows that have barred tokens drawn from the rest of
    their `weights` `[B, V]`."""
    rows = sorted({row for row, _ in barred})
    number = {row: index for index, row in enumerate(rows)}
    at = torch.tensor(rows, device=weights.device)
    left = weights[at]
    table = [(number[row], token) for row, token in barred]
    left[torch.tensor(table, device=weights.device).unbind(1)] = 0.0
    empty = left.sum(-1) <= 0
    drawn = invert(left.masked_fill(empty.unsqueeze(-1), 1.0), choice.uniforms[at])
    if choice.greedy:
        drawn = torch.where(choice.temperatures[at] == 0, left.argmax(-1), drawn)
    drawn = torch.where(empty, NO_TOKEN, drawn)
    return tokens.index_copy(0, at, drawn)
