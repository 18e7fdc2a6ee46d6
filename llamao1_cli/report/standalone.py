"""SVG files that stand alone: they bring the colours and letters of the page, light and dark."""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from markupsafe import Markup

from llamao1_cli.report.svg import dot, line_class

ROW = 22  # from a row of a legend to the next
LETTER = 7.2  # width of a letter, in a wide font


def standalone(width: float, height: float, parts: Sequence[Markup], style: str = "") -> Markup:
    """Returns a whole SVG file; `style` is CSS that its parts need beside drawing.css."""
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h:.0f}" width="{w:.0f}" '
        'height="{h:.0f}"><style>{style}</style>'
        '<rect class="page" width="100%" height="100%" rx="8"/>{parts}</svg>\n'
    ).format(w=width, h=height, style=Markup(drawing_style() + style), parts=Markup("").join(parts))


@cache
def drawing_style() -> str:
    """Returns the CSS that the page and pictures that stand alone share."""
    return files("llamao1_cli.report").joinpath("drawing.css").read_text(encoding="utf-8")


def placed(svg: Markup, x: float, y: float) -> Markup:
    """Returns a picture as a part of another, at its own size, from the point `(x, y)` on."""
    size = re.match(r'<svg viewBox="0 0 (\d+) (\d+)"', svg)
    assert size, "not a picture of inline_svg"
    at = f'<svg x="{x:g}" y="{y:g}" width="{size[1]}" height="{size[2]}" '
    return Markup(at) + Markup(svg.removeprefix("<svg "))


def legend(names: Sequence[str], x: float, y: float) -> tuple[Markup, float, float]:
    """Returns a legend, the first row at the point `(x, y)`, and the width and the height that the
    picture must have to hold it."""
    rows = [_legend_row(x, y + ROW * index, index, name) for index, name in enumerate(names)]
    width = x + 46 + LETTER * max(map(len, names))
    return Markup("").join(rows), width, y + ROW * len(names)


def heading(x: float, y: float, text: str) -> Markup:
    """Returns a name above a picture."""
    return Markup('<text class="name" x="{:g}" y="{:g}">{}</text>').format(x, y, text)


def centred(x: float, y: float, text: str) -> Markup:
    """Returns a line of text around the point `(x, y)`."""
    return Markup('<text class="x" x="{:g}" y="{:g}">{}</text>').format(x, y, text)


def _legend_row(x: float, y: float, style: int, name: str) -> Markup:
    """Returns a line's style, and what it stands for."""
    sample = Markup('<g class="{}"><path class="line" d="M{:g},{:g}h26"/>{}</g>').format(
        line_class(style), x, y, dot(x + 13, y, 3, style)
    )
    return sample + Markup('<text x="{:g}" y="{:g}">{}</text>').format(x + 34, y + 4, name)
