"""What a run has spent: seconds by phase, and the share of its budget that is gone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator

from llamao1_cli.config import RunConfig


class Spending:
    """Seconds and tokens of self-play and update; warm-up, evaluation and saving are free."""

    def __init__(self, config: RunConfig, accelerator: Accelerator) -> None:
        self._config, self._accelerator = config, accelerator
        self._phases: dict[str, float] = {}
        self._start = 0.0
        self.seconds = self.tokens = 0.0
        self._begun_with = self.before = (0.0, 0.0)  # `before` the last whole iteration

    def begin(self) -> None:
        """Begin an iteration."""
        self._begun_with = self.seconds, self.tokens
        self._start = time.perf_counter()

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Count the seconds inside to a phase of the iteration."""
        start = time.perf_counter()
        yield
        self.shift(phase, time.perf_counter() - start)

    def shift(self, phase: str, seconds: float) -> None:
        """Count so many seconds more to a phase, or less."""
        self._phases[phase] = self._phases.get(phase, 0.0) + seconds

    def phase(self, name: str) -> float:
        """Returns the seconds of a phase in this iteration so far."""
        return self._phases.get(name, 0.0)

    def close(self) -> dict[str, float]:
        """End an iteration; returns its seconds by phase, and under `spent` those of all so far.

        The iteration's own are those of the slowest rank, so that all stop together.
        """
        mine = torch.tensor([time.perf_counter() - self._start], device=self._accelerator.device)
        took = float(self._accelerator.gather(mine.float()).max())
        self.seconds += took
        self.before = self._begun_with
        phases, self._phases = self._phases, {}
        return phases | {"iteration": took, "spent": self.seconds}

    def progress(self, number: int) -> float:
        """Returns the share of the run that is over after iteration `number`, in [0, 1].

        That is of its iterations, or of what it may spend, whichever is further on.
        """
        return self._share(number, self.seconds, self.tokens)

    def step(self, number: int) -> tuple[float, float]:
        """Returns the progress before and after iteration `number`, the last whole one."""
        return self._share(number - 1, *self.before), self.progress(number)

    def _share(self, number: int, seconds: float, tokens: float) -> float:
        run = self._config
        budgets = ((seconds, run.budget_seconds), (tokens, run.budget_tokens))
        spent = [amount / most for amount, most in budgets if most]
        return min(max([number / max(run.iterations, 1), *spent]), 1.0)
