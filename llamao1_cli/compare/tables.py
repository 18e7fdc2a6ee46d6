"""The tables of a comparison, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llamao1_cli.compare.curves import WAYS
from llamao1_cli.report.frame import format_number
from llamao1_cli.report.tables import difference

# What is known of a ratio where (the variant, the baseline) does not stay above the height.
BOUNDS = {(False, False): "", (True, False): "> ", (False, True): "< ", (True, True): "? "}
SHOWN = {"tokens": WAYS, "seconds": ("3/4",)}  # in the table of costs
NOTE = (
    "Heights lie 1/2, 3/4 and 9/10 of the way from the start to the best end of any variant on the "
    "seed. An end is the mean of the last three points; an area is the mean height of a curve over "
    "the budget. Costs are those from which on a curve stays above a height, straight between its "
    "points; – is never, and counts as the whole run, so that a mean or a ratio with > lies higher "
    "in truth, one with < (the baseline's) lower, and one with ? is open. Intervals are those of a "
    "paired bootstrap over seeds and problems."
)


def result_table(cells: Sequence[dict[str, Any]], comparison: dict[str, Any]) -> str:
    """Returns the accuracies at the end, greedy on held-out problems, and what runs were like."""
    seeds = sorted({cell["seed"] for cell in cells})
    heads = " | ".join(f"seed {seed}" for seed in seeds)
    lines = [
        f"| variant | {heads} | mean | to {comparison['baseline']}, 95% | seconds | tokens "
        "| leaves a 1,000 tokens | mixed trees |",
        "|---" * (len(seeds) + 7) + "|",
    ]
    before = {cell["seed"]: cell["before"] for cell in cells}
    start = " | ".join(f"{before[seed]:.3f}" for seed in seeds)
    mean = float(np.mean(list(before.values())))
    lines.append(f"| start | {start} | {mean:.3f} | | | | | |")
    for name, result in comparison["variants"].items():
        own = _of(cells, name)
        shown = " | ".join(f"{result['greedy'][seed]:.3f}" for seed in seeds)
        gap = "" if name == comparison["baseline"] else difference(result["difference"])
        lines.append(
            f"| {name} | {shown} | {result['mean']['greedy']:.3f} | {gap} "
            f"| {_mean(own, 'seconds'):,.0f} | {_mean(own, 'tokens'):,.0f} | {_tree_cells(own)} |"
        )
    return "\n".join(lines)


def cost_table(cells: Sequence[dict[str, Any]], costs: dict[str, Any]) -> str:
    """Returns area and end of each variant, and what it spends until it stays above heights: the
    mean over seeds, and seed by seed."""
    columns = [(cost, way) for cost, ways in SHOWN.items() for way in ways]
    lines = [
        "| variant | rate | area | end " + "".join(f"| {c} to {w} " for c, w in columns) + "|",
        "|---" * (len(columns) + 4) + "|",
    ]
    for name, above in costs["variants"].items():
        own = _of(cells, name)
        shown = [_costs(own, cost, above[cost], way) for cost, way in columns]
        lines.append(
            f"| {name} | {format_number(own[0]['rate'])} | {_mean(own, 'area'):.3f} "
            f"| {_mean(own, 'end'):.3f} | {' | '.join(shown)} |"
        )
    return "\n".join(lines)


def ratio_table(costs: dict[str, Any], baseline: str) -> str:
    """Returns the ratios of what variants spend to what the baseline spends, with intervals."""
    lines = [
        f"| to {baseline}, 95% "
        + "".join(f"| {cost} to {way} " for cost in SHOWN for way in WAYS)
        + "|",
        "|---" * (len(SHOWN) * len(WAYS) + 1) + "|",
    ]
    for name, above in costs["variants"].items():
        if name != baseline:
            shown = [_ratio(above["ratios"][cost][way]) for cost in SHOWN for way in WAYS]
            lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def rate_table(rates: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Returns area and end at every learning rate."""
    lines = ["| variant | rate | area | end | |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {format_number(row['rate'])} | {row['area']:.3f} | {row['end']:.3f} "
        f"| {'chosen' if row['chosen'] else ''} |"
        for name, own in rates.items()
        for row in own
    ]
    return "\n".join(lines)


def _costs(
    cells: Sequence[dict[str, Any]], cost: str, above: Mapping[int, dict[str, Any]], way: str
) -> str:
    """Returns the mean cost of staying above a height, and in brackets that of each seed."""
    each = {cell["seed"]: above[cell["seed"]][way] for cell in cells}
    whole = {cell["seed"]: cell[cost] for cell in cells}
    mean = np.mean([whole[seed] if own is None else own for seed, own in each.items()])
    shown = ", ".join("–" if own is None else f"{own:,.0f}" for own in each.values())
    return f"{'> ' if None in each.values() else ''}{mean:,.0f} ({shown})"


def _ratio(row: dict[str, Any]) -> str:
    low, high = row["ci95"]
    bound = BOUNDS[row["never"] > 0, row["baseline_never"] > 0]
    return f"{bound}{row['ratio']:.2f} ({low:.2f} to {high:.2f})"


def _tree_cells(cells: Sequence[dict[str, Any]]) -> str:
    """Returns leaves a thousand tokens and the share of mixed trees, empty without self-play."""
    if any(cell["mixed_trees"] is None for cell in cells):
        return "|"
    return f"{_mean(cells, 'leaves_a_kilotoken'):.1f} | {_mean(cells, 'mixed_trees'):.2f}"


def _of(cells: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [cell for cell in cells if cell["name"] == name]


def _mean(cells: Sequence[dict[str, Any]], name: str) -> float:
    return float(np.mean([cell[name] for cell in cells]))
