"""A format reward: half of it for a right sum, half for steps that are all right equations.

It is a class, made with the `task.options` of the configuration.
"""

import random
import re

from llamao1_cli.tasks.problem import Problem, Solution

EQUATION = re.compile(r"(\d{1,6}) \+ (\d{1,6}) = (\d{1,6})")


class Task:
    """Sums of a few numbers, to be added one after another."""

    instruction = "Write one equation a line, such as 3 + 4 = 7."

    def __init__(self, numbers: int = 3, for_format: float = 0.5) -> None:
        if numbers < 2 or not 0 <= for_format <= 1:
            raise ValueError("numbers must be 2 or more, for_format in [0, 1]")
        self._numbers, self._for_format = numbers, for_format

    def train_problems(self, seed: int, iteration: int, count: int) -> list[dict[str, str]]:
        """Problems of an iteration, whose first number is even."""
        rng = random.Random(f"{seed} {iteration}")
        return [self._problem(rng, range(2, 40, 2)) for _ in range(count)]

    def test_problems(self, count: int) -> list[dict[str, str]]:
        """Held-out problems, whose first number is odd."""
        rng = random.Random("held out")
        return [self._problem(rng, range(1, 40, 2)) for _ in range(count)]

    def worked_solution(self, problem) -> str:
        """A solution for the warm-up: the running sum, an equation a line."""
        first, *others = map(int, re.findall(r"\d+", problem.text.split("?")[0]))
        lines = []
        for number in others:
            lines.append(f"{first} + {number} = {first + number}")
            first += number
        return "\n".join([*lines, f"The answer is \\boxed{{{first}}}."])

    def reward(self, problem: Problem, solution: Solution) -> float:
        """What the answer earns, and what the steps do; the last line states the answer."""
        right = solution.answer.strip() == problem.answer
        steps = solution.text.split("\n")[:-1]
        equations = [EQUATION.fullmatch(step.strip()) for step in steps]
        formed = bool(equations) and all(
            each and int(each[1]) + int(each[2]) == int(each[3]) for each in equations
        )
        return (1 - self._for_format) * right + self._for_format * formed

    def _problem(self, rng: random.Random, firsts: range) -> dict[str, str]:
        numbers = [rng.choice(firsts), *(rng.randrange(1, 20) for _ in range(self._numbers - 1))]
        return {"text": f"What is {' + '.join(map(str, numbers))}?", "answer": str(sum(numbers))}
