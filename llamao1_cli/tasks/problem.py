"""Problems and tasks: a task is a source of problems and of solutions to warm up on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from llamao1_cli.language.marked import MarkedNode

Item = TypeVar("Item")


@dataclass(frozen=True)
class Problem:
    """A problem and its true answer. Only the grader reads the answer."""

    id: str
    text: str
    answer: str


class Task(Protocol):
    """A source of problems; no training problem is held out."""

    name: str
    levels: int  # of difficulty of the training problems; the highest is that of the held-out ones

    def train_problems(
        self,
        seed: int,
        iteration: int,
        count: int,
        *,
        before: int | None = None,
        level: int | None = None,
    ) -> Sequence[Problem]:
        """Returns the first `count` training problems of an iteration.

        They depend on what is given alone, and are the same where more are asked for. `before` is
        how many the iterations before had, None as many each; `level` is in 1..levels, None the
        highest.
        """
        ...

    def test_problems(self, count: int) -> Sequence[Problem]:
        """Returns the first `count` held-out problems, always the same."""
        ...

    def demonstrations(self, seed: int, count: int) -> list[list[MarkedNode]]:
        """Returns `count` marked solutions of training problems; UserError if the task has none."""
        ...

    def corpus(self) -> list[str]:
        """Returns texts from which a tokenizer for this task is trained."""
        ...


def written_alike(text: str) -> str:
    """Returns what texts share that differ in case and white space alone."""
    return " ".join(text.split()).casefold()


def of_a_pass(items: Sequence[Item], seeds: Sequence[int], position: int) -> Item:
    """Returns the item at a position of pass after pass over them, each in an order of its own."""
    order = np.random.default_rng([*seeds, position // len(items)]).permutation(len(items))
    return items[order[position % len(items)]]
