"""What a log is told of a long stage, where no bar can move: a line every now and then."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

EVERY_S = 20.0  # between two lines; half a minute without one looks like a run that hangs


@contextmanager
def told(say: Callable[[str], None], line: Callable[[float], str]) -> Iterator[None]:
    """Inside, `say` is told every now and then what `line` returns for the seconds so far.

    A thread of its own sees to it, so that a step that takes minutes is told of too.
    """
    begun, over = time.monotonic(), threading.Event()

    def tell() -> None:
        while not over.wait(EVERY_S):
            say(line(time.monotonic() - begun))

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Steps:
    """How far a stage of so many steps is."""

    def __init__(self, label: str, total: int, done: int) -> None:
        self._label, self._total, self._begin = label, total, done
        self._done, self._note = done, ""

    def advance(self, note: str) -> None:
        """Count a step; the note, such as its loss, is told until the next one."""
        self._done, self._note = self._done + 1, note

    def line(self, seconds: float) -> str:
        """Returns the step, the rate, the note and the time left, `seconds` after the first
        step."""
        new = self._done - self._begin
        parts = [f"{self._label} {self._done}/{self._total}"]
        if new and seconds > 0:
            left = (self._total - self._done) * seconds / new
            parts += [f"{new / seconds:.2g}/s", self._note, f"{duration(left)} left"]
        else:
            parts.append(f"{duration(seconds)} so far")
        return "  ".join(filter(None, parts))


class Paces:
    """How long the last stage of each kind took: the best guess for the next one."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def note(self, kind: str, seconds: float) -> None:
        """Keep how long a stage took."""
        self._seconds[kind] = seconds

    def line(self, kind: str, seconds: float) -> str:
        """Returns how long a stage has been going on, and what is probably left of it."""
        left = self._seconds.get(kind, 0.0) - seconds
        guess = f", about {duration(left)} left" if left > 0 else ""
        return f"{duration(seconds)} so far{guess}"


def duration(seconds: float) -> str:
    """Returns seconds as hours, minutes and seconds: 1:02:03."""
    return str(timedelta(seconds=round(seconds)))
