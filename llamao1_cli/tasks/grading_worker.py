"""The process in which math-verify compares answers: run as a script, and killed at any time.

It answers each line `["predicted", "reference"]` on its standard input with a line `true` or
`false`, after a first line `ready`. It imports nothing of ours, so it starts fast.
"""

import json
import logging
import os
import re
import resource
import signal
import sys
from importlib import import_module
from typing import Any, NoReturn

MEMORY_BYTES = 2 << 30


# How far a decimal may be from the number it stands for: one of a fraction is written with as many
# digits as anybody likes, one of an irrational number with six.
_ROUNDED_FRACTION, _ROUNDED_IRRATIONAL = "1e-9", "5e-7"
_NO_DIFFERENCE = "1e-50"  # of two exact irrational numbers: evalf works with 100 digits

_NUMERAL = re.compile(r"[0-9]*\.?[0-9]+|[0-9]+\.")


def _refuse(*_: Any) -> NoReturn:
    raise ValueError("answers are never evaluated as Python")


def _forbid_evaluation() -> None:
    """Take eval() out of SymPy, which reads every string with it, down to the numerals."""
    import sympy  # type: ignore[import-untyped]
    from sympy.parsing import sympy_parser  # type: ignore[import-untyped]

    # simplify() loads this module, which on loading has SymPy read names.
    import_module("sympy.physics.units")

    def numeral(text: str, *_: Any, **__: Any) -> Any:
        if not _NUMERAL.fullmatch(text):
            _refuse()
        return sympy.Rational(text)

    sympy_parser.parse_expr = numeral
    sympy_parser.eval_expr = _refuse  # for modules that imported the original parse_expr


def _compare_relatively() -> None:
    """Replace math-verify's comparison of numbers, which takes all below 10^-6 for zero."""
    from math_verify import grader

    library_equal = grader.sympy_numeric_eq

    def equal(a: Any, b: Any, *precision: int) -> bool:
        percent = any(grader.get_pct_val(each) is not None for each in (a, b))
        if percent or any(each.is_Matrix for each in (a, b)):
            return bool(library_equal(a, b, *precision))
        return _equal_numbers(grader.safe_sympy_doit(a), grader.safe_sympy_doit(b))

    grader.sympy_numeric_eq = equal


def _equal_numbers(a: Any, b: Any) -> bool:
    """Returns whether two numbers are equal, in relation to their size; False for other terms,
    which are left to symbolic comparison."""
    import sympy

    if a.free_symbols or b.free_symbols:
        return False
    decimal = _is_decimal(a) or _is_decimal(b)
    if a.is_Rational and b.is_Rational:
        limit = sympy.Rational(_ROUNDED_FRACTION) if decimal else 0
        return bool(abs(a - b) <= limit * max(abs(a), abs(b)))
    difference, sizes = abs(a - b).evalf(), [abs(each).evalf() for each in (a, b)]
    limit = sympy.Float(_ROUNDED_IRRATIONAL if decimal else _NO_DIFFERENCE)
    if not all(each.is_Float or each.is_Integer for each in (difference, *sizes)):
        return False
    return bool(difference <= limit * max(sizes))


def _is_decimal(number: Any) -> bool:
    """Returns whether a number can be written with a decimal point, and needs it."""
    if not number.is_Rational or number.q == 1:
        return False
    rest = number.q
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return bool(rest == 1)


def _limit_memory() -> None:
    """Limit memory, so that a huge power raises MemoryError and takes down nothing else."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


class _Comparison:
    """math-verify, set up to read a whole answer as LaTeX and nothing else."""

    def __init__(self) -> None:
        import math_verify
        from latex2sympy2_extended import NormalizationConfig  # type: ignore[import-untyped]

        _forbid_evaluation()
        _compare_relatively()
        self._library = math_verify
        # Its own removal of units breaks answers such as "2h"; ours has been applied already.
        normal = NormalizationConfig(
            basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="last"
        )
        self._reading = [math_verify.LatexExtractionConfig(True, 0, normal)]

    def equal(self, predicted: str, reference: str) -> bool:
        """Returns whether two answers are equal; False where they cannot be compared."""
        try:
            return bool(
                self._library.verify(
                    self._parsed(reference),
                    self._parsed(predicted),
                    allow_set_relation_comp=True,
                    timeout_seconds=None,
                )
            )
        except Exception:  # an answer that makes a library fail is not right
            return False

    def _parsed(self, answer: str) -> Any:
        # The first match is the whole box; later ones would be parts of it.
        return self._library.parse(
            f"\\boxed{{{answer}}}",
            extraction_config=self._reading,
            extraction_mode="first_match",
            parsing_timeout=None,
        )


def main() -> None:
    """Compare pairs until standard input ends; the argument is the time limit in seconds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers itself
    timeout_s = float(sys.argv[1])
    _limit_memory()
    logging.disable()
    comparison = _Comparison()
    replies = os.fdopen(os.dup(1), "w")
    # What libraries print must not mix with the replies, nor fill the parent's terminal.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        # The parent kills a slow worker. Should the parent be gone, the kernel does so here:
        # the default action of the alarm ends the process, whatever it is computing.
        signal.setitimer(signal.ITIMER_REAL, 2 * timeout_s + 1)
        equal = comparison.equal(*json.loads(line))
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(equal), file=replies, flush=True)


if __name__ == "__main__":
    main()
