"""The task of reasoning-gym's data sets."""

import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from llamao1_cli.config import ReasoningGymTask
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked import MarkedNode
from llamao1_cli.seeds import derive_seed
from llamao1_cli.tasks.gym.demonstrations import WORKED, demonstrate
from llamao1_cli.tasks.gym.process import Library
from llamao1_cli.tasks.problem import Problem, RewardFile, RewardSource, written_alike

NO_ANSWER = "(any that its data set accepts)"

# An entry is what its data set draws from its seed plus its index. Below FIRST these numbers are of
# held-out problems alone, from there on of training problems: in both, an order without end.
FIRST = 1_000_000
COUNT = 2**32 - 2 * FIRST
_BLOCK = 1000  # entries of one seed
_TRIES = 50  # numbers tried for one training problem that is not held out
_AT_ONCE = 50  # entries made at once


class ReasoningGym:
    """Problems that reasoning-gym makes in a process of its own, scored by its data sets.

    Raises UserError for data sets, options or levels that do not exist, and without the extra.
    """

    def __init__(self, config: ReasoningGymTask) -> None:
        self._sets = {each.name: each for each in config.dataset}
        self.name = f"reasoning_gym {', '.join(self._sets)}"
        self.levels, self.instruction = config.levels, config.asked
        self._config = config
        arguments = {
            "data_sets": {name: config.config | each.config for name, each in self._sets.items()},
            "levels": config.levels,
        }
        self.reward: RewardSource = RewardFile(
            str(Path(__file__).with_name("reward.py")), arguments
        )
        self._library = Library(arguments)
        self._test: list[Problem] | None = None

    def train_problems(
        self,
        seed: int,
        iteration: int,
        count: int,
        *,
        before: int | None = None,
        level: int | None = None,
    ) -> list[Problem]:
        """Returns `count` training problems of an iteration, which follow those of the iterations
        before. Raises UserError if hardly any is not held out."""
        start = (iteration - 1) * count if before is None else before
        return self._training(derive_seed(seed, "reasoning_gym") + start, count, level)

    def test_problems(self, count: int) -> list[Problem]:
        """Returns the first `count` held-out problems, whatever the run's seed: fewer where the
        data sets have few that differ, of which most are left to train on."""
        if self._test is None:
            self._test = self._held_out()
        return self._test[:count]

    def demonstrations(self, seed: int, count: int) -> list[list[MarkedNode]]:
        """Returns `count` worked solutions with mistakes and unreliable ratings.

        Raises UserError for data sets that have none.
        """
        if unworked := sorted(self._sets.keys() - set(WORKED)):
            raise UserError(
                f"warmup.data is missing: {', '.join(unworked)} has no worked solutions; give "
                f"marked texts, or leave `warmup` out ({', '.join(WORKED)} have some)"
            )
        rng, answers = np.random.default_rng([seed, 2]), self._config.answer_form
        problems = self._training(derive_seed(seed, "demonstrations"), count, None)
        return [demonstrate(problem, answers, rng) for problem in problems]

    def corpus(self) -> list[str]:
        """Returns texts for the tokenizer: demonstrations or training problems, and numbers."""
        if self._sets.keys() <= set(WORKED):
            texts = [node.text for tree in self.demonstrations(0, 1000) for node in tree]
        else:
            made = self.train_problems(0, 1, 200)
            texts = [text for each in made for text in (each.text, each.answer)]
        largest = max((int(n) for text in texts for n in re.findall(r"\d{1,3}", text)), default=0)
        return texts + [str(number) for number in range(largest + 1)] * 20

    def _training(self, start: int, count: int, level: int | None) -> list[Problem]:
        """Returns training problems from a number on; in the place of one that is held out, a
        number far behind it gives another one."""
        self.test_problems(0)
        held_out = {written_alike(problem.text) for problem in self._test or []}
        problems: list[Problem | None] = [None] * count
        for tries in range(_TRIES):
            open_ = [index for index, problem in enumerate(problems) if problem is None]
            ahead = start + tries * (COUNT // _TRIES)
            numbers = [FIRST + (ahead + index) % COUNT for index in open_]
            for index, problem in zip(open_, self._make(numbers, level), strict=True):
                if written_alike(problem.text) not in held_out:
                    problems[index] = problem
        found = [problem for problem in problems if problem is not None]
        if len(found) < count:
            raise UserError(
                f"task.dataset: nearly every problem of {', '.join(self._sets)} is held out; lower "
                f"task.test_problems ({self._config.test_problems}), or give task.config more "
                "variety"
            )
        return found

    def _held_out(self) -> list[Problem]:
        """Returns problems that all differ, until a quarter of what comes has come before."""
        found: dict[str, Problem] = {}
        seen = 0
        for start in range(0, FIRST, _AT_ONCE):
            for problem in self._make(range(start, start + _AT_ONCE), None):
                found.setdefault(written_alike(problem.text), problem)
                seen += 1
                repeated = seen - len(found) > max(seen / 4, 2)
                if len(found) == self._config.test_problems or repeated:
                    return [*found.values()]
        return [*found.values()]

    def _make(self, numbers: Sequence[int], level: int | None) -> list[Problem]:
        ids = [self._id(number, level or self.levels) for number in numbers]
        asked = f"\n{self.instruction}" if self.instruction else ""
        return [
            Problem(entry_id, question.strip() + asked, answer or NO_ANSWER)
            for entry_id, (question, answer) in zip(ids, self._library.problems(ids), strict=True)
        ]

    def _id(self, number: int, level: int) -> str:
        """Returns the id of an entry: data set, level, seed and index."""
        weights = [each.weight for each in self._sets.values()]
        name = random.Random(number).choices([*self._sets], weights)[0]
        index = number % _BLOCK
        return f"{name}:{level}:{number - index}:{index}"
