"""Reading files again while a run writes them: what stayed as it was is not read twice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from llamao1_cli.errors import UserError

MetricsRow = dict[str, Any]
Stamp = tuple[int, int, int] | None  # None where there is no file
T = TypeVar("T")


def stamp(path: Path) -> Stamp:
    """Returns what changes when a file does: its time in nanoseconds, its size and its number."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Kept:
    """What functions have read of files, kept for as long as the files do not change.

    What was not asked for between two calls of `begin` is forgotten.
    """

    def __init__(self) -> None:
        self._before: dict[tuple[Any, Path], tuple[Stamp, Any]] = {}
        self._now: dict[tuple[Any, Path], tuple[Stamp, Any]] = {}

    def begin(self) -> None:
        """Begin a new round of reading."""
        self._before, self._now = self._now, {}

    def __call__(self, read: Callable[..., T], path: Path, *more: Any) -> T:
        """Returns `read(path, *more)`, or what it returned before; `more` must be the same for a
        path."""
        key, found = (read, path), stamp(path)
        for known in (self._now, self._before):
            if key in known and known[key][0] == found:
                break
        else:
            known = {key: (found, read(path, *more))}
        self._now[key] = known[key]
        value: T = known[key][1]
        return value


class MetricsFile:
    """The rows of a metrics file, read on from where the last reading ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin()

    def read(self) -> dict[str, list[MetricsRow]]:
        """Returns all rows by stage, {} if there is no file. A last line that is half written waits
        for the next reading. UserError names the line of one that is no row of metrics."""
        try:
            with self._path.open("rb") as file:
                if not self._continues(file):
                    self._begin()
                file.seek(self._end)
                fresh = file.read()
        except FileNotFoundError:
            self._begin()
            return {}
        except OSError as error:
            raise UserError(f"{self._path}: cannot be read: {error.strerror}") from None
        self._take(fresh[: fresh.rfind(b"\n") + 1])
        return {stage: list(rows) for stage, rows in self._rows.items()}

    def _begin(self) -> None:
        self._rows: dict[str, list[MetricsRow]] = {}
        self._end, self._lines, self._last = 0, 0, b""

    def _continues(self, file: BinaryIO) -> bool:
        """Returns whether the last line that was read is there; a resumed run cuts its file."""
        file.seek(self._end - len(self._last))
        return file.read(len(self._last)) == self._last

    def _take(self, fresh: bytes) -> None:
        lines = fresh.split(b"\n")[:-1]
        rows = [self._row(line, number) for number, line in enumerate(lines, self._lines + 1)]
        for row in rows:
            self._rows.setdefault(row["stage"], []).append(row)
        if lines:
            self._end += len(fresh)
            self._lines += len(lines)
            self._last = lines[-1] + b"\n"

    def _row(self, line: bytes, number: int) -> MetricsRow:
        try:
            # Numbers are read as floats: one of a thousand digits is infinite, and no error.
            row = json.loads(line, parse_int=float)
            if not isinstance(row["stage"], str):
                raise TypeError
            return row | {"step": int(row["step"])}
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise UserError(
                f"{self._path} line {number}: not a row of metrics (an object with `stage` and "
                "`step`); restore the file or delete the line"
            ) from None
