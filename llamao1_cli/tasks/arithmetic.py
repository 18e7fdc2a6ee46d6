"""Generated arithmetic word problems, and solutions with mistakes to warm up on."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from llamao1_cli.config import ArithmeticTask
from llamao1_cli.language.marked import MarkedNode, Meta, Rating
from llamao1_cli.tasks.problem import EQUALITY, Problem, RewardSource, of_a_pass

NAMES = ("Mia", "Tom", "Ada", "Ben", "Eva", "Leo", "Ivy", "Max")
THINGS = ("apples", "coins", "books", "shells", "stamps", "cards", "beads", "pens")

# How often each operation is drawn; those that the demonstrations misread are the less common.
FREQUENCIES = {"add": 0.3, "subtract": 0.25, "double": 0.2, "triple": 0.125, "give": 0.125}

RATING_FLIPPED, RATING_UNKNOWN = 0.1, 0.3  # how often a rating in the demonstrations is so

Length = Callable[[np.random.Generator], int]  # draws how many operations a story has


@dataclass(frozen=True)
class Wording:
    """How a problem writes its events down, each behind a tag of its own."""

    tags: tuple[str, ...]
    behind_tag: str
    phrases: Mapping[str, str]  # what happens, by the kind of operation
    end: str
    separator: str  # between the sentences of the problem
    before_equation: str  # between event and equation in a thought
    numbers: Mapping[int, str]  # what is found, lost or given away, and how an event spells it
    largest: int  # every value on the way is in 0..largest
    learned: bool  # whether the warm-up learns to write problems, too


WORDINGS = {
    "months": Wording(
        tags=(
            *("January", "February", "March", "April", "May", "June", "July"),
            *("August", "September", "October", "November", "December"),
        ),
        behind_tag=": ",
        phrases={
            "add": "{} found",
            "subtract": "{} lost",
            "double": "all doubled",
            "triple": "all tripled",
            "give": "{} given away",
        },
        end=".",
        separator=" ",
        before_equation=", ",
        numbers={number: str(number) for number in range(2, 7)},
        largest=60,
        learned=True,
    ),
    # Tag and event are one token each, the same wherever they stand, so that a thought finds its
    # event by one copy of one token. The events themselves are random: a model that learned to
    # write them would learn the copy more slowly.
    "letters": Wording(
        tags=tuple("ABCDEFGHIJKLMNOPQRST"),
        behind_tag=" ",
        phrases={
            "add": "found-{}",
            "subtract": "lost-{}",
            "double": "doubled",
            "triple": "tripled",
            "give": "gave-{}",
        },
        end="",
        separator="\n",
        before_equation=" -> ",
        # Few numbers, as facts to learn are the more the wider values range.
        numbers={2: "two", 3: "three", 5: "five"},
        largest=99,  # so that a wrong solution of a long problem is hardly ever right by chance
        learned=False,
    ),
}


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
    wording: Wording

    @property
    def events(self) -> list[str]:
        """Each event behind its tag, as the problem and a thought about it say it."""
        tagged = zip(self.wording.tags, self.operations, strict=False)
        return [f"{tag}{self.wording.behind_tag}{operation.event}" for tag, operation in tagged]

    @property
    def text(self) -> str:
        """The problem as asked."""
        begin = f"{self.name} has {self.start} {self.thing}."
        events = [event + self.wording.end for event in self.events]
        question = f"How many {self.thing} does {self.name} have?"
        return self.wording.separator.join([begin, *events, question])

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

    instruction = ""
    reward: RewardSource = EQUALITY

    def __init__(self, config: ArithmeticTask) -> None:
        self.name, self.levels = "arithmetic", config.levels
        self._config, self._wording = config, WORDINGS[config.events]
        self._sets: dict[int, list[Problem]] = {}

    def train_problems(
        self,
        seed: int,
        iteration: int,
        count: int,
        *,
        before: int | None = None,
        level: int | None = None,
    ) -> list[Problem]:
        """Returns `count` training problems of an iteration: new ones, or with `task.problems` from
        pass after pass over the set of the level, each in an order of its own."""
        level = level or self.levels
        if not self._config.problems:
            rng, length = np.random.default_rng([seed, 1, iteration]), self._length(level)
            return [_problem(self._story(rng, length)) for _ in range(count)]
        start = (iteration - 1) * count if before is None else before
        problems = self._train_set(level)
        return [of_a_pass(problems, [seed, 1], start + offset) for offset in range(count)]

    def test_problems(self, count: int) -> list[Problem]:
        """Returns the first `count` held-out problems, whatever the run's seed."""
        count = min(count, self._config.test_problems)
        return self._set(20, count, self.levels, held_out=True)

    def demonstrations(self, seed: int, count: int) -> list[list[MarkedNode]]:
        """Returns `count` solutions with misread operations, slips and unreliable ratings."""
        rng, config = np.random.default_rng([seed, 2]), self._config
        least = config.shortest_demonstration or config.min_operations
        length = _lengths(least, config.max_operations)
        return [demonstrate(self._story(rng, length), rng, config) for _ in range(count)]

    def corpus(self) -> list[str]:
        """Returns texts for the tokenizer: demonstrations, and every number."""
        texts = [node.text for tree in self.demonstrations(0, 1000) for node in tree]
        return texts + [str(number) for number in range(self._wording.largest + 1)] * 100

    def _train_set(self, level: int) -> list[Problem]:
        """Returns the training problems of a finite set, whatever the run's seed."""
        if level not in self._sets:
            self._sets[level] = self._set(21, self._config.problems, level, held_out=False)
        return self._sets[level]

    def _set(self, seed: int, count: int, level: int, *, held_out: bool) -> list[Problem]:
        """Returns `count` problems of a level that all differ."""
        rng, length = np.random.default_rng(seed), self._length(level)
        stories: dict[str, Story] = {}
        while len(stories) < count:
            story = self._story(rng, length, held_out=held_out)
            stories[story.text] = story
        return [_problem(story) for story in stories.values()]

    def _story(self, rng: np.random.Generator, length: Length, *, held_out: bool = False) -> Story:
        while True:
            story = _draw_story(rng, length, self._wording)
            if story.held_out == held_out:
                return story

    def _length(self, level: int) -> Length:
        """Returns what draws the lengths of a level's stories."""
        most = self._config.easiest + level - 1
        return _lengths(min(self._config.min_operations, most), most)


def _lengths(least: int, most: int) -> Length:
    """Returns what draws lengths, all equally often."""
    return lambda rng: int(rng.integers(least, most + 1))


def demonstrate(story: Story, rng: np.random.Generator, config: ArithmeticTask) -> list[MarkedNode]:
    """Returns a chain of thoughts that solves `story`, perhaps wrongly, one equation a thought.

    `config.misread` is the probability of a mistake in an operation that can be misread, `slip`
    that of one in any step's result.
    """
    nodes = [MarkedNode(-1, 0, story.text, Meta.PROBLEM, imitate=story.wording.learned)]
    value, right = story.start, True
    for event, operation in zip(story.events, story.operations, strict=True):
        sign, operand = _read(operation, rng, config.misread)
        result, slipped = _calculate(value, sign, operand), rng.random() < config.slip
        if slipped:
            result = max(0, result + int(rng.choice([-2, -1, 1, 2])))
        right = right and not slipped
        # The event is copied first, so that the equation need not also find it.
        step = f"{event}{story.wording.before_equation}{value}{sign}{operand}={result}"
        _append(nodes, Meta.EXPANSION, step, right, rng)
        value = result
    _append(nodes, Meta.CONCLUSION, config.answer_form.statement(str(value)), right, rng)
    return nodes


def _append(
    nodes: list[MarkedNode], meta: Meta, text: str, right: bool, rng: np.random.Generator
) -> None:
    rating = Rating.POSITIVE if right != (rng.random() < RATING_FLIPPED) else Rating.NEGATIVE
    rating = Rating.UNKNOWN if rng.random() < RATING_UNKNOWN else rating
    nodes.append(MarkedNode(len(nodes) - 1, len(nodes), text, meta, rating))


def _read(operation: Operation, rng: np.random.Generator, misread: float) -> tuple[str, int]:
    """Returns sign and operand; "tripled" can be misread as doubling, "given away" as adding."""
    if operation.kind == "triple" and rng.random() < misread:
        return "*", 2
    if operation.kind == "give" and rng.random() < misread:
        return "+", operation.operand
    return operation.sign, operation.operand


def _draw_story(rng: np.random.Generator, length: Length, wording: Wording) -> Story:
    name, thing = str(rng.choice(NAMES)), str(rng.choice(THINGS))
    start = value = int(rng.integers(2, 13))
    operations: list[Operation] = []
    count = length(rng)
    while len(operations) < count:
        operation = _draw_operation(rng, wording)
        if 0 <= operation.apply(value) <= wording.largest:
            operations.append(operation)
            value = operation.apply(value)
    return Story(name, thing, start, tuple(operations), wording)


def _draw_operation(rng: np.random.Generator, wording: Wording) -> Operation:
    number = [*wording.numbers][int(rng.integers(len(wording.numbers)))]
    kind = str(rng.choice(list(FREQUENCIES), p=list(FREQUENCIES.values())))
    sign, operand = {
        "add": ("+", number),
        "subtract": ("-", number),
        "double": ("*", 2),
        "triple": ("*", 3),
        "give": ("-", number),
    }[kind]
    event = wording.phrases[kind].format(wording.numbers[number])
    return Operation(kind, event, sign, operand)


def _calculate(value: int, sign: str, operand: int) -> int:
    if sign == "*":
        return value * operand
    return value + operand if sign == "+" else value - operand


def _problem(story: Story) -> Problem:
    return Problem(
        hashlib.sha256(story.text.encode()).hexdigest()[:12], story.text, str(story.answer)
    )
