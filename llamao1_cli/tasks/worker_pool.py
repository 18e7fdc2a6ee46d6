"""Processes that answer one question at a time, and can be killed over it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

_LAST = b"last "
_START_S = 120.0  # imports on a cold, busy machine; not counted against any question


class Lost(Enum):
    """Why a question has no reply."""

    LATE = "it took longer than its time limit"
    DEAD = "its process ended, perhaps out of memory"


class WorkerError(RuntimeError):
    """A worker process that cannot be used; the message is what it said, if it said anything."""


class _Worker:
    """One worker process, and the state of the question it has been given."""

    def __init__(self, script: Path, arguments: Sequence[str], timeout_s: float) -> None:
        # By its path and with -P: no package of ours is imported, no folder shadows a library.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(script), str(timeout_s), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # what it starts is killed with it
            # Whoever walks through a set of words does so in the same order in every process.
            env=os.environ | {"PYTHONHASHSEED": "0"},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions: IO[bytes] = self._process.stdin
        self.replies: IO[bytes] = self._process.stdout
        self.pid = self._process.pid
        self._timeout_s = timeout_s
        self._ready = False
        self._waiting: Any = None  # a question for when it is ready
        self._unread = b""
        self._complaint = ""  # what it said instead of being ready
        self.deadline = 0.0
        self.reply: Any = None
        self.dead = False
        self.spent = False  # its reply was its last

    def ask(self, question: Any) -> None:
        """Send a question; the worker may still be starting, or have died unnoticed."""
        self.reply = None
        if self._ready:
            self._send(question)
        else:
            self._waiting, self.deadline = question, time.monotonic() + _START_S

    def receive(self) -> None:
        """Take in what the worker has written, once `replies` is readable."""
        data = self.replies.read(4096)
        self.dead = not data
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            if self._ready:
                self.spent = line.startswith(_LAST)
                self.reply = json.loads(line.removeprefix(_LAST))
            elif line == b"ready":
                self._ready = True
                self._send(self._waiting)
            else:
                self._complaint = json.loads(line)

    def check_started(self) -> None:
        """Raise WorkerError if the worker ended, or ran out of time, before it was ready."""
        if not self._ready:
            raise WorkerError(self._complaint)

    def stop(self) -> None:
        """Kill the process and what it started, and release its pipes."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._questions.close()
        self.replies.close()

    def _send(self, question: Any) -> None:
        self.deadline = time.monotonic() + self._timeout_s
        with suppress(BrokenPipeError):  # then its replies end too, which receive() notices
            self._questions.write(json.dumps(question).encode() + b"\n")


class ClosedOnExit(ABC):
    """What holds worker processes, and stops them on leaving its context."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Stop the worker processes."""


class WorkerPool(ClosedOnExit):
    """At most `workers` processes of a script, which gets the time limit of a question and the
    `arguments`. They are started when first needed and stopped on leaving the context.

    A script writes the line `ready`, or why it cannot be used as a JSON text. Then it answers every
    line of JSON on its standard input with one on its standard output, in which null is no answer.
    One behind the word `last` is its last reply: the process is killed, with all that it started.
    May be asked from several threads, one at a time in effect.
    """

    def __init__(
        self, script: Path, arguments: Sequence[str], workers: int, timeout_s: float
    ) -> None:
        """Raise ValueError unless there is at least one worker and some time."""
        if workers < 1 or timeout_s <= 0:
            raise ValueError("grading needs at least one worker and a positive time limit")
        self._script, self._arguments = script, arguments
        self._limit, self._timeout_s = workers, timeout_s
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop the worker processes; a later question starts new ones."""
        with self._lock:
            while self._idle:
                self._idle.pop().stop()

    def ask(self, questions: Sequence[Any]) -> list[Any]:
        """Returns the reply to each question, `Lost` where there is none; a worker that fails is
        replaced. Raises WorkerError if a process cannot be started."""
        with self._lock:
            return self._ask(questions)

    def _ask(self, questions: Sequence[Any]) -> list[Any]:
        replies: list[Any] = [Lost.LATE] * len(questions)
        todo = deque(range(len(questions)))
        failed: set[int] = set()
        busy: dict[_Worker, int] = {}
        try:
            while todo or busy:
                while todo and len(busy) < self._limit:
                    worker = self._idle.pop() if self._idle else self._new_worker()
                    busy[worker] = todo.popleft()
                    worker.ask(questions[busy[worker]])
                for worker in _settled(busy):
                    index = busy[worker]
                    if worker.reply is not None:
                        replies[index] = worker.reply
                        self._keep(worker)
                    else:
                        worker.check_started()
                        worker.stop()
                        replies[index] = Lost.DEAD if worker.dead else Lost.LATE
                        # It may have died before it read the question, which is tried once more.
                        if worker.dead and index not in failed:
                            failed.add(index)
                            todo.append(index)
                    del busy[worker]
        finally:
            for worker in busy:
                worker.stop()
        return replies

    def _keep(self, worker: _Worker) -> None:
        if worker.spent:
            worker.stop()
        else:
            self._idle.append(worker)

    def _new_worker(self) -> _Worker:
        return _Worker(self._script, self._arguments, self._timeout_s)


def _settled(busy: dict[_Worker, int]) -> list[_Worker]:
    """Wait for replies or a deadline; returns workers that have a reply, are dead or late."""
    timeout = min(worker.deadline for worker in busy) - time.monotonic()
    readable = wait([worker.replies.fileno() for worker in busy], max(timeout, 0.0))
    for worker in busy:
        if worker.replies.fileno() in readable:
            worker.receive()
    now = time.monotonic()
    return [w for w in busy if w.reply is not None or w.dead or now >= w.deadline]
