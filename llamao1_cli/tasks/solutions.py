r"""Worked solutions as marked demonstrations: a thought a step, then the answer in a box.

Right solutions alone would not teach ratings, so a share of the demonstrations contains a mistake:
the result of one step is replaced by a wrong number, and the chain ends there, because nobody has
worked out the next steps from that number. The step is rated negative and is not imitated. If the
replaced result was the answer, a conclusion states it, also rated negative and not imitated, so
that some conclusions are wrong too.
"""

import re

import numpy as np

from llamao1_cli.language.answers import canonical_answer, stated_answer
from llamao1_cli.language.marked import MarkedNode, Meta, Rating
from llamao1_cli.tasks.problem import Problem

MISTAKEN = 0.25  # share of the demonstrations that end with a mistake

_ANNOTATION = re.compile(r"<<[^<>]*>>")  # a calculator's: 48/2 = <<48/2=24>>24
# The number behind an equals sign, with at most a currency and a sign between them.
_RESULT = re.compile(r"=\s*+[^\w\s=]{0,2}(?P<number>\d+(?:,\d{3})*(?:\.\d+)?)(?!\w)")


def demonstrate(problem: Problem, solution: str, rng: np.random.Generator) -> list[MarkedNode]:
    """Returns a chain of thoughts that solves `problem` as its worked `solution` does, or that ends
    with a mistake."""
    steps = solution_steps(solution)
    found = [list(_RESULT.finditer(step)) for step in steps]
    results = {index: matches[-1] for index, matches in enumerate(found) if matches}
    if not results or rng.random() >= MISTAKEN:
        return _chain(problem, steps, problem.answer, mistake=None)
    mistake = int(rng.choice(list(results)))
    begin, end = results[mistake].span("number")
    number, step = steps[mistake][begin:end], steps[mistake]
    wrong = _another_number(number, rng)
    written = [*steps[:mistake], step[:begin] + wrong + step[end:]]
    last = mistake == len(steps) - 1
    states_it = last and canonical_answer(number) == canonical_answer(problem.answer)
    return _chain(problem, written, wrong if states_it else None, mistake)


def solution_steps(solution: str) -> list[str]:
    """Returns the lines of a worked solution before the first that states its final answer, without
    calculator annotations."""
    steps: list[str] = []
    for line in _ANNOTATION.sub("", solution).splitlines():
        if stated_answer(line) is not None:
            break
        if line.strip():
            steps.append(line.strip())
    return steps


def _another_number(number: str, rng: np.random.Generator) -> str:
    """Returns the number with one digit changed; never to 0, so that it keeps its length."""
    positions = [position for position, letter in enumerate(number) if letter.isdigit()]
    position = int(rng.choice(positions))
    digits = [digit for digit in "123456789" if digit != number[position]]
    return number[:position] + str(rng.choice(digits)) + number[position + 1 :]


def _chain(
    problem: Problem, steps: list[str], answer: str | None, mistake: int | None
) -> list[MarkedNode]:
    """Returns the problem, the steps, and a conclusion unless `answer` is None; the thoughts from
    index `mistake` on are wrong."""
    thoughts = [(Meta.EXPANSION, step) for step in steps]
    if answer is not None:
        thoughts.append((Meta.CONCLUSION, f"The answer is \\boxed{{{answer}}}."))
    nodes = [MarkedNode(-1, 0, problem.text, Meta.PROBLEM)]
    for index, (meta, text) in enumerate(thoughts):
        right = mistake is None or index < mistake
        rating = Rating.POSITIVE if right else Rating.NEGATIVE
        nodes.append(MarkedNode(index, index + 1, text, meta, rating, imitate=right))
    return nodes
