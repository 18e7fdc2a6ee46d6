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
        return sympy.Float(text) if "." in text else sympy.Integer(text)

    sympy_parser.parse_expr = numeral
    sympy_parser.eval_expr = _refuse  # for modules that imported the original parse_expr


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
                    self._parsed(reference), self._parsed(predicted), timeout_seconds=None
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
