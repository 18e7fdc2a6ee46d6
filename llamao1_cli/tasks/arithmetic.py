"""Generated arithmetic word problems, and solutions with mistakes to warm up on."""

import hashlib
from dataclasses import dataclass

import numpy as np

from llamao1_cli.config import ArithmeticTask
from llamao1_cli.language.marked import MarkedNode, Meta, Rating
from llamao1_cli.tasks.problem import Problem

NAMES = ("Mia", "Tom", "Ada", "Ben", "Eva", "Leo", "Ivy", "Max")
THINGS = ("apples", "coins", "books", "shells", "stamps", "cards", "beads", "pens")
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)  # when the events happen; each event has a month of its own
LARGEST = 60  # every intermediate value is in 0..LARGEST

# How often each operation is drawn; those that the demonstrations misread are the less common.
FREQUENCIES = {"add": 0.3, "subtract": 0.25, "double": 0.2, "triple": 0.125, "give": 0.125}

# The mistakes of the demonstrations, by their probability.
MISREAD, SLIP = 0.7, 0.1  # of an operation that can be misread, of any step's result
RATING_FLIPPED, RATING_UNKNOWN = 0.1, 0.3  # of any rating


@dataclass(frozen=True)
class Operation:
    """One event of a problem and its effect on the running value."""

    kind: str
    event: str
    sign: str
    operand: int

    def apply(self, value: int) -> int:
        """Returns the value after the operation."""
        return _calculate(value, self.sign, self.operand)


@dataclass(frozen=True)
class Story:
    """A problem as its sequence of operations."""

    name: str
    thing: str
    start: int
    operations: tuple[Operation, ...]

    @property
    def text(self) -> str:
        """The problem as asked."""
        events = [
            f"{month}: {operation.event}."
            for month, operation in zip(MONTHS, self.operations, strict=False)
        ]
        question = f"How many {self.thing} does {self.name} have?"
        return " ".join([f"{self.name} has {self.start} {self.thing}.", *events, question])

    @property
    def answer(self) -> int:
        """The true answer."""
        value = self.start
        for operation in self.operations:
            value = operation.apply(value)
        return value

    @property
    def held_out(self) -> bool:
        """Whether the story belongs to the held-out set.

        A digest of the text decides, so that no story can be on both sides.
        """
        return hashlib.sha256(self.text.encode()).digest()[0] < 32


class Arithmetic:
    """The task of the default configuration."""

    def __init__(self, config: ArithmeticTask) -> None:
        self.name = "arithmetic"
        self._config = config

    def train_problems(self, seed: int, iteration: int, count: int) -> list[Problem]:
        """Returns `count` training problems of an iteration."""
        rng = np.random.default_rng([seed, 1, iteration])
        return [_problem(self._story(rng, held_out=False)) for _ in range(count)]

    def test_problems(self, count: int) -> list[Problem]:
        """Returns the first `count` held-out problems, whatever the run's seed."""
        rng = np.random.default_rng(20)
        count = min(count, self._config.test_problems)
        stories: dict[str, Story] = {}
        while len(stories) < count:
            story = self._story(rng, held_out=True)
            stories[story.text] = story
        return [_problem(story) for story in stories.values()]

    def demonstrations(self, seed: int, count: int) -> list[list[MarkedNode]]:
        """Returns `count` solutions with misread operations, slips and unreliable ratings."""
        rng = np.random.default_rng([seed, 2])
        return [demonstrate(self._story(rng, held_out=False), rng) for _ in range(count)]

    def corpus(self) -> list[str]:
        """Returns texts for the tokenizer: demonstrations, and every number."""
        texts = [node.text for tree in self.demonstrations(0, 1000) for node in tree]
        return texts + [str(number) for number in range(LARGEST + 1)] * 100

    def _story(self, rng: np.random.Generator, *, held_out: bool) -> Story:
        while True:
            story = _draw_story(rng, self._config.min_operations, self._config.max_operations)
            if story.held_out == held_out:
                return story


def demonstrate(story: Story, rng: np.random.Generator) -> list[MarkedNode]:
    """Returns a chain of thoughts that solves `story`, perhaps wrongly, one equation a thought."""
    nodes = [MarkedNode(-1, 0, story.text, Meta.PROBLEM)]
    value, right = story.start, True
    for month, operation in zip(MONTHS, story.operations, strict=False):
        sign, operand = _read(operation, rng)
        result, slipped = _calculate(value, sign, operand), rng.random() < SLIP
        if slipped:
            result = max(0, result + int(rng.choice([-2, -1, 1, 2])))
        right = right and not slipped
        # The event is copied first, so that the equation need not also find it.
        step = f"{month}: {operation.event}, {value}{sign}{operand}={result}"
        _append(nodes, Meta.EXPANSION, step, right, rng)
        value = result
    _append(nodes, Meta.CONCLUSION, f"The answer is \\boxed{{{value}}}.", right, rng)
    return nodes


def _append(
    nodes: list[MarkedNode], meta: Meta, text: str, right: bool, rng: np.random.Generator
) -> None:
    rating = Rating.POSITIVE if right != (rng.random() < RATING_FLIPPED) else Rating.NEGATIVE
    rating = Rating.UNKNOWN if rng.random() < RATING_UNKNOWN else rating
    nodes.append(MarkedNode(len(nodes) - 1, len(nodes), text, meta, rating))


def _read(operation: Operation, rng: np.random.Generator) -> tuple[str, int]:
    """Returns sign and operand; "tripled" is often misread as doubling, "given away" as adding."""
    if operation.kind == "triple" and rng.random() < MISREAD:
        return "*", 2
    if operation.kind == "give" and rng.random() < MISREAD:
        return "+", operation.operand
    return operation.sign, operation.operand


def _draw_story(rng: np.random.Generator, least: int, most: int) -> Story:
    name, thing = str(rng.choice(NAMES)), str(rng.choice(THINGS))
    start = value = int(rng.integers(2, 13))
    operations: list[Operation] = []
    count = int(rng.integers(least, most + 1))
    while len(operations) < count:
        operation = _draw_operation(rng)
        if 0 <= operation.apply(value) <= LARGEST:
            operations.append(operation)
            value = operation.apply(value)
    return Story(name, thing, start, tuple(operations))


def _draw_operation(rng: np.random.Generator) -> Operation:
    number = int(rng.integers(2, 7))
    kind = str(rng.choice(list(FREQUENCIES), p=list(FREQUENCIES.values())))
    event, sign, operand = {
        "add": (f"{number} found", "+", number),
        "subtract": (f"{number} lost", "-", number),
        "double": ("all doubled", "*", 2),
        "triple": ("all tripled", "*", 3),
        "give": (f"{number} given away", "-", number),
    }[kind]
    return Operation(kind, event, sign, operand)


def _calculate(value: int, sign: str, operand: int) -> int:
    if sign == "*":
        return value * operand
    return value + operand if sign == "+" else value - operand


def _problem(story: Story) -> Problem:
    return Problem(
        hashlib.sha256(story.text.encode()).hexdigest()[:12], story.text, str(story.answer)
    )
