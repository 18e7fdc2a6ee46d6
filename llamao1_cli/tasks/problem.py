"""What a task gives: problems, and for a warm-up, marked demonstrations."""

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
    """A source of problems; training and held-out problems never overlap."""

    name: str

    def train_problems(self, seed: int, iteration: int, count: int) -> Sequence[Problem]:
        """`count` training problems of an iteration; the same for the same seed and iteration."""
        ...

    def test_problems(self, count: int) -> Sequence[Problem]:
        """The first `count` held-out problems, always the same."""
        ...

    def demonstrations(self, seed: int, count: int) -> list[list[MarkedNode]]:
        """`count` marked solutions of training problems, or UserError where the task has none."""
        ...

    def corpus(self) -> list[str]:
        """Texts that a tokenizer for this task should know well."""
        ...
