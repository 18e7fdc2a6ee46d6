"""Signals as an exception that arrives where stopping is safe: Ctrl-C, and SIGTERM and SIGUSR1, by
which schedulers announce that they will take the machine away.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from llamao1_cli.errors import InterruptedRunError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupts:
    """Turns the first signal into InterruptedRunError: at once, or at the end of a `deferred` part.

    A second signal falls to the handlers that were there before.
    """

    def __init__(self) -> None:
        self._deferring = False
        self._pending: int | None = None

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

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """A signal that comes inside takes effect at the end; the part is never half done."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self._pending is not None:
            raise InterruptedRunError(self._pending)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        for known, handler in self._before.items():
            signal.signal(known, handler)
        self._pending = number
        if not self._deferring:
            raise InterruptedRunError(number)
