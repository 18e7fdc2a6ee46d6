"""The curves of a comparison as a picture: accuracy over time and over generated tokens."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from llamao1_cli.report.chart import Point
from llamao1_cli.report.frame import Frame, large_frame, share_axis, ticks
from llamao1_cli.report.standalone import heading, legend, placed, standalone
from llamao1_cli.report.svg import axis_name, dot, grid, inline_svg, line, line_class

COSTS = {"seconds": "seconds of self-play and update", "tokens": "generated tokens"}
PANEL = 380  # from one panel to the next


def comparison_picture(cells: Sequence[dict[str, Any]]) -> Markup:
    """Returns an SVG file with a thin line a seed, and a large dot a variant: the mean of the
    ends of its lines."""
    variants: dict[str, list[list[dict[str, float]]]] = {}
    for cell in cells:
        variants.setdefault(cell["name"], []).append(cell["curve"])
    panels = [
        placed(_panel(list(variants.values()), cost, name), 12 + PANEL * index, 34)
        for index, (cost, name) in enumerate(COSTS.items())
    ]
    keys, width, height = legend(list(variants), 2 * PANEL + 12, 52)
    title = heading(16, 24, "Greedy accuracy, held-out problems")
    return standalone(width, max(height, 342), [title, *panels, keys])


def _panel(variants: Sequence[list[list[dict[str, float]]]], cost: str, name: str) -> Markup:
    """Returns the curves of all variants over one of the costs."""
    points = [point for curves in variants for curve in curves for point in curve]
    shares, rungs = share_axis([point["accuracy"] for point in points])
    most = max(point[cost] for point in points) or 1.0
    frame = large_frame((0.0, most), shares)
    parts = [grid(frame, [tick for tick in ticks(0, most) if tick <= most], rungs)]
    for style, curves in enumerate(variants):
        parts += [_seed_line(frame, curve, cost, style) for curve in curves]
        parts.append(_mean_end(frame, curves, cost, style))
    return inline_svg(frame, f"greedy accuracy over {name}", [*parts, axis_name(frame, name)])


def _seed_line(frame: Frame, curve: Sequence[dict[str, float]], cost: str, style: int) -> Markup:
    points = [Point(point[cost], point["accuracy"]) for point in curve]
    thin = line(frame, points, style, [1.8] * len(points))
    return Markup('<g opacity="0.5">{}</g>').format(thin)


def _mean_end(
    frame: Frame, curves: Sequence[list[dict[str, float]]], cost: str, style: int
) -> Markup:
    across, up = (
        sum(curve[-1][key] for curve in curves) / len(curves) for key in (cost, "accuracy")
    )
    end = dot(frame.across(across), frame.up(up), 5.5, style)
    return Markup('<g class="{}">{}</g>').format(line_class(style), end)
