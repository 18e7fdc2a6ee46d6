"""The curves of a comparison as a picture: accuracy over time and over generated tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")  # no window: it runs where there is no screen

from matplotlib import pyplot as plt

# Okabe and Ito's colours, which colour-blind people can tell apart; markers say the same again.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def draw_curves(cells: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a PNG: thin lines a seed, a thick one through the mean of the last points."""
    names = list(dict.fromkeys(cell["name"] for cell in cells))
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for axis, key, label in zip(
        axes,
        ("seconds", "tokens"),
        ("seconds of self-play and update", "generated tokens"),
        strict=True,
    ):
        for place, name in enumerate(names):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            own = [cell["curve"] for cell in cells if cell["name"] == name]
            for points in own:
                axis.plot(
                    [point[key] for point in points],
                    [point["accuracy"] for point in points],
                    color=colour,
                    marker=marker,
                    markersize=3,
                    linewidth=1,
                    alpha=0.5,
                )
            ends = [points[-1] for points in own]
            axis.plot(
                sum(end[key] for end in ends) / len(ends),
                sum(end["accuracy"] for end in ends) / len(ends),
                color=colour,
                marker=marker,
                markersize=9,
                linestyle="none",
                label=name,
            )
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("greedy accuracy, held-out problems")
    axes[1].legend(loc="lower right", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
