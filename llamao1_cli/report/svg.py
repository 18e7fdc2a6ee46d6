"""Charts as inline SVG that takes its colours and fonts from the page, light or dark.

Drawn at the size at which they are shown, so that their letters are as large as the page's.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from llamao1_cli.report.curves import Chart, Point
from llamao1_cli.report.reading import BudgetRow, Quality

LINES = 8  # styles of lines the page knows; a ninth line begins again
TICKS = 4


@dataclass(frozen=True)
class Frame:
    """Where data lies in a picture: what is shown of both axes, and the picture's edges."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = 290
    height: float = 170
    left: float = 44
    right: float = 12
    top: float = 10
    bottom: float = 24

    def across(self, x: float) -> float:
        """Where a value of the first axis is."""
        share = (x - self.x[0]) / (self.x[1] - self.x[0])
        return self.left + share * (self.width - self.left - self.right)

    def up(self, y: float) -> float:
        """Where a value of the second axis is; what is beyond it is drawn at its edge."""
        share = min(max((y - self.y[0]) / (self.y[1] - self.y[0]), 0.0), 1.0)
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)


def ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """Round numbers, about `count` steps apart, that reach from below `low` to above `high`."""
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


def label(value: float) -> str:
    """A number as an axis or a caption shows it: four digits, thousands apart."""
    if value and not 1e-3 <= abs(value) < 1e7:
        mantissa, _, power = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(power)}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def chart_frame(chart: Chart) -> Frame:
    """The frame that holds all lines of a chart; the second axis begins at 0 where it can."""
    points = [point for series in chart.series for point in series.points]
    xs, ys = [point.x for point in points], [point.y for point in points]
    low, high = (0.0, 1.0) if chart.share else (min(0.0, *ys), max(0.0, *ys))
    rungs = ticks(low, high)
    return Frame((min(xs), max(max(xs), min(xs) + 1)), (rungs[0], rungs[-1]))


def draw_chart(chart: Chart) -> Markup:
    """A line a series, with whiskers where there are intervals."""
    frame = chart_frame(chart)
    parts = [_grid(frame, _whole_ticks(*frame.x), ticks(*frame.y))]
    parts += [
        _line(frame, series.points, series.place, dots=len(series.points) <= 12)
        for series in chart.series
    ]
    return _svg(frame, f"{chart.title} over {chart.axis}", parts)


def draw_reliability(steps: dict[str, Quality]) -> Markup:
    """How often samples were right over what their steps were said to be worth; a dot's area tells
    how many steps it stands for."""
    frame = Frame((0.0, 1.0), (0.0, 1.0), width=360, height=300, bottom=38)
    parts = [_grid(frame, ticks(0, 1), ticks(0, 1))]
    parts.append(
        Markup('<line class="ideal" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
            *(_round(each) for each in (*_spot(frame, 0, 0), *_spot(frame, 1, 1)))
        )
    )
    most = max((each.n for quality in steps.values() for each in quality.bins), default=1)
    for place, quality in enumerate(steps.values()):
        points = [Point(each.value, each.right) for each in quality.bins]
        sizes = [2 + 6 * math.sqrt(each.n / most) for each in quality.bins]
        parts.append(_line(frame, points, place, sizes=sizes))
    parts.append(_axis_name(frame, "value of a step"))
    return _svg(frame, "share of right samples over the value of a step", parts)


def draw_budgets(rows: Sequence[BudgetRow]) -> Markup:
    """Accuracy over tokens a problem, a line a strategy; the whiskers are the 95% intervals of its
    differences to majority vote, which has none."""
    ordered = sorted(rows, key=lambda row: row.tokens)
    names = list(dict.fromkeys(name for row in ordered for name in row.strategies))
    lines = [[_budget_point(row, name) for row in ordered if name in row.strategies]
             for name in names]  # fmt: skip
    ends = [end for line in lines for p in line for end in (p.y, p.low, p.high) if end is not None]
    rungs = ticks(max(min(ends), 0.0), min(max(ends), 1.0))
    places = [math.log10(row.tokens) for row in ordered]
    width = max(places[-1] - places[0], 0.1)
    frame = Frame(
        (places[0] - 0.08 * width, places[-1] + 0.08 * width),
        (max(rungs[0], 0.0), min(rungs[-1], 1.0)),
        width=360,
        height=300,
        bottom=38,
    )
    tokens = {math.log10(row.tokens): label(row.tokens) for row in ordered}
    parts = [_grid(frame, places, [r for r in rungs if 0 <= r <= 1], tokens.__getitem__)]
    for place, line in enumerate(lines):  # side by side, so that the whiskers can be told apart
        beside = (place - (len(lines) - 1) / 2) * 0.012 * width
        parts.append(_line(frame, [p._replace(x=p.x + beside) for p in line], place))
    parts.append(_axis_name(frame, "tokens a problem that may be spent"))
    return _svg(frame, "accuracy over tokens a problem", parts)


def _budget_point(row: BudgetRow, name: str) -> Point:
    accuracy, gap = row.strategies[name].accuracy, row.differences.get(name)
    if gap is None:
        return Point(math.log10(row.tokens), accuracy)
    base = accuracy - gap.difference
    return Point(math.log10(row.tokens), accuracy, base + gap.ci95[0], base + gap.ci95[1])


def _whole_ticks(low: float, high: float) -> list[float]:
    """Ticks of whole numbers that lie on the axis."""
    return [tick for tick in ticks(low, high, 5) if low <= tick <= high and tick == int(tick)]


def _spot(frame: Frame, x: float, y: float) -> tuple[float, float]:
    return frame.across(x), frame.up(y)


def _round(value: float) -> str:
    return f"{value:.1f}"


def _grid(
    frame: Frame,
    across: Sequence[float],
    up: Sequence[float],
    name: Callable[[float], str] = label,
) -> Markup:
    """Horizontal rules and both axes' numbers."""
    end = frame.width - frame.right
    rules = [
        Markup('<line class="rule" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
            _round(frame.left), y, _round(end), y
        )
        + Markup('<text class="y" x="{}" y="{}" dy="0.32em">{}</text>').format(
            _round(frame.left - 7), y, label(tick)
        )
        for tick, y in ((tick, _round(frame.up(tick))) for tick in up)
    ]
    foot = _round(frame.height - frame.bottom + 16)
    numbers = [
        Markup('<text class="x" x="{}" y="{}">{}</text>').format(
            _round(frame.across(tick)), foot, name(tick)
        )
        for tick in across
    ]
    return Markup("").join([*rules, *numbers])


def _axis_name(frame: Frame, name: str) -> Markup:
    middle = (frame.left + frame.width - frame.right) / 2
    return Markup('<text class="x" x="{}" y="{}">{}</text>').format(
        _round(middle), _round(frame.height - 4), name
    )


def _line(
    frame: Frame,
    points: Sequence[Point],
    place: int,
    *,
    dots: bool = True,
    sizes: Sequence[float] = (),
) -> Markup:
    """A line in the style of its place, with whiskers, and with dots of the given radii."""
    spots = [_spot(frame, point.x, point.y) for point in points]
    path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in spots) if spots else ""
    parts = [Markup('<path class="line" d="{}"/>').format(path)]
    for point, (x, _) in zip(points, spots, strict=True):
        if point.low is not None and point.high is not None:
            parts.append(
                Markup('<path class="whisker" d="M{0},{1}V{2}"/>').format(
                    _round(x), _round(frame.up(point.low)), _round(frame.up(point.high))
                )
            )
    if dots:
        for (x, y), size in zip(spots, sizes or [3.0] * len(spots), strict=True):
            parts.append(
                Markup('<circle cx="{}" cy="{}" r="{}"/>').format(
                    _round(x), _round(y), _round(size)
                )
            )
    return Markup('<g class="s{}">{}</g>').format(place % LINES, Markup("").join(parts))


def _svg(frame: Frame, title: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        frame.width, frame.height, title, Markup("").join(parts)
    )
