"""The parts of a chart as SVG, which takes its colours and fonts from drawing.css, light or dark.

Drawn at the size at which they are shown, so that their letters are as large as the page's.
"""

from collections.abc import Callable, Sequence

from markupsafe import Markup

from llamao1_cli.report.chart import Point
from llamao1_cli.report.frame import Frame, format_number

LINES = 8  # styles of lines that drawing.css knows
DOTS = ("", "ring", "square")  # a ninth line begins with the first style again, and another dot


def inline_svg(frame: Frame, title: str, parts: Sequence[Markup]) -> Markup:
    """Returns a picture for an HTML page; `title` is what a screen reader says of it."""
    return Markup('<svg viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        frame.width, frame.height, title, Markup("").join(parts)
    )


def grid(
    frame: Frame,
    across: Sequence[float],
    up: Sequence[float],
    name: Callable[[float], str] = format_number,
    height: Callable[[float], str] = format_number,
) -> Markup:
    """Returns horizontal rules and both axes' numbers; `name` writes those of the first axis,
    `height` those of the second."""
    foot = _round(frame.height - frame.bottom + 16)
    numbers = [
        Markup('<text class="x" x="{}" y="{}">{}</text>').format(
            _round(frame.across(tick)), foot, name(tick)
        )
        for tick in across
    ]
    return Markup("").join([*(_rule(frame, tick, height(tick)) for tick in up), *numbers])


def axis_name(frame: Frame, name: str) -> Markup:
    """Returns the name of the first axis, below its numbers."""
    middle = (frame.left + frame.width - frame.right) / 2
    return Markup('<text class="x" x="{}" y="{}">{}</text>').format(
        _round(middle), _round(frame.height - 4), name
    )


def diagonal(frame: Frame) -> Markup:
    """Returns the dotted line from the first corner to the last."""
    return Markup('<line class="ideal" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        *(
            _round(each)
            for x, y in zip(frame.x, frame.y, strict=True)
            for each in (frame.across(x), frame.up(y))
        )
    )


def line(frame: Frame, points: Sequence[Point], style: int, sizes: Sequence[float] = ()) -> Markup:
    """Returns a line in the style of that number, with whiskers where the points have intervals,
    and with dots of the radii `sizes`, one a point, or none."""
    spots = [(frame.across(point.x), frame.up(point.y)) for point in points]
    path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in spots) if spots else ""
    parts = [Markup('<path class="line" d="{}"/>').format(path)]
    parts += [
        Markup('<path class="whisker" d="M{0},{1}V{2}"/>').format(
            _round(x), _round(frame.up(point.low)), _round(frame.up(point.high))
        )
        for point, (x, _) in zip(points, spots, strict=True)
        if point.low is not None and point.high is not None
    ]
    if sizes:
        parts += [dot(x, y, size, style) for (x, y), size in zip(spots, sizes, strict=True)]
    return Markup('<g class="{}">{}</g>').format(line_class(style), Markup("").join(parts))


def line_class(style: int) -> str:
    """Returns the class of drawing.css that colours and dashes a line, and shapes its dots."""
    return f"s{style % LINES} {_dot_shape(style)}".rstrip()


def dot(x: float, y: float, size: float, style: int) -> Markup:
    """Returns a dot of the radius `size`, in the shape that the style has."""
    if _dot_shape(style) == "square":
        return Markup('<rect class="square" x="{}" y="{}" width="{}" height="{}"/>').format(
            _round(x - size), _round(y - size), *2 * (_round(2 * size),)
        )
    return Markup('<circle cx="{}" cy="{}" r="{}"/>').format(_round(x), _round(y), _round(size))


def _dot_shape(style: int) -> str:
    return DOTS[style // LINES % len(DOTS)]


def _rule(frame: Frame, tick: float, name: str) -> Markup:
    """Returns a horizontal rule and its number's name."""
    y = _round(frame.up(tick))
    rule = Markup('<line class="rule" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        _round(frame.left), y, _round(frame.width - frame.right), y
    )
    return rule + Markup('<text class="y" x="{}" y="{}" dy="0.32em">{}</text>').format(
        _round(frame.left - 7), y, name
    )


def _round(value: float) -> str:
    return f"{value:.1f}"
