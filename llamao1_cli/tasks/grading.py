"""Grading of answers: cheap comparisons here, math-verify in processes that can be killed."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from llamao1_cli.tasks.equality.verdict import Pair, verdict
from llamao1_cli.tasks.worker_pool import ClosedOnExit, WorkerError, WorkerPool

_WORKER_SCRIPT = Path(__file__).with_name("grading_worker.py")
_CACHED_VERDICTS = 65536


class Grader(ClosedOnExit):
    """Tells whether predicted answers equal reference answers; never evaluates either.

    Pairs that need math-verify go to at most `workers` processes, started when first needed and
    stopped on leaving the context. A process that takes longer than `timeout_s` over one pair is
    killed and that pair is False. May be called from several threads, one at a time in effect.
    """

    def __init__(self, workers: int = 1, timeout_s: float = 3.0) -> None:
        """Raise ValueError unless there is at least one worker and some time."""
        self._pool = WorkerPool(_WORKER_SCRIPT, [], workers, timeout_s)
        self._cache: OrderedDict[Pair, bool] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop the worker processes; a later `grade` starts new ones."""
        self._pool.close()

    def grade(self, pairs: Sequence[Pair]) -> list[bool]:
        """Returns, for each (predicted, reference) pair, whether the two are equal.

        Raises RuntimeError if a worker process cannot be started, as without math-verify.
        """
        with self._lock:
            verdicts = [verdict(*pair) for pair in pairs]
            found = self._look_up(
                list(dict.fromkeys(v for v in verdicts if not isinstance(v, bool)))
            )
        return [v if isinstance(v, bool) else found[v] for v in verdicts]

    def _look_up(self, formulas: list[Pair]) -> dict[Pair, bool]:
        """Returns the verdicts on formulas from the cache and, for the rest, from the workers."""
        new = [pair for pair in formulas if pair not in self._cache]
        self._cache.update(zip(new, self._ask_workers(new), strict=True))
        found = {pair: self._cache[pair] for pair in formulas}
        for pair in formulas:
            self._cache.move_to_end(pair)
        while len(self._cache) > _CACHED_VERDICTS:
            self._cache.popitem(last=False)
        return found

    def _ask_workers(self, pairs: list[Pair]) -> list[bool]:
        """Returns the workers' verdicts on pairs; those without a reply are False."""
        try:
            return [reply is True for reply in self._pool.ask(pairs)]
        except WorkerError:
            raise RuntimeError(
                "the grading worker did not start: is math-verify installed?"
            ) from None
