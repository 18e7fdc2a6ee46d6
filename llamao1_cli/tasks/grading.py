"""Grading of answers: cheap comparisons here, math-verify in processes that can be killed."""

import json
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from llamao1_cli.tasks.equality.verdict import Pair, verdict

_WORKER_SCRIPT = Path(__file__).with_name("grading_worker.py")
_START_S = 120.0  # imports on a cold, busy machine; not counted against any answer
_CACHED_VERDICTS = 65536


class _Worker:
    """One worker process, and the state of the pair it has been given."""

    def __init__(self, timeout_s: float) -> None:
        # By its path and with -P: no package of ours is imported, no folder shadows a library.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER_SCRIPT), str(timeout_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests: IO[bytes] = self._process.stdin
        self.replies: IO[bytes] = self._process.stdout
        self.pid = self._process.pid
        self._timeout_s = timeout_s
        self._ready = False
        self._unread = b""
        self.deadline = 0.0
        self.verdict: bool | None = None
        self.dead = False

    def ask(self, pair: Pair) -> None:
        """Send a pair; the worker may still be starting, or have died unnoticed."""
        self.verdict = None
        self.deadline = time.monotonic() + (self._timeout_s if self._ready else _START_S)
        with suppress(BrokenPipeError):  # then its replies end too, which receive() notices
            self._requests.write(json.dumps(pair).encode() + b"\n")

    def receive(self) -> None:
        """Take in what the worker has written, once `replies` is readable."""
        data = self.replies.read(4096)
        self.dead = not data
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            if line == b"ready":
                self._ready = True
                self.deadline = time.monotonic() + self._timeout_s
            else:
                self.verdict = line == b"true"

    def check_started(self) -> None:
        """Raise RuntimeError if the worker ended, or ran out of time, before it was ready."""
        if not self._ready:
            raise RuntimeError("the grading worker did not start: is math-verify installed?")

    def stop(self) -> None:
        """Kill the process and release its pipes."""
        self._process.kill()
        self._process.wait()
        self._requests.close()
        self.replies.close()


class Grader:
    """Tells whether predicted answers equal reference answers; never evaluates either.

    Pairs that need math-verify go to at most `workers` processes, started when first needed and
    stopped on leaving the context. A process that takes longer than `timeout_s` over one pair is
    killed and that pair is False. May be called from several threads, one at a time in effect.
    """

    def __init__(self, workers: int = 1, timeout_s: float = 3.0) -> None:
        """Raise ValueError unless there is at least one worker and some time."""
        if workers < 1 or timeout_s <= 0:
            raise ValueError("a grader needs at least one worker and a positive time limit")
        self._limit = workers
        self._timeout_s = timeout_s
        self._idle: list[_Worker] = []
        self._cache: OrderedDict[Pair, bool] = OrderedDict()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the worker processes; a later `grade` starts new ones."""
        with self._lock:
            while self._idle:
                self._idle.pop().stop()

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
        """Returns the workers' verdicts on pairs; a worker that fails is replaced."""
        verdicts = [False] * len(pairs)
        todo = deque(range(len(pairs)))
        failed: set[int] = set()
        busy: dict[_Worker, int] = {}
        try:
            while todo or busy:
                while todo and len(busy) < self._limit:
                    worker = self._idle.pop() if self._idle else _Worker(self._timeout_s)
                    busy[worker] = todo.popleft()
                    worker.ask(pairs[busy[worker]])
                for worker in self._settled(busy):
                    index = busy[worker]
                    if worker.verdict is not None:
                        verdicts[index] = worker.verdict
                        self._idle.append(worker)
                    else:
                        worker.check_started()
                        worker.stop()
                        # It may have died before it read the pair, which is tried once more.
                        if worker.dead and index not in failed:
                            failed.add(index)
                            todo.append(index)
                    del busy[worker]
        finally:
            for worker in busy:
                worker.stop()
        return verdicts

    def _settled(self, busy: dict[_Worker, int]) -> list[_Worker]:
        """Wait for replies or a deadline; returns workers that have a verdict, are dead or late."""
        timeout = min(worker.deadline for worker in busy) - time.monotonic()
        readable = wait([worker.replies.fileno() for worker in busy], max(timeout, 0.0))
        for worker in busy:
            if worker.replies.fileno() in readable:
                worker.receive()
        now = time.monotonic()
        return [w for w in busy if w.verdict is not None or w.dead or now >= w.deadline]
