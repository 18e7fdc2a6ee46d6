"""Problems and tasks: a task is a source of problems and of solutions to warm up on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llamao1_cli.language.marked import MarkedNode


@dataclass(frozen=True)
class Problem:
    """A problem and its true answer. Only the grader reads the answer."""

    id: str
    text: str
    answer: str


class Task(Protocol):
    """A source of problems; no training problem is held out."""

    name: str

    def train_problems(self, seed: int, iteration: int, count: int) -> Sequence[Problem]:
        """Returns `count` training problems, which depend on seed and iteration alone."""
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
