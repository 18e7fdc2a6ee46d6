"""Training of the pairwise judge, and how often it is right on held-out questions."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn import functional

from llamao1_cli.config import RewardConfig
from llamao1_cli.distributed.optimizer_step import make_optimizer, optimizer_step, ramp_and_cosine
from llamao1_cli.evaluate.intervals import mean_interval, wilson_interval
from llamao1_cli.evaluate.pairwise import PairwiseJudge, mean_odds
from llamao1_cli.reward.pairs import Pair
from llamao1_cli.search.refine.preference import Comparison

RAMP = 0.1  # share of the steps that ramp the rate up


def preference_loss(odds: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Returns the weighted sum of -log sigmoid(odds): the cross-entropy of preferring the better
    solution at the log-odds that it is better. Both `[B]`."""
    return (weights * functional.softplus(-odds)).sum()


def train_judge(
    judge: PairwiseJudge,
    pairs: Sequence[Pair],
    config: RewardConfig,
    accelerator: Accelerator,
    seed: int,
    on_step: Callable[[float], None],
) -> list[float]:
    """Train on pairs that the context holds; returns the loss of each step, which `on_step` sees
    too.

    A pair is asked in both orders at once: what is trained is what `log_odds` returns, and no
    preference for the first or the second solution has to be unlearned. Raises
    RunFailedError for a loss that is not finite.
    """
    batches = [
        batch for epoch in range(config.epochs) for batch in _epoch(pairs, config, seed, epoch)
    ]
    optimizer = make_optimizer(judge.model, (0.9, 0.999), 0.0)
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
    """Returns how often the judge prefers the right solution, with 95% intervals.

    The same of the rule that the shorter solution is better. Equals count half. A question counts
    once, by the mean over its pairs.
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
    """Returns the mean over questions of the share of margins above 0 (0 counts half), and its 95%
    interval: Wilson's where every question has one pair, else the normal one over questions."""
    rows: dict[str, list[float]] = {}
    for question, margin in zip(questions, margins, strict=True):
        rows.setdefault(question, []).append(float(np.sign(margin) + 1) / 2)
    means = [float(np.mean(row)) for row in rows.values()]
    single = all(len(row) == 1 for row in rows.values())
    interval = wilson_interval(sum(means), len(means)) if single else mean_interval(means)
    return {"accuracy": float(np.mean(means)), "ci95": list(interval)}


def _epoch(pairs: Sequence[Pair], config: RewardConfig, seed: int, epoch: int) -> list[list[Pair]]:
    """Returns the batches of an epoch."""
    order = np.random.default_rng([seed, 5, epoch]).permutation(len(pairs))
    size = config.batch_size
    return [[pairs[i] for i in order[start : start + size]] for start in range(0, len(pairs), size)]


def _losses(
    judge: PairwiseJudge, batch: list[Pair], sums: list[torch.Tensor]
) -> list[Callable[[], torch.Tensor]]:
    """Returns functions of the losses of a batch's parts, each of like lengths; the weights of the
    whole batch sum to 1."""
    comparisons = [Comparison(pair.question, pair.better, pair.worse) for pair in batch]
    rows = [(judge.ids(c), judge.ids(c.turned)) for c in comparisons]
    weights = torch.tensor([pair.weight for pair in batch])
    weights /= weights.sum()
    return [
        partial(_loss, judge, [rows[i] for i in part], weights[part], sums)
        for part in judge.batches([2 * max(map(len, orders)) for orders in rows])
    ]


def _loss(
    judge: PairwiseJudge,
    rows: list[tuple[list[int], list[int]]],
    weights: torch.Tensor,
    sums: list[torch.Tensor],
) -> torch.Tensor:
    """Returns the loss of a part at the mean log-odds of both orders, and appends it to `sums`."""
    answers = judge.forward([ids for orders in rows for ids in orders])
    loss = preference_loss(mean_odds(answers), weights.to(answers.device))
    sums.append(loss.detach())
    return loss
