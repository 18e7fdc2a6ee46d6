"""Worked solutions of sums and products in a row, with mistakes as people make them.

Each thought takes the next number in, and copies what is left, so that the thought behind it need
look no further. Who works them out mostly reads a minus as a plus where it is not the first sign,
and does not notice; what is merely a slip is rated as wrong.
"""

import re
from operator import add, mul, sub

import numpy as np

from llamao1_cli.language.answer_forms import AnswerForm
from llamao1_cli.language.marked import MarkedNode, Meta, Rating
from llamao1_cli.tasks.arithmetic import RATING_FLIPPED, RATING_UNKNOWN
from llamao1_cli.tasks.problem import Problem

WORKED = ("chain_sum", "products")  # the data sets that have solutions here

MISREAD = 0.7  # how often a minus behind another sign is read as a plus
SLIP = 0.1  # how often a step's result is wrong by one or two

_TERM = r"-?\d{1,12}"
_CHAIN = re.compile(rf": (?P<first>{_TERM})(?P<rest>(?: [+*-] {_TERM})*)(?: =|\. )")
_STEP = re.compile(rf" ([+*-]) ({_TERM})")
_CALCULATE = {"+": add, "-": sub, "*": mul}


def demonstrate(
    problem: Problem, answers: AnswerForm, rng: np.random.Generator
) -> list[MarkedNode]:
    """Returns a chain of thoughts that works out a problem of one of the data sets, perhaps
    wrongly."""
    chain = _CHAIN.search(problem.text)
    assert chain is not None, f"{problem.id} is no chain of numbers: {problem.text}"
    # The numbers of a problem are random: to learn to write them would only slow the rest down.
    nodes = [MarkedNode(-1, 0, problem.text, Meta.PROBLEM, imitate=False)]
    value, right = int(chain["first"]), True
    for step in _STEP.finditer(chain["rest"]):
        sign, operand, left = step[1], int(step[2]), chain["rest"][step.end() :]
        if sign == "-" and step.start() > 0 and rng.random() < MISREAD:
            sign = "+"
        result = _CALCULATE[sign](value, operand)
        if rng.random() < SLIP:
            result, right = result + int(rng.choice([-2, -1, 1, 2])), False
        text = f"{value} {sign} {operand} = {result}" + f", then{left}" * bool(left)
        _append(nodes, Meta.EXPANSION, text, right, rng)
        value = result
    _append(nodes, Meta.CONCLUSION, answers.statement(str(value)), right, rng)
    return nodes


def _append(
    nodes: list[MarkedNode], meta: Meta, text: str, right: bool, rng: np.random.Generator
) -> None:
    rating = Rating.POSITIVE if right != (rng.random() < RATING_FLIPPED) else Rating.NEGATIVE
    rating = Rating.UNKNOWN if rng.random() < RATING_UNKNOWN else rating
    nodes.append(MarkedNode(len(nodes) - 1, len(nodes), text, meta, rating))
