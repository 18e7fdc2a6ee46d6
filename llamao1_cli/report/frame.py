"""Where data lies in a picture: a frame with two axes, and their round numbers."""

import math
from dataclasses import dataclass

TICKS = 4


@dataclass(frozen=True)
class Frame:
    """What is shown of both axes, and the edges of the picture around it."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = 290
    height: float = 170
    left: float = 44
    right: float = 12
    top: float = 10
    bottom: float = 24

    def across(self, x: float) -> float:
        """Returns where a value of the first axis is."""
        share = (x - self.x[0]) / (self.x[1] - self.x[0])
        return self.left + share * (self.width - self.left - self.right)

    def up(self, y: float) -> float:
        """Returns where a value of the second axis is; one beyond the axis is drawn at its end."""
        share = min(max((y - self.y[0]) / (self.y[1] - self.y[0]), 0.0), 1.0)
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)


def large_frame(x: tuple[float, float], y: tuple[float, float]) -> Frame:
    """Returns the frame of a picture that has room for the names of its axes."""
    return Frame(x, y, width=360, height=300, bottom=38)


def ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """Returns round numbers, about `count` steps apart, from below `low` to above `high`."""
    largest = max(abs(low), abs(high))
    if largest < 1e-200:  # nothing but zeros
        low, high = 0.0, 1.0
    elif high - low < 1e-9 * largest:  # one value, but for rounding
        low, high = low - largest / 2, high + largest / 2
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, last + 1)]


def share_axis(shares: list[float]) -> tuple[tuple[float, float], list[float]]:
    """Returns the ends and the ticks of an axis that shows these shares, and nothing below 0 or
    above 1."""
    rungs = ticks(max(min(shares), 0.0), min(max(shares), 1.0))
    ends = max(rungs[0], 0.0), min(rungs[-1], 1.0)
    return ends, [rung for rung in rungs if 0 <= rung <= 1]


def format_number(value: float) -> str:
    """Returns a number as an axis or a caption shows it: four digits, thousands apart."""
    if value and not 1e-3 <= abs(value) < 1e7:
        mantissa, _, power = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(power)}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
