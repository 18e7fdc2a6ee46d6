"""The preview of a run's data, put together."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from llamao1_cli.config import Config
from llamao1_cli.evaluate.playable import prompt_room
from llamao1_cli.language.marked import MarkedNode
from llamao1_cli.language.protocol import Language
from llamao1_cli.learn.warmup import marked_trees
from llamao1_cli.preview.demonstrations import DemonstrationFacts, demonstration_facts
from llamao1_cli.preview.problems import ProblemFacts, problem_facts
from llamao1_cli.preview.tokens import TokenizerFacts, tokenizer_facts
from llamao1_cli.tasks.dataset import DataSet
from llamao1_cli.tasks.equality.groups import Equal
from llamao1_cli.tasks.problem import EQUALITY, Problem, Task

LOOKED_AT = 2000  # demonstrations at most
SPELLED = 500  # problems, and demonstrations, that the tokenizer is tried on


@dataclass(frozen=True)
class Preview:
    """What a run will see of its data. `demonstrations` is None where there is no warm-up."""

    task: str
    generated: bool  # problems are made on the spot: those of an iteration are looked at
    train: ProblemFacts
    test: ProblemFacts
    overlap: int  # training rows that are held out, too
    demonstrations: DemonstrationFacts | None
    tokenizer: TokenizerFacts


def preview(
    config: Config, task: Task, language: Language, equal: Equal, *, warming: bool
) -> Preview:
    """Returns what a run will see of its data; of its demonstrations only if it is `warming` up.

    Raises UserError for demonstrations that cannot be read.
    """
    train, test, held_out = _problems(config, task)
    compared = equal if task.reward == EQUALITY else None
    room = prompt_room(language, config.search, config.model.max_length)
    trees = _demonstrations(config, task) if warming else []
    dropped = {"held out": held_out} if held_out else {}
    return Preview(
        task=task.name,
        generated=not isinstance(task, DataSet),
        train=problem_facts(train, dropped, language, room, compared),
        test=problem_facts(test, {}, language, room, compared),
        overlap=held_out,
        demonstrations=demonstration_facts(trees, language, config.search, config.model.max_length)
        if warming and config.warmup
        else None,
        tokenizer=tokenizer_facts(language, _texts(train, trees)),
    )


def _problems(config: Config, task: Task) -> tuple[Sequence[Problem], Sequence[Problem], int]:
    """Returns the training problems, those that are held out, and how many rows are both."""
    if isinstance(task, DataSet):
        return *task.problems, task.left_out
    train = task.train_problems(config.run.seed, 1, config.learn.problems)
    return train, task.test_problems(config.eval.problems), 0


def _demonstrations(config: Config, task: Task) -> list[list[MarkedNode]]:
    """Returns the first demonstrations of the warm-up."""
    if config.warmup is None:
        return []
    count = min(config.warmup.examples, LOOKED_AT)
    return [*islice(marked_trees(config.warmup, task, config.run.seed, count), LOOKED_AT)]


def _texts(problems: Sequence[Problem], trees: Sequence[list[MarkedNode]]) -> list[str]:
    """Returns some of what the tokenizer has to spell: problems, answers, thoughts."""
    few = problems[:SPELLED]
    thoughts = [node.text for tree in trees[:SPELLED] for node in tree[1:]]
    return [problem.text for problem in few] + [problem.answer for problem in few] + thoughts
