"""Signals as an exception that arrives where stopping is safe, on all ranks alike: Ctrl-C, and
SIGTERM and SIGUSR1, by which schedulers announce that they will take the machine away.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from accelerate import Accelerator

from llamao1_cli.errors import InterruptedRunError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupts:
    """Turns the first signal into InterruptedRunError: at once, or at the end of a `deferred` part.

    Several ranks must not leave each other waiting: once they have joined, a signal to any of them
    stops all at the end of a `deferred` part, and acts at once only where a rank works `alone`.
    A second signal goes to the handlers that were there before. In joined ranks it does nothing,
    because their launcher forwards signals that they have received already.
    """

    def __init__(self) -> None:
        self._deferring = False
        self._pending: int | None = None
        self._ranks: Accelerator | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Signals are taken inside; works in the main thread alone."""
        before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        self._before = before
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def join(self, accelerator: Accelerator) -> None:
        """From now on the ranks, if there are several, stop together."""
        if accelerator.num_processes > 1:
            self._ranks, self._deferring = accelerator, True

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """A signal that comes inside takes effect at the end, so that the part is never half done.
        Joined ranks all come to that end, and stop there if any of them had a signal."""
        with self._deferring_as(True):
            yield
        number = self._pending or 0
        if self._ranks is not None:
            mine = torch.tensor([number], device=self._ranks.device)
            number = int(self._ranks.gather(mine).max())
        if number:
            raise InterruptedRunError(number)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, where no rank waits for another, a signal takes effect at once. The rank must
        tell the others of it afterwards."""
        with self._deferring_as(False):
            if self._pending is not None:
                raise InterruptedRunError(self._pending)
            yield

    @contextmanager
    def _deferring_as(self, deferring: bool) -> Iterator[None]:
        before, self._deferring = self._deferring, deferring
        try:
            yield
        finally:
            self._deferring = before

    def _receive(self, number: int, frame: FrameType | None) -> None:
        for known, handler in self._before.items():
            signal.signal(known, handler if self._ranks is None else signal.SIG_IGN)
        self._pending = number
        if not self._deferring:
            raise InterruptedRunError(number)
