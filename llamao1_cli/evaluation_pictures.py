"""Pictures of an evaluation: accuracy over budget, and how reliable values are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from llamao1_cli.compare.picture import COLOURS, MARKERS

STYLES = ("-", "--", ":")  # a new one where the colours begin again


def draw_budgets(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a PNG: accuracy over budget, a line a strategy, and the differences to majority vote
    with their 95% intervals, side by side where they would cover each other."""
    ordered = sorted(rows, key=lambda row: row["tokens"])
    budgets, names = [row["tokens"] for row in ordered], list(ordered[0]["strategies"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    for place, name in enumerate(names):
        look = _look(place)
        accuracies = [row["strategies"][name]["accuracy"] for row in ordered]
        left.plot(budgets, accuracies, markersize=5, linewidth=1.5, label=name, **look)
        if all(name in row["differences"] for row in ordered):
            shift = place - (len(names) - 1) / 2
            at = [index + 0.8 * shift / len(names) for index in range(len(ordered))]
            _draw_differences(right, at, [row["differences"][name] for row in ordered], look)
    left.set_xlabel("tokens a problem that may be spent")
    left.set_ylabel("accuracy, held-out problems")
    right.axhline(0.0, color="grey", linewidth=1, linestyle=":")
    right.set_xticks(range(len(budgets)), [str(budget) for budget in budgets])
    right.set_xlabel("tokens a problem that may be spent")
    right.set_ylabel("difference to majority vote, 95%")
    left.grid(alpha=0.3)
    right.grid(alpha=0.3, axis="y")
    figure.legend(loc="outside right center", frameon=False)
    _save(figure, path)


def draw_reliability(steps: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write a PNG of reliability diagrams: how often samples were right over what their steps were
    said to be worth, and how many steps were; one line each for values and ratings."""
    figure, (axis, counts) = plt.subplots(
        2, 1, figsize=(5, 6.5), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    axis.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
    for place, (name, quality) in enumerate(steps.items()):
        _draw_bins(axis, counts, quality, f"{name}s", place)
    axis.set_ylabel("share of right samples")
    counts.set_xlabel("value of a step")
    counts.set_ylabel("steps")
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left", frameon=False)
    _save(figure, path)


def _draw_bins(axis: Axes, counts: Axes, quality: Mapping[str, Any], name: str, place: int) -> None:
    bins, colour = quality["bins"], COLOURS[place]
    label = f"{name}, calibration error {quality['ece']:.3f}" if bins else f"{name}, no steps"
    axis.plot(
        [row["value"] for row in bins],
        [row["right"] for row in bins],
        color=colour,
        marker=MARKERS[place],
        label=label,
    )
    counts.plot(
        [(row["low"] + row["high"]) / 2 for row in bins],
        [row["n"] for row in bins],
        color=colour,
        marker=MARKERS[place],
    )


def _look(place: int) -> dict[str, Any]:
    """Colour, marker and line of a strategy; no two of 21 share all three."""
    turns, colour = divmod(place, len(COLOURS))
    return {
        "color": COLOURS[colour],
        "marker": MARKERS[(place + turns) % len(MARKERS)],
        "linestyle": STYLES[turns % len(STYLES)],
    }


def _draw_differences(
    axis: Axes, at: Sequence[float], gaps: Sequence[Mapping[str, Any]], look: Mapping[str, Any]
) -> None:
    for x, gap in zip(at, gaps, strict=True):
        axis.plot([x, x], gap["ci95"], color=look["color"], linewidth=1)
        axis.plot(x, gap["difference"], color=look["color"], marker=look["marker"], markersize=5)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
