"""The reward of reasoning-gym's data sets; worker processes load this file."""

from typing import Any

from llamao1_cli.tasks.gym.entries import Entries
from llamao1_cli.tasks.problem import Problem, Solution


class Task:
    """Scores an answer as the data set does that its problem is from."""

    def __init__(self, **options: Any) -> None:
        self._entries = Entries(**options)

    def reward(self, problem: Problem, solution: Solution) -> float:
        """Returns the data set's score for the stated answer."""
        return self._entries.score(problem.id, solution.answer)
