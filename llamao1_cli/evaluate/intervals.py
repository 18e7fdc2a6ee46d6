"""Pure functions of outcomes: intervals, pass@k, areas under curves."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Z95 = 1.959963984540054  # two-sided 95% quantile of the normal distribution


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """Returns Wilson's 95% interval of a proportion (Wilson 1927); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    share, square = successes / trials, Z95**2 / trials
    centre = (share + square / 2) / (1 + square)
    spread = Z95 * math.sqrt(share * (1 - share) / trials + square / (4 * trials)) / (1 + square)
    # At the ends the interval touches them but for rounding.
    low = 0.0 if successes == 0 else max(0.0, centre - spread)
    high = 1.0 if successes == trials else min(1.0, centre + spread)
    return low, high


def mean_interval(scores: Sequence[float]) -> tuple[float, float]:
    """Returns the normal 95% interval of a mean of scores in [0, 1]; (0, 1) for fewer than two."""
    if len(scores) < 2:
        return 0.0, 1.0
    mean = float(np.mean(scores))
    spread = Z95 * float(np.std(scores, ddof=1)) / math.sqrt(len(scores))
    return max(0.0, mean - spread), min(1.0, mean + spread)


def paired_difference(first: ArrayLike, second: ArrayLike) -> dict[str, Any]:
    """Returns how far the scores of `first` lie above those of `second` on the same n items:
    `difference`, its 95% interval `ci95`, and `n`.

    Scores are in [0, 1], `[n]`, or `[S, n]` of S seeds, over which they are averaged item by item:
    the interval covers other items with these seeds, not other seeds. It is the normal interval of
    the mean over the items and two more: one of difference 0, and one that is half 1 and half -1.
    For one seed of right and wrong this adds half an item to each cell of the table (Agresti and
    Min 2005), so that a few items without a disagreement do not prove that there is none.
    """
    gaps = np.atleast_2d(np.subtract(first, second, dtype=float)).mean(axis=0)
    total = len(gaps) + 2
    mean = float(gaps.sum()) / total
    variance = (float(gaps @ gaps) + 1) / total - mean**2
    spread = Z95 * math.sqrt(variance / total)
    return {
        "difference": float(gaps.mean()),
        "ci95": [max(-1.0, mean - spread), min(1.0, mean + spread)],
        "n": len(gaps),
    }


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Returns the unbiased chance that one of k samples is right, 1 - C(n - c, k) / C(n, k) (Chen
    et al. 2021).

    Raises ValueError for k beyond the samples.
    """
    if not 0 < k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples, not {samples}")
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def auc(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """Returns the chance that a right item scores above a wrong one, ties half; None without both
    kinds."""
    right, wrong = scores[truth > 0.5], scores[truth <= 0.5]
    if not len(right) or not len(wrong):
        return None
    ordered = np.sort(wrong)
    below = np.searchsorted(ordered, right, side="left")
    not_above = np.searchsorted(ordered, right, side="right")
    return float(np.mean(below + not_above) / (2 * len(wrong)))


def auc_within(scores: Sequence[Sequence[float]], truth: Sequence[Sequence[bool]]) -> float | None:
    """Returns the mean AUC over the groups that hold both right and wrong items; None if none
    does."""
    areas = [
        auc(np.array(row), np.array(labels, float))
        for row, labels in zip(scores, truth, strict=True)
    ]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known else None
