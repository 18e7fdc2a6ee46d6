"""A puzzle with many right answers: two numbers with a given sum, the smaller one first.

A right sum in the wrong order earns half.
"""

import random
import re

from llamao1_cli.tasks.problem import Problem, Solution


def _problem(total: int) -> dict[str, str]:
    text = f"Find two different whole numbers above 0 with the sum {total}, the smaller one first."
    return {"text": text, "answer": str(total)}


def train_problems(seed: int, iteration: int, count: int) -> list[dict[str, str]]:
    """Problems of an iteration: the same for the same seed and iteration."""
    rng = random.Random(f"{seed} {iteration}")
    totals = [total for total in range(3, 60) if total % 5]
    return [_problem(rng.choice(totals)) for _ in range(count)]


def test_problems(count: int) -> list[dict[str, str]]:
    """Held-out problems, which no training problem is: the sums that end in 0 or 5."""
    return [_problem(total) for total in range(5, 60, 5)][:count]


def worked_solution(problem: Problem) -> str:
    """A solution for the warm-up. Any right one will do."""
    total = int(problem.answer)
    first = (total - 1) // 2
    return (
        f"{first} + {total - first} = {total}\nThe answer is \\boxed{{{first}, {total - first}}}."
    )


def reward(problem: Problem, solution: Solution) -> float:
    """1 for two numbers with the right sum, the smaller one first; half for the sum alone."""
    numbers = re.fullmatch(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*", solution.answer)
    if not numbers:
        return 0.0
    first, second = int(numbers[1]), int(numbers[2])
    if first + second != int(problem.answer) or not first or not second:
        return 0.0
    return 1.0 if first < second else 0.5
