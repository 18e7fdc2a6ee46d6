"""Pictures of an evaluation: accuracy over budget, and how reliable values are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from llamao1_cli.compare.picture import COLOURS, MARKERS

STYLES = ("-", "--", ":")  # a new one where the colours begin again


def draw_budgets(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a PNG of accuracy over budget, a line a strategy; the bars are the 95% intervals of
    its differences to majority vote, which has none."""
    figure, axis = plt.subplots(figsize=(9, 5), layout="constrained")
    ordered = sorted(rows, key=lambda row: row["tokens"])
    budgets = [row["tokens"] for row in ordered]
    for place, name in enumerate(ordered[0]["strategies"]):
        turns, colour = divmod(place, len(COLOURS))
        accuracies = [row["strategies"][name]["accuracy"] for row in ordered]
        axis.errorbar(
            budgets,
            accuracies,
            yerr=_bars(ordered, name),
            color=COLOURS[colour],
            marker=MARKERS[(place + turns) % len(MARKERS)],
            linestyle=STYLES[turns % len(STYLES)],
            markersize=5,
            linewidth=1.5,
            elinewidth=0.6,
            capsize=2,
            label=name,
        )
    axis.set_xlabel("tokens a problem that may be spent")
    axis.set_ylabel("accuracy, held-out problems")
    axis.grid(alpha=0.3)
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


def _bars(rows: Sequence[Mapping[str, Any]], name: str) -> list[list[float]] | None:
    """How far below and above each point its interval reaches."""
    if any(name not in row["differences"] for row in rows):
        return None
    gaps = [row["differences"][name] for row in rows]
    return [
        [max(gap["difference"] - gap["ci95"][0], 0.0) for gap in gaps],
        [max(gap["ci95"][1] - gap["difference"], 0.0) for gap in gaps],
    ]


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
