"""Warm-up: supervised training on marked text, the stage before self-play."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn import functional

from llamao1_cli.config import WarmupConfig
from llamao1_cli.distributed.optimizer_step import optimizer_step, ramp_and_cosine
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked import (
    MarkedNode,
    MarkedTextError,
    parse_tree,
    with_digits,
)
from llamao1_cli.language.protocol import Language, SupervisedIds
from llamao1_cli.learn.messages import messages_of, worked_solution
from llamao1_cli.tasks.fields import text_field
from llamao1_cli.tasks.problem import Task
from llamao1_cli.tasks.rows import read_rows

BUCKET = 50  # batches that are sorted by length together, so that little of a batch is padding


class Warmup:
    """Steps over marked texts, in an order that the seed decides: any step can be resumed."""

    def __init__(
        self,
        config: WarmupConfig,
        texts: Sequence[SupervisedIds],
        accelerator: Accelerator,
        seed: int,
    ) -> None:
        self.config, self._texts = config, texts
        self._accelerator, self._seed = accelerator, seed
        self._steps_an_epoch = math.ceil(len(texts) / config.batch_size)
        self.steps = self._steps_an_epoch * config.epochs

    def batches(self) -> Iterator[list[SupervisedIds]]:
        """Yields the batches of one epoch after the other, without end: shuffled, bucketed by
        length, shuffled again."""
        size = self.config.batch_size
        for epoch in count():
            rng = np.random.default_rng([self._seed, 3, epoch])
            order = rng.permutation(len(self._texts))
            batches: list[np.ndarray] = []
            for start in range(0, len(order), BUCKET * size):
                bucket = sorted(
                    order[start : start + BUCKET * size], key=lambda i: len(self._texts[i].inputs)
                )
                batches += [np.array(bucket[i : i + size]) for i in range(0, len(bucket), size)]
            for number in rng.permutation(len(batches)):
                yield [self._texts[i] for i in batches[number]]

    def rate(self, step: int) -> float:
        """Returns the learning rate of the warm-up's step number `step`."""
        config = self.config
        return config.learning_rate * ramp_and_cosine(
            step / self.steps, config.ramp, config.final_rate
        )

    def step(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        batch: list[SupervisedIds],
        rate: float,
        name: str,
    ) -> dict[str, float]:
        """Take one step on a batch at a learning rate; returns its metrics. `name` is for
        errors."""
        model.train()
        config, accelerator = self.config, self._accelerator
        # Every rank knows the whole batch, so its size needs no communication.
        total = sum(sum(text.weights[1:]) for text in batch)
        shares = [
            batch[rank :: accelerator.num_processes] for rank in range(accelerator.num_processes)
        ]
        share, size = shares[accelerator.process_index], config.micro_batch_size
        # Ranks whose weights are sharded meet in every pass: all make as many as the first, if
        # need be with a text that counts for nothing.
        micro = [
            (share[i : i + size] or batch[:1], 1.0 if i < len(share) else 0.0)
            for i in range(0, len(shares[0]), size)
        ]
        sums: list[torch.Tensor] = []
        norm = optimizer_step(
            accelerator,
            model,
            optimizer,
            [partial(_loss, model, texts, total, counts, sums) for texts, counts in micro],
            rate=rate,
            max_grad_norm=config.max_grad_norm,
            name=name,
        )
        loss = accelerator.reduce(torch.stack(sums).sum(), "sum")
        return {"loss": float(loss), "learning_rate": rate, "grad_norm": norm}


def marked_texts(
    config: WarmupConfig,
    task: Task,
    language: Language,
    *,
    show_ratings: bool,
    max_length: int,
    seed: int,
) -> list[SupervisedIds]:
    """Returns the warm-up's texts as tokens: the configured file's, or the task's demonstrations.

    Texts longer than the context are left out. Raises UserError for text that is not marked text.
    """
    texts = [
        language.supervised(tree, show_ratings=show_ratings, rating_weight=config.rating_weight)
        for tree in marked_trees(config, task, seed, config.examples)
    ]
    fitting = [text for text in texts if len(text.inputs) <= max_length]
    if not fitting:
        where = "the task" if config.data is None else config.data.path or config.data.hub
        raise UserError(
            f"warmup.data: {where} holds no text of at most model.max_length ({max_length}) tokens"
        )
    return fitting


def marked_trees(
    config: WarmupConfig, task: Task, seed: int, examples: int
) -> Iterator[list[MarkedNode]]:
    """Yields the trees of the configured file, or the first `examples` demonstrations of the task.

    Raises UserError for text that is neither marked text nor messages.
    """
    if config.data is None:
        yield from task.demonstrations(seed, examples)
    else:
        for where, row in read_rows(config.data):
            messages = messages_of(row)
            if messages is None:
                yield _parse(_text(row, where), where)
            else:
                yield worked_solution(messages, where)


def marked_loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Returns the weighted cross-entropy, summed: logits `[B, T, V]` at t speak of labels `[B, T]`
    at t + 1."""
    each = functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten(), reduction="none"
    )
    return (each * weights[:, 1:].flatten()).sum()


def _text(row: dict[str, Any], where: str) -> str:
    """Returns the marked text of a row. Exported rows are spelled in a model's own tokens, and
    tokenizers made here have some for the numbers of nodes."""
    if "prompt" in row:
        spelled = text_field(row, "prompt", where) + text_field(row, "completion", where)
        return with_digits(spelled)
    return text_field(row, "text", where)


def _parse(text: str, where: str) -> list[MarkedNode]:
    try:
        return parse_tree(text)
    except MarkedTextError as error:
        raise UserError(f"{where}: its text is not marked text: {error}") from None


def _loss(
    model: torch.nn.Module,
    texts: list[SupervisedIds],
    total: float,
    share: float,
    sums: list[torch.Tensor],
) -> torch.Tensor:
    """Returns the loss of a micro-batch over the weight of the whole step; `sums` notes it."""
    device = next(model.parameters()).device
    inputs, labels = (
        _pad([getattr(t, name) for t in texts], 0, device) for name in ("inputs", "labels")
    )
    weights = _pad([text.weights for text in texts], 0.0, device)
    mask = _pad([[1] * len(text.inputs) for text in texts], 0, device)
    logits = model(input_ids=inputs, attention_mask=mask).logits
    loss = marked_loss(logits, labels, weights) * (share / max(total, 1e-9))
    sums.append(loss.detach())
    return loss


def _pad(
    rows: list[list[int]] | list[list[float]], fill: float, device: torch.device
) -> torch.Tensor:
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows], device=device)
