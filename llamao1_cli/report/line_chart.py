"""Curves of metrics as SVG for the page."""

from markupsafe import Markup

from llamao1_cli.report.chart import Chart
from llamao1_cli.report.frame import Frame, ticks
from llamao1_cli.report.svg import grid, inline_svg, line

MOST_DOTS = 12  # a line of more points has none


def chart_frame(chart: Chart) -> Frame:
    """Returns the frame that holds all lines; the second axis begins at 0 where it can."""
    points = [point for series in chart.series for point in series.points]
    xs, ys = [point.x for point in points], [point.y for point in points]
    low, high = (0.0, 1.0) if chart.share else (min(0.0, *ys), max(0.0, *ys))
    rungs = ticks(low, high)
    return Frame((min(xs), max(max(xs), min(xs) + 1)), (rungs[0], rungs[-1]))


def draw_chart(chart: Chart) -> Markup:
    """Returns a picture with a line a series, and whiskers where there are intervals."""
    frame = chart_frame(chart)
    parts = [grid(frame, _whole_ticks(*frame.x), ticks(*frame.y))]
    for series in chart.series:
        count = len(series.points)
        sizes = [3.0] * count if count <= MOST_DOTS else []
        parts.append(line(frame, series.points, series.style, sizes))
    return inline_svg(frame, f"{chart.title} over {chart.axis}", parts)


def _whole_ticks(low: float, high: float) -> list[float]:
    """Returns the ticks of whole numbers that lie on the axis."""
    return [tick for tick in ticks(low, high, 5) if low <= tick <= high and tick == int(tick)]
