"""The map of horizons: what trees spend on each, in shares of what the best flat variant spends.

Reads the folders of scripts/horizon_map.sh, one a horizon: a comparison, and beside it what the
samples of each seed's start were worth.
"""

import argparse
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamao1_cli.compare.cells import Cell
from llamao1_cli.compare.curves import WAYS
from llamao1_cli.compare.figures import as_curve, costs_to_heights, curve
from llamao1_cli.compare.ratios import Curves
from llamao1_cli.compare.tables import BOUNDS
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.files.whole import write_whole
from llamao1_cli.report.chart import Point
from llamao1_cli.report.frame import format_number, large_frame
from llamao1_cli.report.standalone import heading, legend, placed, standalone
from llamao1_cli.report.svg import axis_name, grid, inline_svg, line

FLAT = ("grpo", "grpo-curriculum")
SHOWN = "1/2"  # the way from the start to the best end that the picture shows
WIDEST = 8.0  # the largest ratio of the picture, and its inverse the smallest


@dataclass(frozen=True)
class Horizon:
    """The comparison of one horizon."""

    steps: str  # fewest and most
    right: float  # share of right samples at the start, before self-play
    cells: list[dict[str, Any]]
    flat: str  # the best flat variant
    costs: dict[str, Any]  # by variant, in shares of the best flat one's

    def mean(self, name: str, key: str) -> float:
        """The mean of a figure over the seeds of a variant."""
        return statistics.mean(cell[key] for cell in self.cells if cell["name"] == name)

    def ratio(self, name: str, way: str) -> dict[str, Any]:
        """What a variant takes to stay above a height, in shares of what the best flat one does."""
        row: dict[str, Any] = self.costs[name]["ratios"]["tokens"][way]
        return row


def read(folder: Path) -> Horizon:
    """The horizon of a folder; its best flat variant is that with the largest area."""
    cells = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))["cells"]
    areas: dict[str, list[float]] = {}
    for cell in cells:
        areas.setdefault(cell["name"], []).append(cell["area"])
    flat = max((name for name in FLAT if name in areas), key=lambda name: sum(areas[name]))
    seeds: dict[int, Curves] = {}
    for row in cells:
        run = RunFolder(folder / f"{row['name']}-seed{row['seed']}")
        points = curve(Cell(row["name"], row["rate"], row["seed"], run))
        seeds[row["seed"]] = {**seeds.get(row["seed"], {}), row["name"]: as_curve(points)}
    starts = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("start-*.json")]
    right = statistics.mean(start["strategies"]["pass@1"]["accuracy"] for start in starts)
    return Horizon(folder.name, right, cells, flat, costs_to_heights(seeds, flat)["variants"])


def table(horizons: list[Horizon]) -> str:
    """The map as Markdown, a row a horizon and variant."""
    heads = "".join(f"| tokens to {way} " for way in WAYS)
    lines = [
        f"| steps, right samples at the start | variant | start | end | area {heads}|",
        "|---" * (len(WAYS) + 5) + "|",
    ]
    lines += [row(horizon, name) for horizon in horizons for name in horizon.costs]
    return "\n".join(lines)


def row(horizon: Horizon, name: str) -> str:
    """The row of a variant on a horizon."""
    means = " | ".join(f"{horizon.mean(name, key):.3f}" for key in ("before", "end", "area"))
    costs = " | ".join(cost(horizon, name, way) for way in WAYS)
    return f"| {horizon.steps}, {horizon.right:.1%} | {name} | {means} | {costs} |"


def cost(horizon: Horizon, name: str, way: str) -> str:
    """What a variant takes to stay above a height, and its ratio to the best flat one's."""
    row = horizon.ratio(name, way)
    if name == horizon.flat:
        each = [above[way] for above in horizon.costs[name]["tokens"].values()]
        return ", ".join("–" if own is None else format_number(round(own)) for own in each)
    low, high = row["ci95"]
    bound = BOUNDS[row["never"] > 0, row["baseline_never"] > 0]
    return f"{bound}{row['ratio']:.2f} ({low:.2f} to {high:.2f})"


def picture(horizons: list[Horizon]) -> str:
    """An SVG file: ratios over horizons, a line a variant, with their 95% intervals."""
    every = dict.fromkeys(name for horizon in horizons for name in horizon.costs)
    names = [name for name in every if name not in FLAT]
    edge = math.log2(WIDEST)
    frame = large_frame((-0.4, len(horizons) - 0.6), (-edge, edge))
    places = dict(enumerate(f"{each.steps} ({each.right:.1%})" for each in horizons))
    rungs = [-edge + step for step in range(round(2 * edge) + 1)]
    parts = [
        grid(
            frame,
            list(places),
            rungs,
            lambda place: places[round(place)],
            lambda rung: format_number(2**rung),
        )
    ]
    for style, name in enumerate(names):
        shift = 0.08 * (style - (len(names) - 1) / 2)  # so that the whiskers can be told apart
        points = [
            point(each.ratio(name, SHOWN), at + shift)
            for at, each in enumerate(horizons)
            if name in each.costs
        ]
        parts.append(line(frame, points, style, [3.0] * len(points)))
    parts.append(axis_name(frame, "steps of a problem (right samples at the start)"))
    title = heading(16, 24, f"Tokens to {SHOWN} of the way, to the best flat variant's")
    keys, width, height = legend(names, 392, 52)
    drawn = placed(inline_svg(frame, "ratio of tokens over horizons", parts), 12, 34)
    return str(standalone(max(width, 560), max(height, 342), [title, drawn, keys]))


def point(row: dict[str, Any], at: float) -> Point:
    """A ratio with its interval, on the logarithmic axis."""
    value, low, high = (math.log2(each) for each in (row["ratio"], *row["ci95"]))
    return Point(at, value, low, high)


def main() -> None:
    """Print the table of the folders on the command line, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="one a horizon, from the shortest on")
    parser.add_argument("--picture", type=Path, required=True, help="SVG file to write")
    arguments = parser.parse_args()
    horizons = [read(folder) for folder in arguments.folders]
    write_whole(arguments.picture, picture(horizons))
    print(table(horizons))


if __name__ == "__main__":
    main()
