"""Problems and tasks: a task is a source of problems, and says what rewards their solutions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeVar

import numpy as np

from llamao1_cli.language.marked import MarkedNode

Item = TypeVar("Item")


@dataclass(frozen=True)
class Problem:
    """A problem and its true answer, which only the reward reads: plain text, or JSON text where a
    reward needs more than an answer."""

    id: str
    text: str
    answer: str


@dataclass(frozen=True)
class Solution:
    """A solution of a problem: all of its thoughts, a line each, and the answer that it states."""

    text: str
    answer: str


@dataclass(frozen=True)
class RewardFile:
    """A Python file whose `reward(problem, solution)` is called in worker processes: a function of
    it, or a method of its class `Task`, which is made with the options."""

    path: str
    options: dict[str, Any]


EQUALITY: Final = "equality"  # 1 if the stated answer equals the problem's, else 0
RewardSource = Literal["equality"] | RewardFile


class Task(Protocol):
    """A source of problems; no training problem is held out."""

    name: str
    instruction: str  # what the text of each of its problems ends with, on a line of its own
    reward: RewardSource
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


def instructed(text: str, instruction: str) -> str:
    """Returns the text of a problem with an instruction on a line of its own behind it, if any."""
    return f"{text}\n{instruction}" if instruction else text


def written_alike(text: str) -> str:
    """Returns what texts share that differ in case and white space alone."""
    return " ".join(text.split()).casefold()


def of_a_pass(items: Sequence[Item], seeds: Sequence[int], position: int) -> Item:
    """Returns the item at a position of pass after pass over them, each in an order of its own."""
    order = np.random.default_rng([*seeds, position // len(items)]).permutation(len(items))
    return items[order[position % len(items)]]
