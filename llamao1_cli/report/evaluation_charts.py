"""Pictures of an evaluation: how reliable values are, and accuracy over a budget of tokens.

`draw_…` returns a picture for the page, `…_picture` a file that stands alone, with its legend.
"""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from llamao1_cli.report.chart import Point
from llamao1_cli.report.frame import Frame, format_number, large_frame, share_axis, ticks
from llamao1_cli.report.reading import BudgetRow, Quality
from llamao1_cli.report.standalone import heading, legend, placed, standalone
from llamao1_cli.report.svg import axis_name, diagonal, grid, inline_svg, line


def draw_reliability(steps: Mapping[str, Quality]) -> Markup:
    """Returns a reliability diagram: how often samples were right over the value of their steps;
    a dot's area tells how many steps it stands for."""
    frame = large_frame((0.0, 1.0), (0.0, 1.0))
    parts = [grid(frame, ticks(0, 1), ticks(0, 1)), diagonal(frame)]
    most = max((each.n for quality in steps.values() for each in quality.bins), default=1)
    for style, quality in enumerate(steps.values()):
        points = [Point(each.value, each.right) for each in quality.bins]
        sizes = [2 + 6 * math.sqrt(each.n / most) for each in quality.bins]
        parts.append(line(frame, points, style, sizes))
    parts.append(axis_name(frame, "value of a step"))
    return inline_svg(frame, "share of right samples over the value of a step", parts)


def draw_budgets(rows: Sequence[BudgetRow]) -> Markup:
    """Returns accuracy over tokens a problem, a line a strategy, from rows in the order of their
    tokens; the whiskers are the 95% intervals of its differences to majority vote."""
    names = strategy_names(rows)
    curves = [
        [_budget_point(row, name) for row in rows if name in row.strategies] for name in names
    ]
    frame, rungs = _budget_axes(rows, curves)
    tokens = {math.log10(row.tokens): format_number(row.tokens) for row in rows}
    parts = [grid(frame, list(tokens), rungs, tokens.__getitem__)]
    beside = 0.0103 * (frame.x[1] - frame.x[0])  # so that the whiskers can be told apart
    for style, points in enumerate(curves):
        shift = (style - (len(curves) - 1) / 2) * beside
        shifted = [point._replace(x=point.x + shift) for point in points]
        parts.append(line(frame, shifted, style, [3.0] * len(points)))
    parts.append(axis_name(frame, "tokens a problem that may be spent"))
    return inline_svg(frame, "accuracy over tokens a problem", parts)


def reliability_picture(steps: Mapping[str, Quality]) -> Markup:
    """Returns the reliability diagram of an evaluation's `steps` as a file of its own."""
    names = [
        f"{name}s, " + ("no steps" if each.ece is None else f"calibration error {each.ece:.3f}")
        for name, each in steps.items()
    ]
    title = heading(16, 24, "Share of right samples")
    keys, width, height = legend(names, 56, 354)
    picture = placed(draw_reliability(steps), 12, 34)
    return standalone(max(width, 392), height, [title, picture, keys])


def budget_picture(rows: Sequence[BudgetRow]) -> Markup:
    """Returns accuracy over budget, from rows in the order of their tokens, as a file of its own;
    the numbers of its legend are the accuracies at the largest budget."""
    last = rows[-1].strategies
    names = [
        f"{name} {last[name].accuracy:.3f}" if name in last else name
        for name in strategy_names(rows)
    ]
    title = heading(16, 24, "Accuracy, with 95% intervals of the difference to majority vote")
    keys, width, height = legend(names, 392, 52)
    picture = placed(draw_budgets(rows), 12, 34)
    return standalone(max(width, 560), max(height, 342), [title, picture, keys])


def strategy_names(rows: Sequence[BudgetRow]) -> list[str]:
    """Returns the strategies of all rows, in the order in which they are first named."""
    return list(dict.fromkeys(name for row in rows for name in row.strategies))


def _budget_axes(
    rows: Sequence[BudgetRow], curves: Sequence[Sequence[Point]]
) -> tuple[Frame, list[float]]:
    """Returns the frame of the curves and the ticks of its second axis; the first is logarithmic,
    with a margin on both sides."""
    shares = [
        share
        for points in curves
        for point in points
        for share in (point.y, point.low, point.high)
        if share is not None
    ]
    ends, rungs = share_axis(shares)
    least, most = math.log10(rows[0].tokens), math.log10(rows[-1].tokens)
    margin = 0.08 * max(most - least, 0.1)
    return large_frame((least - margin, most + margin), ends), rungs


def _budget_point(row: BudgetRow, name: str) -> Point:
    accuracy, gap = row.strategies[name].accuracy, row.differences.get(name)
    if gap is None:
        return Point(math.log10(row.tokens), accuracy)
    majority = accuracy - gap.difference
    return Point(math.log10(row.tokens), accuracy, majority + gap.ci95[0], majority + gap.ci95[1])
