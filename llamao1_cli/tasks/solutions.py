r"""Worked solutions as marked demonstrations: a thought a step, then the answer in a box.

Solutions that are right teach no rating, so a share of the demonstrations slips: the result of one
step is another number, and the chain is over. The step is rated negative and is not imitated. Where
the slipped result was the answer, a conclusion states it, rated and left alone in the same way: of
conclusions too some are wrong. A chain goes no further, because nobody has worked out what the next
steps would make of the wrong number.
"""

import re

import numpy as np

from llamao1_cli.language.answers import canonical_answer, stated_answer
from llamao1_cli.language.marked import MarkedNode, Meta, Rating
from llamao1_cli.tasks.problem import Problem

SLIPPED = 0.25  # share of the demonstrations that end with a slip

_ANNOTATION = re.compile(r"<<[^<>]*>>")  # a calculator's: 48/2 = <<48/2=24>>24
# The number behind an equals sign, with at most a currency and a sign between them.
_RESULT = re.compile(r"=\s*+[^\w\s=]{0,2}(?P<number>\d+(?:,\d{3})*(?:\.\d+)?)(?!\w)")


def demonstrate(problem: Problem, solution: str, rng: np.random.Generator) -> list[MarkedNode]:
    """A chain of thoughts that solves `problem` as its worked `solution` does, or slips."""
    steps = solution_steps(solution)
    found = [list(_RESULT.finditer(step)) for step in steps]
    results = {place: matches[-1] for place, matches in enumerate(found) if matches}
    if not results or rng.random() >= SLIPPED:
        return _chain(problem, steps, problem.answer, slip=None)
    slip = int(rng.choice(list(results)))
    begin, end = results[slip].span("number")
    number, step = steps[slip][begin:end], steps[slip]
    wrong = _another_number(number, rng)
    told = [*steps[:slip], step[:begin] + wrong + step[end:]]
    last = slip == len(steps) - 1
    states_it = last and canonical_answer(number) == canonical_answer(problem.answer)
    return _chain(problem, told, wrong if states_it else None, slip)


def solution_steps(solution: str) -> list[str]:
    """The lines of a worked solution before the first that states its final answer, without
    calculator annotations."""
    steps: list[str] = []
    for line in _ANNOTATION.sub("", solution).splitlines():
        if stated_answer(line) is not None:
            break
        if line.strip():
            steps.append(line.strip())
    return steps


def _another_number(number: str, rng: np.random.Generator) -> str:
    """The number with one digit changed; never to 0, so that it keeps its length."""
    places = [place for place, letter in enumerate(number) if letter.isdigit()]
    place = int(rng.choice(places))
    digits = [digit for digit in "123456789" if digit != number[place]]
    return number[:place] + str(rng.choice(digits)) + number[place + 1 :]


def _chain(
    problem: Problem, steps: list[str], answer: str | None, slip: int | None
) -> list[MarkedNode]:
    """The steps below the problem, and a conclusion unless `answer` is None; wrong from the step
    at index `slip` on."""
    thoughts = [(Meta.EXPANSION, step) for step in steps]
    if answer is not None:
        thoughts.append((Meta.CONCLUSION, f"The answer is \\boxed{{{answer}}}."))
    nodes = [MarkedNode(-1, 0, problem.text, Meta.PROBLEM)]
    for place, (meta, text) in enumerate(thoughts):
        right = slip is None or place < slip
        rating = Rating.POSITIVE if right else Rating.NEGATIVE
        nodes.append(MarkedNode(place, place + 1, text, meta, rating, imitate=right))
    return nodes
