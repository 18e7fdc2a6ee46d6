"""Multiple choice: the answer is the letter of an option, and nothing but the letter counts.

The configuration has `answers: letter`, so that "(B)", "B" and "Answer: B" are read alike.
"""

import random

from llamao1_cli.tasks.problem import Problem, Solution

LETTERS = "ABCD"


def _problem(rng: random.Random, numbers: range) -> dict[str, str]:
    first, second = rng.choice(numbers), rng.randrange(2, 10)
    right = first + second
    options = rng.sample([right, right + 1, right - 1, right + 10], 4)
    lines = [f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=True)]
    text = "\n".join([f"What is {first} + {second}?", *lines])
    return {"text": text, "answer": LETTERS[options.index(right)]}


def train_problems(seed: int, iteration: int, count: int) -> list[dict[str, str]]:
    """Problems of an iteration: the same for the same seed and iteration."""
    rng = random.Random(f"{seed} {iteration}")
    return [_problem(rng, range(10, 50)) for _ in range(count)]


def test_problems(count: int) -> list[dict[str, str]]:
    """Held-out problems, about larger numbers."""
    rng = random.Random("held out")
    return [_problem(rng, range(50, 90)) for _ in range(count)]


def worked_solution(problem: Problem) -> str:
    """A solution for the warm-up: the calculation, then the letter."""
    question, *options = problem.text.split("\n")
    first, _, second = question.removeprefix("What is ").removesuffix("?").split(" ")
    shown = options[LETTERS.index(problem.answer)]
    return f"{first} + {second} = {int(first) + int(second)}, that is {shown}\n({problem.answer})"


def reward(problem: Problem, solution: Solution) -> float:
    """1 for the right letter."""
    return float(solution.answer.strip("() .").upper() == problem.answer)
