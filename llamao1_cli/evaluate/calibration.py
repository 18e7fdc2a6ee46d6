"""How well values foretell outcomes: ranking, squared error, and reliability."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from llamao1_cli.evaluate.intervals import auc, auc_within
from llamao1_cli.search.tree import Node, Tree

BINS = 10  # of equal width, in a reliability diagram

Estimate = Callable[[Node], float]  # of the probability that a path through the node ends right


def value_quality(
    trees: Sequence[Tree], outcomes: Sequence[Sequence[bool]], estimate: Estimate
) -> dict[str, Any]:
    """Returns how well estimates at the ends of samples foretell their outcomes, of which there is
    a row a tree, in the order of its leaves."""
    return _quality([[estimate(leaf) for leaf in tree.leaf_nodes()] for tree in trees], outcomes)


def step_quality(
    trees: Sequence[Tree], outcomes: Sequence[Sequence[bool]], estimate: Estimate
) -> dict[str, Any]:
    """Returns how well estimates at all thoughts foretell the outcomes of the samples they are in.

    Beside the figures of `value_quality` there are `ece`, the expected calibration error, and the
    `bins` of a reliability diagram. A thought counts once for each sample that goes through it; the
    root does not count.
    """
    values: list[list[float]] = []
    truth: list[list[bool]] = []
    for tree, row in zip(trees, outcomes, strict=True):
        paths = [tree.path(leaf)[1:] for leaf in tree.leaf_nodes()]
        values.append([estimate(step) for path in paths for step in path])
        truth.append([right for path, right in zip(paths, row, strict=True) for _ in path])
    bins = reliability(_flat(values), _flat(truth))
    return _quality(values, truth) | {"ece": calibration_error(bins), "bins": bins}


def reliability(values: np.ndarray, truth: np.ndarray) -> list[dict[str, Any]]:
    """Returns the bins of a reliability diagram: `low` and `high` ends, number `n` of items, their
    mean `value` and the share that is `right`; empty bins are left out."""
    numbers = np.minimum((values * BINS).astype(int), BINS - 1)
    bins = []
    for number in np.unique(numbers):
        inside = numbers == number
        bins.append(
            {
                "low": int(number) / BINS,
                "high": (int(number) + 1) / BINS,
                "n": int(inside.sum()),
                "value": float(values[inside].mean()),
                "right": float(truth[inside].mean()),
            }
        )
    return bins


def calibration_error(bins: Sequence[dict[str, Any]]) -> float | None:
    """Returns the mean distance of value and share that is right over the bins, weighted by their
    items (Guo et al. 2017); None without any."""
    total = sum(row["n"] for row in bins)
    return (
        sum(row["n"] * abs(row["value"] - row["right"]) for row in bins) / total if total else None
    )


def _quality(values: Sequence[Sequence[float]], truth: Sequence[Sequence[bool]]) -> dict[str, Any]:
    """Returns the scores of estimates, a row a problem; None each where there are no items.

    `brier_constant` is the Brier score of always saying the mean; `auc_within` compares right and
    wrong items of the same problem only.
    """
    flat, right = _flat(values), _flat(truth)
    known = len(right) > 0
    return {
        "auc": auc(flat, right),
        "auc_within": auc_within(values, truth),
        "brier": float(np.mean((flat - right) ** 2)) if known else None,
        "brier_constant": float(np.mean((right.mean() - right) ** 2)) if known else None,
        "n": len(right),
    }


def _flat(rows: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array([item for row in rows for item in row], float)
