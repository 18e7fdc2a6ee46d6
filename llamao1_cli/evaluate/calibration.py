"""How well values foretell rewards: ranking, squared error, and reliability."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from llamao1_cli.evaluate.intervals import auc, auc_within
from llamao1_cli.search.tree import Node, Tree

BINS = 10  # of equal width, in a reliability diagram

Estimate = Callable[[Node], float]  # of what a path through the node will earn


def value_quality(
    trees: Sequence[Tree],
    earned: Sequence[Sequence[float]],
    estimate: Estimate,
    solved_at: float = 1.0,
) -> dict[str, Any]:
    """Returns how well estimates at the ends of samples foretell their rewards, of which there is a
    row a tree, in the order of its leaves."""
    values = [[estimate(leaf) for leaf in tree.leaf_nodes()] for tree in trees]
    return _quality(values, earned, solved_at)


def step_quality(
    trees: Sequence[Tree],
    earned: Sequence[Sequence[float]],
    estimate: Estimate,
    solved_at: float = 1.0,
) -> dict[str, Any]:
    """Returns how well estimates at all thoughts foretell the rewards of the samples they are in.

    Beside the figures of `value_quality` there are `ece`, the expected calibration error, and the
    `bins` of a reliability diagram. A thought counts once for each sample that goes through it; the
    root does not count.
    """
    values: list[list[float]] = []
    truth: list[list[float]] = []
    for tree, row in zip(trees, earned, strict=True):
        paths = [tree.path(leaf)[1:] for leaf in tree.leaf_nodes()]
        values.append([estimate(step) for path in paths for step in path])
        truth.append([reward for path, reward in zip(paths, row, strict=True) for _ in path])
    bins = reliability(_flat(values), _flat(truth))
    return _quality(values, truth, solved_at) | {"ece": calibration_error(bins), "bins": bins}


def reliability(values: np.ndarray, truth: np.ndarray) -> list[dict[str, Any]]:
    """Returns the bins of a reliability diagram: `low` and `high` ends, number `n` of items, their
    mean `value` and their mean reward, `right`; empty bins are left out."""
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
    """Returns the mean distance of value and reward over the bins, weighted by their
    items (Guo et al. 2017); None without any."""
    total = sum(row["n"] for row in bins)
    return (
        sum(row["n"] * abs(row["value"] - row["right"]) for row in bins) / total if total else None
    )


def _quality(
    values: Sequence[Sequence[float]], earned: Sequence[Sequence[float]], solved_at: float
) -> dict[str, Any]:
    """Returns the scores of estimates, a row a problem; None each where there are no items.

    `brier_constant` is the Brier score of always saying the mean; the areas compare items that are
    solved with those that are not, `auc_within` those of the same problem only.
    """
    flat, rewards = _flat(values), _flat(earned)
    known = len(rewards) > 0
    return {
        "auc": auc(flat, rewards >= solved_at),
        "auc_within": auc_within(values, [[each >= solved_at for each in row] for row in earned]),
        "brier": float(np.mean((flat - rewards) ** 2)) if known else None,
        "brier_constant": float(np.mean((rewards.mean() - rewards) ** 2)) if known else None,
        "n": len(rewards),
    }


def _flat(rows: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array([item for row in rows for item in row], float)
