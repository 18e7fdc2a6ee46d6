"""A task from a Python file: it makes problems here, and its reward runs in worker processes."""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from llamao1_cli.config import PythonTask
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked import MarkedNode
from llamao1_cli.seeds import derive_seed
from llamao1_cli.tasks.problem import Problem, RewardFile, RewardSource, instructed, written_alike
from llamao1_cli.tasks.reward_worker import explain, made_task, run_file
from llamao1_cli.tasks.solutions import demonstrate

# What a file must have, and what its functions are called with.
FUNCTIONS = {
    "train_problems": ("seed", "iteration", "count"),
    "test_problems": ("count",),
    "reward": ("problem", "solution"),
}
WORKED = "worked_solution"  # what it may have, called with a problem
KEYS = {"id", "text", "answer"}  # of a problem that is given as a dictionary
TRIED, KEPT_APART, IN_CORPUS = 2, 100, 500  # problems


class TaskFile:
    """The problems and the reward of a Python file. What is wrong with it is a UserError of one
    line, found where it is made as far as a few problems tell."""

    levels = 1

    def __init__(self, config: PythonTask) -> None:
        self.name, self._path, self._answers = config.path, config.path, config.answer_form
        self._task = _loaded(config)
        self._check_functions()
        self.instruction = getattr(self._task, "instruction", "")
        if not isinstance(self.instruction, str):
            raise UserError(f"{self._path}: instruction is no text: {self.instruction!r:.60}")
        self.reward: RewardSource = RewardFile(config.path, dict(config.options))
        self._check_problems()
        self._check_apart()

    def train_problems(
        self,
        seed: int,
        iteration: int,
        count: int,
        *,
        before: int | None = None,
        level: int | None = None,
    ) -> list[Problem]:
        """Returns the first `count` training problems that the file has for an iteration."""
        made = self._call("train_problems", seed, iteration, count)
        problems = self._problems("train_problems", made, f"train {seed}/{iteration}")
        if len(problems) != count:
            raise UserError(
                f"{self._path}: train_problems made {len(problems)} problems of the {count} asked "
                "for; make them all, the same ones more than once if there are no others"
            )
        return problems

    def test_problems(self, count: int) -> list[Problem]:
        """Returns the first `count` held-out problems that the file has, or all if they are
        fewer."""
        problems = self._problems("test_problems", self._call("test_problems", count), "test")
        if not 0 < len(problems) <= count:
            raise UserError(
                f"{self._path}: test_problems made {len(problems)} problems where up to {count} "
                "were asked for; make one at least, and no more"
            )
        return problems

    def demonstrations(self, seed: int, count: int) -> list[list[MarkedNode]]:
        """Returns `count` worked solutions of training problems as marked chains.

        Raises UserError unless the file works solutions out, or for one that states no answer.
        """
        if not hasattr(self._task, WORKED):
            raise UserError(
                f"warmup.data is missing: give marked texts, or write {WORKED}(problem) in "
                f"{self._path}"
            )
        problems = self.train_problems(derive_seed(seed, "demonstrations"), 1, count)
        rng = np.random.default_rng([seed, 4])
        return [self._demonstration(problem, rng) for problem in problems]

    def corpus(self) -> list[str]:
        """Returns texts for a tokenizer: training problems, and their worked solutions."""
        problems = self.train_problems(0, 1, IN_CORPUS)
        worked = problems if hasattr(self._task, WORKED) else []
        return [each.text for each in problems] + [self._worked(each) for each in worked]

    def _demonstration(self, problem: Problem, rng: np.random.Generator) -> list[MarkedNode]:
        worked = self._worked(problem)
        stated = self._answers.stated(worked)
        if stated is None:
            raise UserError(
                f"{self._path}: {WORKED} states no answer to problem {problem.id}: {worked!r:.60}; "
                f"end it with `{self._answers.statement('…')}`"
            )
        return demonstrate(replace(problem, answer=stated), worked, rng, self._answers)

    def _worked(self, problem: Problem) -> str:
        worked = self._call(WORKED, problem)
        if not isinstance(worked, str):
            raise UserError(f"{self._path}: {WORKED} returned no text: {worked!r:.60}")
        return worked

    def _call(self, name: str, *arguments: Any) -> Any:
        """Returns what a function of the file does; what it raises is told in one line."""
        try:
            return getattr(self._task, name)(*arguments)
        except Exception as error:
            said, where, _ = explain(error, self._path)
            raise UserError(f"{self._path}: {name} failed in {where}: {said}") from error

    def _problems(self, name: str, made: Any, prefix: str) -> list[Problem]:
        if isinstance(made, str | dict) or not isinstance(made, Sequence):
            raise UserError(f"{self._path}: {name} returned no list of problems: {made!r:.60}")
        return [
            self._problem(name, each, f"{prefix}/{number}") for number, each in enumerate(made, 1)
        ]

    def _problem(self, name: str, made: Any, name_by_default: str) -> Problem:
        """Returns a problem, from one of ours or from a dictionary, with the instruction."""
        parts = vars(made) if isinstance(made, Problem) else made
        if not isinstance(parts, dict) or set(parts) - KEYS or "text" not in parts:
            raise UserError(
                f"{self._path}: {name} made {made!r:.60}; make dictionaries of text, answer and "
                "perhaps id"
            )
        parts = {"id": name_by_default, "answer": ""} | parts
        if wrong := [key for key in sorted(parts) if not isinstance(parts[key], str)]:
            raise UserError(
                f"{self._path}: {name}: {wrong[0]} of a problem is no text: "
                f"{parts[wrong[0]]!r:.60}; write it as text, or as JSON text"
            )
        if not parts["text"].strip():
            raise UserError(f"{self._path}: {name}: the text of problem {parts['id']} is empty")
        return replace(Problem(**parts), text=instructed(parts["text"], self.instruction))

    def _check_functions(self) -> None:
        needed = dict(FUNCTIONS)
        if hasattr(self._task, WORKED):
            needed[WORKED] = ("problem",)
        for name, arguments in needed.items():
            shown = f"{name}({', '.join(arguments)})"
            function = getattr(self._task, name, None)
            if not callable(function):
                raise UserError(f"{self._path}: it has no function {shown}; write it")
            try:
                inspect.signature(function).bind(*arguments)
            except TypeError as error:
                raise UserError(f"{self._path}: it is called as {shown}: {error}") from None

    def _check_problems(self) -> None:
        """Raise UserError unless the first problems are the same each time, and where more are
        asked for: a resumed run must meet what it would have met."""
        train = [self.train_problems(0, 1, count) for count in (TRIED, TRIED, TRIED - 1)]
        test = [self.test_problems(count) for count in (TRIED, TRIED, TRIED - 1)]
        for name, (first, again, fewer) in (("train_problems", train), ("test_problems", test)):
            if first != again or first[: len(fewer)] != fewer:
                raise UserError(
                    f"{self._path}: {name} makes other problems each time; draw them with "
                    "random.Random(f'{seed} {iteration}'), one after another"
                )

    def _check_apart(self) -> None:
        """Raise UserError for a training problem that is held out, as the first ones tell."""
        held_out = {written_alike(problem.text) for problem in self.test_problems(KEPT_APART)}
        for problem in self.train_problems(0, 1, KEPT_APART):
            if written_alike(problem.text) in held_out:
                raise UserError(
                    f"{self._path}: a training problem is held out, too: {problem.text!r:.60}; "
                    "keep those of train_problems and test_problems apart"
                )


def _check_options(made: Any, path: str, options: dict[str, Any]) -> None:
    """Raise UserError for options that the file's class `Task`, if any, is not made with."""
    if made is None and options:
        raise UserError(f"task.options: {path} has no class Task that takes them; leave them out")
    if made is not None:
        try:
            inspect.signature(made).bind(**options)
        except TypeError as error:
            known = ", ".join(inspect.signature(made).parameters) or "none"
            raise UserError(f"task.options: {path}: {error}; it takes {known}") from None


def _loaded(config: PythonTask) -> Any:
    """Returns what has the functions of the file."""
    path, options = config.path, dict(config.options)
    if not Path(path).is_file():
        raise UserError(f"task.path: {path}: no such file; write it, or correct the path")
    try:
        module = run_file(path)
        _check_options(getattr(module, "Task", None), path, options)
        return made_task(module, options)
    except UserError:
        raise
    except Exception as error:
        said, where, _ = explain(error, path)
        raise UserError(f"{path}: it cannot be loaded: {where}: {said}") from error
