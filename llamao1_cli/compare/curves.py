"""Figures of learning curves: where they end, the area below them, and what it costs to stay above
a height.

A curve is the greedy accuracy on the same held-out problems at growing costs, first at cost 0.
Between its points it is taken to be straight. Accuracies may have leading dimensions: many curves
over the same costs, such as the resamples of one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Heights of a seed, in shares of the way from the start to the best end of any variant.
WAYS = {"1/2": 0.5, "3/4": 0.75, "9/10": 0.9}
LAST = 3  # points that make the end of a curve
NEVER = math.inf  # the cost of a height above which a curve does not stay
ROUNDING = 1e-9  # less than that is no difference of accuracies
NEAR_END = 0.02  # of accuracy: rates whose ends are that near are chosen among by area


@dataclass(frozen=True)
class Curve:
    """The evaluations of one run, in order."""

    costs: dict[str, np.ndarray]  # `seconds` and `tokens` spent until then, each [points]
    right: np.ndarray  # [points, problems]: 1 where greedy was right


def end(accuracies: np.ndarray) -> np.ndarray:
    """Returns the mean of the last three points of curves `[…, points]`; the start, which is no
    part of the end, counts only where there is nothing else."""
    learned = accuracies[..., 1:] if accuracies.shape[-1] > 1 else accuracies
    return np.asarray(learned[..., -LAST:].mean(axis=-1))


def area(costs: np.ndarray, accuracies: np.ndarray, budget: float) -> float:
    """Returns the mean height of one curve over the costs from 0 to `budget`; where it ends before
    that, it goes on as it ended."""
    inner = costs[costs < budget]
    grid = np.append(inner, budget)
    return float(np.trapezoid(np.interp(grid, costs, accuracies), grid) / budget)


def heights(start: np.ndarray, best_end: np.ndarray) -> np.ndarray:
    """Returns the heights `[…, ways]` between starts and best ends; where nothing was gained there
    are none, and infinity stands for them."""
    gain = (best_end - start)[..., None]
    return np.where(gain > ROUNDING, start[..., None] + gain * [*WAYS.values()], math.inf)


def stays_above(costs: np.ndarray, accuracies: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Returns the costs `[…, levels]` from which on curves `[…, points]` do not lie below
    `levels`, `[…, levels]`; NEVER where their last point does."""
    below = accuracies[..., None, :] < levels[..., None] - ROUNDING
    last = len(costs) - 1 - np.argmax(below[..., ::-1], axis=-1)  # the last point below
    after = np.minimum(last + 1, len(costs) - 1)
    low, high = (np.take_along_axis(accuracies, points, axis=-1) for points in (last, after))
    rise = np.where(high > low, high - low, 1.0)
    with np.errstate(invalid="ignore"):  # levels that are infinite are never reached
        share = np.minimum((levels - low) / rise, 1.0)
        met = costs[last] + share * (costs[after] - costs[last])
    met = np.where(below[..., -1], NEVER, met)
    return np.where(below.any(axis=-1), met, costs[0])


def best_rate(areas: dict[float, float], ends: dict[float, float]) -> float:
    """Returns the learning rate with the largest area among those whose ends are within 0.02 of
    the best end."""
    enough = max(ends.values()) - NEAR_END - ROUNDING
    return max((rate for rate in areas if ends[rate] >= enough), key=lambda rate: areas[rate])


def mean_curve(
    curves: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the costs at which any of the curves (costs, accuracies) has a point, up to the end
    of the shortest, and the accuracies `[curves, costs]` there."""
    shortest = min(costs[-1] for costs, _ in curves)
    grid = np.unique(np.concatenate([costs for costs, _ in curves]))
    grid = grid[grid <= shortest]
    return grid, np.stack([np.interp(grid, costs, shares) for costs, shares in curves])
