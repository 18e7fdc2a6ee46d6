"""The curves of a comparison as a picture: accuracy over time and over generated tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from markupsafe import Markup

from llamao1_cli.compare.curves import mean_curve
from llamao1_cli.report.chart import Point
from llamao1_cli.report.frame import Frame, large_frame, share_axis, ticks
from llamao1_cli.report.standalone import heading, legend, placed, standalone
from llamao1_cli.report.svg import axis_name, dot, grid, inline_svg, line, line_class

AXES = {"seconds": "seconds of self-play and update", "tokens": "generated tokens"}
PANEL = 380  # from one panel to the next
STYLE = "svg .band { fill: var(--c); opacity: 0.13; } svg text.height { text-anchor: start; }"

Cells = Sequence[dict[str, Any]]  # of one variant, a seed each


def comparison_picture(cells: Cells, heights: Mapping[int, Mapping[str, float | None]]) -> Markup:
    """Returns an SVG file with a line a variant, the mean over seeds, in a band from the lowest
    seed to the highest; dotted lines are the means over seeds of the heights."""
    variants: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        variants.setdefault(cell["name"], []).append(cell)
    levels = _mean_heights(list(heights.values()))
    panels = [
        placed(_panel(list(variants.values()), levels, cost, name), 12 + PANEL * index, 34)
        for index, (cost, name) in enumerate(AXES.items())
    ]
    keys, width, height = legend(list(variants), 2 * PANEL + 12, 52)
    title = heading(16, 24, "Greedy accuracy, held-out problems: mean and range of the seeds")
    return standalone(width, max(height, 342), [title, *panels, keys], STYLE)


def _mean_heights(seeds: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Returns the means of the heights over the seeds that have them."""
    known = [own for own in seeds if None not in own.values()]
    ways = known[0] if known else ()
    return {way: float(np.mean([own[way] for own in known])) for way in ways}


def _panel(variants: Sequence[Cells], levels: Mapping[str, float], cost: str, name: str) -> Markup:
    """Returns the curves of all variants over one of the costs."""
    points = [point for cells in variants for cell in cells for point in cell["curve"]]
    shares, rungs = share_axis([point["accuracy"] for point in points])
    most = max(point[cost] for point in points) or 1.0
    # Room for the last number of the first axis, which may have six digits.
    frame = replace(large_frame((0.0, most), shares), right=24)
    curves = [_over(cells, cost) for cells in variants]
    parts = [grid(frame, [tick for tick in ticks(0, most) if tick <= most], rungs)]
    parts += [_height(frame, way, level) for way, level in levels.items()]
    parts += [_band(frame, *curve, style) for style, curve in enumerate(curves)]
    parts += [_mean_line(frame, *curve, style) for style, curve in enumerate(curves)]
    return inline_svg(frame, f"greedy accuracy over {name}", [*parts, axis_name(frame, name)])


def _over(cells: Cells, cost: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the curves of a variant's seeds at shared costs; see `mean_curve`."""
    return mean_curve(
        [
            (
                [point[cost] for point in cell["curve"]],
                [point["accuracy"] for point in cell["curve"]],
            )
            for cell in cells
        ]
    )


def _height(frame: Frame, way: str, level: float) -> Markup:
    """Returns a dotted line at a height, with its name at the left."""
    y = round(frame.up(level), 1)
    return Markup(
        '<line class="ideal" x1="{}" y1="{}" x2="{}" y2="{}"/>'
        '<text class="height" x="{}" y="{}">{}</text>'
    ).format(frame.left, y, frame.width - frame.right, y, frame.left + 3, y - 3, way)


def _band(frame: Frame, costs: np.ndarray, shares: np.ndarray, style: int) -> Markup:
    """Returns the area between the lowest and the highest seed."""
    edge = [*zip(costs, shares.min(axis=0), strict=True)]
    edge += [*zip(costs, shares.max(axis=0), strict=True)][::-1]
    corners = "L".join(f"{frame.across(x):.1f},{frame.up(y):.1f}" for x, y in edge)
    return Markup('<g class="{}"><path class="band" d="M{}Z"/></g>').format(
        line_class(style), corners
    )


def _mean_line(frame: Frame, costs: np.ndarray, shares: np.ndarray, style: int) -> Markup:
    """Returns the mean of the seeds, with a dot at its end."""
    points = [Point(x, y) for x, y in zip(costs, shares.mean(axis=0), strict=True)]
    end = dot(frame.across(points[-1].x), frame.up(points[-1].y), 4.5, style)
    return line(frame, points, style) + Markup('<g class="{}">{}</g>').format(
        line_class(style), end
    )
