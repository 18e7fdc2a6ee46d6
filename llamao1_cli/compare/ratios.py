"""What variants spend until their curves stay above heights, in shares of what a baseline spends.

A curve that does not stay above a height counts as its run's whole cost there, which is less than
what the height would have taken. Intervals are those of a paired bootstrap (Efron and Tibshirani
1993) over seeds and problems: seeds are drawn again, and for each of them problems, the same ones
at all points of all variants; curves, heights and costs follow from these.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from llamao1_cli.compare.curves import NEVER, WAYS, Curve, end, heights, stays_above

COSTS = ("tokens", "seconds")
RESAMPLES = 2000

Curves = Mapping[str, Curve]  # of one seed, by variant
CostsOf = dict[tuple[str, str], np.ndarray]  # `[…, ways]` by cost and variant


def levels(curves: Curves, weights: np.ndarray) -> np.ndarray:
    """Returns the heights `[resamples, ways]` of a seed; `weights`, `[resamples, problems]`, are
    the shares that problems have in the resamples."""
    accuracies = [weights @ curve.right.T for curve in curves.values()]
    best = np.max([end(each) for each in accuracies], axis=0)
    return heights(accuracies[0][:, 0], best)


def costs_above(curves: Curves, weights: np.ndarray) -> CostsOf:
    """Returns what each variant spends on a seed until it stays above each height; NEVER where it
    does not. `weights` are those of `levels`."""
    high = levels(curves, weights)
    return {
        (cost, name): stays_above(curve.costs[cost], weights @ curve.right.T, high)
        for cost in COSTS
        for name, curve in curves.items()
    }


def log_ratios(curves: Curves, baseline: str, weights: np.ndarray) -> CostsOf:
    """Returns the logarithms of the costs' ratios to those of the baseline on the seed."""
    logs = {
        (cost, name): np.log(np.where(above == NEVER, curves[name].costs[cost][-1], above))
        for (cost, name), above in costs_above(curves, weights).items()
    }
    return {(cost, name): own - logs[cost, baseline] for (cost, name), own in logs.items()}


def equal_weights(curves: Curves) -> np.ndarray:
    """Returns the weights that count every problem once, `[1, problems]`."""
    problems = next(iter(curves.values())).right.shape[1]
    return np.full((1, problems), 1 / problems)


def ratios(seeds: Mapping[int, Curves], baseline: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns by variant, cost and way the `ratio` to the baseline, a geometric mean over seeds,
    its 95% interval `ci95`, and the numbers of seeds on which the variant (`never`) and the
    baseline (`baseline_never`) do not stay above the height."""
    each = [log_ratios(curves, baseline, equal_weights(curves)) for curves in seeds.values()]
    never = _never(seeds)
    drawn = resampled(seeds, baseline)
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for cost, name in never:
        ratio = np.exp(np.mean([logs[cost, name][0] for logs in each], axis=0))
        low, high = np.exp(np.percentile(drawn[cost, name], [2.5, 97.5], axis=0))
        result.setdefault(name, {})[cost] = {
            way: {
                "ratio": float(ratio[index]),
                "ci95": [float(low[index]), float(high[index])],
                "never": int(never[cost, name][index]),
                "baseline_never": int(never[cost, baseline][index]),
            }
            for index, way in enumerate(WAYS)
        }
    return result


def resampled(seeds: Mapping[int, Curves], baseline: str, resamples: int = RESAMPLES) -> CostsOf:
    """Returns the bootstrap's mean logarithms of the ratios, always the same draws."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(seeds), size=(resamples, len(seeds)))
    sums: CostsOf = {}
    for index, curves in enumerate(seeds.values()):
        times = np.sum(drawn == index, axis=1)
        owner = np.repeat(np.arange(resamples), times)  # the resample that each draw belongs to
        problems = equal_weights(curves)[0]
        weights = rng.multinomial(len(problems), problems, size=len(owner)) / len(problems)
        for key, logs in log_ratios(curves, baseline, weights).items():
            total = sums.setdefault(key, np.zeros((resamples, len(WAYS))))
            np.add.at(total, owner, logs)
    return {key: total / len(seeds) for key, total in sums.items()}


def _never(seeds: Mapping[int, Curves]) -> CostsOf:
    """Returns the numbers of seeds, `[ways]`, on which variants do not stay above heights."""
    each = [costs_above(curves, equal_weights(curves)) for curves in seeds.values()]
    return {key: np.sum([above[key][0] == NEVER for above in each], axis=0) for key in each[0]}
