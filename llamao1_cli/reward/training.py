"""Training of the pairwise judge, and how often it is right on held-out questions."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn import functional

from llamao1_cli.config import RewardConfig
from llamao1_cli.optimization import make_optimizer, optimizer_step, ramp_and_cosine
from llamao1_cli.reward.pairs import Pair
from llamao1_cli.reward.pairwise import PairwiseJudge
from llamao1_cli.search.preference import Comparison
from llamao1_cli.statistics import mean_interval, wilson_interval

RAMP = 0.1  # share of the steps that ramp the rate up


def preference_loss(odds: torch.Tensor, signs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of yes and no, weighted sum: -log sigmoid(odds) where `signs` is 1 and the
    first solution is the better one, -log sigmoid(-odds) where it is -1. All `[B]`."""
    return (weights * functional.softplus(-signs * odds)).sum()


def train_judge(
    judge: PairwiseJudge,
    pairs: Sequence[Pair],
    config: RewardConfig,
    accelerator: Accelerator,
    seed: int,
    on_step: Callable[[float], None],
) -> list[float]:
    """Train on pairs that the context holds; gives the loss of each step, which `on_step` sees
    too.

    A pair is asked in one order an epoch, in the other the next. Raises RunFailedError for a loss
    that is not finite.
    """
    batches = [
        batch for epoch in range(config.epochs) for batch in _epoch(pairs, config, seed, epoch)
    ]
    optimizer = accelerator.prepare(make_optimizer(judge.model, (0.9, 0.999), 0.0))
    judge.model.train()
    losses = []
    for step, batch in enumerate(batches):
        sums: list[torch.Tensor] = []
        rate = config.learning_rate * ramp_and_cosine((step + 0.5) / len(batches), RAMP, 0.0)
        optimizer_step(
            accelerator,
            judge.model,
            optimizer,
            _losses(judge, batch, sums),
            rate=rate,
            max_grad_norm=1.0,
            name=f"step {step + 1} of the judge",
        )
        losses.append(float(torch.stack(sums).sum()))
        on_step(losses[-1])
    return losses


def pair_figures(judge: PairwiseJudge, pairs: Sequence[Pair]) -> dict[str, Any]:
    """How often the judge holds the right solution for the better one, with 95% intervals.

    Also of the rule that the shorter solution is better. Equals count half. A question counts once,
    by the mean over its pairs.
    """
    before = judge.unread
    odds = judge.log_odds([Comparison(p.question, p.better, p.worse) for p in pairs])
    brevity = [len(pair.worse) - len(pair.better) for pair in pairs]
    questions = [pair.question for pair in pairs]
    return {
        "pairs": len(pairs),
        "questions": len(set(questions)),
        "unread": judge.unread - before,
        **accuracy(questions, odds),
        "shorter": accuracy(questions, np.array(brevity)),
    }


def accuracy(questions: Sequence[str], margins: np.ndarray) -> dict[str, Any]:
    """Mean over questions of the share of their margins above 0 (equal to 0: half), and its 95%
    interval: Wilson's where every question has one pair, else the normal one over questions."""
    rows: dict[str, list[float]] = {}
    for question, margin in zip(questions, margins, strict=True):
        rows.setdefault(question, []).append(float(np.sign(margin) + 1) / 2)
    means = [float(np.mean(row)) for row in rows.values()]
    single = all(len(row) == 1 for row in rows.values())
    interval = wilson_interval(sum(means), len(means)) if single else mean_interval(means)
    return {"accuracy": float(np.mean(means)), "ci95": list(interval)}


def _epoch(
    pairs: Sequence[Pair], config: RewardConfig, seed: int, epoch: int
) -> list[list[tuple[Pair, int]]]:
    """The batches of an epoch: pairs, each with 1 where the better one is to stand first, or -1."""
    rng = np.random.default_rng([seed, 5, epoch])
    order = rng.permutation(len(pairs))
    first = np.random.default_rng([seed, 6]).integers(2, size=len(pairs))
    signed = [(pairs[i], 1 if (first[i] + epoch) % 2 else -1) for i in order]
    size = config.batch_size
    return [signed[start : start + size] for start in range(0, len(signed), size)]


def _losses(
    judge: PairwiseJudge, batch: list[tuple[Pair, int]], sums: list[torch.Tensor]
) -> list[Callable[[], torch.Tensor]]:
    """The losses of a batch's parts of like lengths, over the weight of the whole batch."""
    comparisons = [Comparison(pair.question, pair.better, pair.worse) for pair, _ in batch]
    rows = [
        judge.ids(c if sign > 0 else c.turned)
        for c, (_, sign) in zip(comparisons, batch, strict=True)
    ]
    total = sum(pair.weight for pair, _ in batch)
    return [
        partial(_loss, judge, [rows[i] for i in part], [batch[i] for i in part], total, sums)
        for part in judge.batches([len(row) for row in rows])
    ]


def _loss(
    judge: PairwiseJudge,
    rows: list[list[int]],
    batch: list[tuple[Pair, int]],
    total: float,
    sums: list[torch.Tensor],
) -> torch.Tensor:
    """The loss of a part; noted in `sums`."""
    odds = judge.forward(rows)
    signs = torch.tensor([sign for _, sign in batch], device=odds.device)
    weights = torch.tensor([pair.weight / total for pair, _ in batch], device=odds.device)
    loss = preference_loss(odds, signs, weights)
    sums.append(loss.detach())
    return loss
