"""Keeps reasoning-gym from evaluating answers as Python.

A few data sets read an answer with `eval`, or with SymPy's parser, which calls it.
"""

import ast
import re
from importlib import import_module

_READ_WITH_EVAL = ("binary_matrix", "n_queens", "spiral_matrix", "string_insertion")
_READ_BY_SYMPY = {
    *("countdown", "intermediate_integration", "polynomial_multiplication", "puzzle24"),
    "simple_integration",
}
# Numbers, variables of one letter, and functions of mathematics. A dot stands at a number only, so
# that nothing reaches into an object; no longer word is a function that Python has.
_FORMULA = re.compile(
    r"(?:[\s0-9+*/(),^-]|(?<=[0-9])\.|\.(?=[0-9])"
    r"|(?<![A-Za-z])(?:(?:a|arc)?(?:sin|cos|tan|sec|csc|cot)h?|exp|log|ln|sqrt|pi|Abs|[A-Za-z])"
    r"(?![A-Za-z0-9]))*+"
)
_LONGEST = 2000  # characters of a formula; what SymPy reads, it may read for long


def read_literals_only() -> None:
    """Have the data sets that evaluate an answer read literals instead: numbers, texts, lists."""
    for name in _READ_WITH_EVAL:
        package = "games" if name == "n_queens" else "algorithmic"
        module = import_module(f"reasoning_gym.{package}.{name}")
        module.eval = ast.literal_eval  # type: ignore[attr-defined]


def may_be_scored(name: str, answer: str) -> bool:
    """Returns whether a data set can score an answer without evaluating more than a formula."""
    if name not in _READ_BY_SYMPY:
        return True
    return len(answer) <= _LONGEST and _FORMULA.fullmatch(answer) is not None
