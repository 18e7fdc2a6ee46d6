"""A chart as plain data: lines of points over one axis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

MOST_POINTS = 400  # of a line: more than a screen shows apart


class Point(NamedTuple):
    """A measured value, with the ends of its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """One line; `style` numbers its colour and dashes."""

    name: str
    style: int
    points: list[Point]


@dataclass(frozen=True)
class Chart:
    """Lines over one axis. A share is drawn from 0 to 1."""

    group: str
    title: str
    note: str
    axis: str  # what x counts
    series: list[Series]
    share: bool = False


def thinned(points: Sequence[Point]) -> list[Point]:
    """Returns at most `MOST_POINTS` of the points, evenly spaced, with the first and the last."""
    if len(points) <= MOST_POINTS:
        return list(points)
    last = len(points) - 1
    return [points[round(index * last / (MOST_POINTS - 1))] for index in range(MOST_POINTS)]
