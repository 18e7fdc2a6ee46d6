"""Many numbers in a few, and shares of a whole."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """The smallest of many numbers, the one in the middle, the 95th of a hundred, the largest."""

    least: int
    median: int
    p95: int
    most: int


def spread(numbers: Sequence[int]) -> Spread | None:
    """Returns the spread of numbers, None of none; each part of it is one of the numbers."""
    if not numbers:
        return None
    parts = np.quantile(numbers, [0.0, 0.5, 0.95, 1.0], method="higher")
    return Spread(*(int(part) for part in parts))


def share(part: int, whole: int) -> float:
    """Returns the part of a whole as a share in [0, 1]; 0 of nothing."""
    return part / whole if whole else 0.0


def percent(part: float) -> str:
    """Returns a share in whole per cent; 0% is nothing, and 100% is all."""
    if 0 < part < 0.01:
        return "<1%"
    return ">99%" if 0.99 < part < 1 else f"{part:.0%}"
