"""The iterations of the control `continued_warmup`: demonstrations in the place of trees."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from llamao1_cli.config import LearnConfig
from llamao1_cli.language.protocol import SupervisedIds
from llamao1_cli.learn.warmup import Warmup


class Imitation:
    """Goes on with the warm-up's texts, as many an iteration as there would be problems."""

    def __init__(self, warmup: Warmup, config: LearnConfig) -> None:
        self._warmup = warmup
        self._count = max(config.problems // warmup.config.batch_size, 1)  # batches an iteration
        self._batches: Iterator[list[SupervisedIds]] | None = None

    def learn(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, number: int, rate: float
    ) -> tuple[float, int]:
        """Take the optimizer steps of iteration `number` at a learning rate.

        Returns their mean loss, and the tokens they read. Iterations follow each other, from the
        first one that is asked for.
        """
        if self._batches is None:
            done = self._warmup.steps + (number - 1) * self._count
            self._batches = islice(self._warmup.batches(), done, None)
        losses, tokens = [], 0
        for batch in islice(self._batches, self._count):
            metrics = self._warmup.step(model, optimizer, batch, rate, f"iteration {number}")
            losses.append(metrics["loss"])
            tokens += sum(len(text.inputs) for text in batch)
        return float(np.mean(losses)), tokens
