"""The results of the runs of a comparison, and how they differ on the same problems."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llamao1_cli.compare.cells import Cell
from llamao1_cli.compare.curves import NEVER, WAYS, Curve, area, best_rate, end
from llamao1_cli.compare.ratios import COSTS, Curves, costs_above, equal_weights, levels, ratios
from llamao1_cli.compare.variants import Budget
from llamao1_cli.evaluate.intervals import paired_difference


@dataclass(frozen=True)
class CurvePoint:
    """Greedy accuracy on held-out problems after an iteration of a run."""

    iteration: int
    seconds: float  # spent on self-play and update until then
    tokens: float
    accuracy: float
    right: list[float]  # by problem


def curve(cell: Cell) -> list[CurvePoint]:
    """Returns all evaluations of a run, in order."""
    spent = {0: (0.0, 0.0)}
    for row in rows(cell):
        spent[row["step"]] = (row["seconds"]["spent"], row["spent_tokens"])
    points = []
    for iteration, file in cell.folder.evaluations().items():
        greedy = json.loads(file.read_text(encoding="utf-8"))["strategies"]["greedy"]
        point = CurvePoint(iteration, *spent[iteration], greedy["accuracy"], greedy["right"])
        points.append(point)
    return points


def as_curve(points: Sequence[CurvePoint]) -> Curve:
    """Returns the points as arrays."""
    costs = {cost: np.array([getattr(point, cost) for point in points]) for cost in COSTS}
    return Curve(costs, np.array([point.right for point in points], float))


def rows(cell: Cell) -> list[dict[str, Any]]:
    """Returns the metrics of a run's iterations."""
    lines = cell.folder.metrics.read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["stage"] in ("self-play", "imitation")]


def last_evaluation(cell: Cell) -> dict[str, Any]:
    """Returns the evaluation at the end of a run."""
    file = list(cell.folder.evaluations().values())[-1]
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return result


def figures(cell: Cell, points: Sequence[CurvePoint], budget: Budget) -> dict[str, Any]:
    """Returns one cell, ready for JSON: accuracy after, its curve, cost, and the shape of its
    trees."""
    played = [row for row in rows(cell) if row["stage"] == "self-play"]
    evaluation = last_evaluation(cell)
    tokens = sum(row["generated_tokens"] for row in played)
    costs = as_curve(points).costs[budget.axis]
    accuracies = np.array([point.accuracy for point in points])
    return {
        "name": cell.name,
        "rate": cell.rate,
        "seed": cell.seed,
        "before": points[0].accuracy,
        "accuracy": {
            name: strategy["accuracy"] for name, strategy in evaluation["strategies"].items()
        },
        "right": {
            name: strategy["right"]
            for name, strategy in evaluation["strategies"].items()
            if "right" in strategy
        },
        "end": float(end(accuracies)),
        "area": area(costs, accuracies, budget.amount),
        "iterations": points[-1].iteration,
        "seconds": points[-1].seconds,
        "tokens": points[-1].tokens,
        "leaves_a_kilotoken": 1000 * sum(row["leaves"] for row in played) / max(tokens, 1.0),
        "mixed_trees": float(np.mean([row["mixed_trees"] for row in played])) if played else None,
        "curve": [
            {name: value for name, value in vars(point).items() if name != "right"}
            for point in points
        ],
    }


def rate_figures(cells: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Returns for each variant its learning rates, with area and end as means over seeds; the best
    of them is `chosen`."""
    by_name: dict[str, dict[float, list[dict[str, Any]]]] = {}
    for cell in cells:
        by_name.setdefault(cell["name"], {}).setdefault(cell["rate"], []).append(cell)
    result = {}
    for name, rates in by_name.items():
        areas, ends = (
            {rate: float(np.mean([cell[key] for cell in own])) for rate, own in rates.items()}
            for key in ("area", "end")
        )
        best = best_rate(areas, ends)
        result[name] = [
            {"rate": rate, "area": areas[rate], "end": ends[rate], "chosen": rate == best}
            for rate in rates
        ]
    return result


def at_chosen_rates(
    cells: Sequence[dict[str, Any]], rates: Mapping[str, Sequence[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Returns the cells of each variant's best learning rate."""
    best = {(name, row["rate"]) for name, own in rates.items() for row in own if row["chosen"]}
    return [cell for cell in cells if (cell["name"], cell["rate"]) in best]


def compared(cells: Sequence[dict[str, Any]], baseline: str) -> dict[str, Any]:
    """Returns the means over seeds of each variant, and its paired difference to the baseline.

    Raises KeyError if the baseline has no cell.
    """
    by_name: dict[str, dict[int, dict[str, Any]]] = {}
    for cell in cells:
        by_name.setdefault(cell["name"], {})[cell["seed"]] = cell
    result = {}
    for name, seeds in by_name.items():
        greedy = {seed: cell["accuracy"]["greedy"] for seed, cell in seeds.items()}
        right = [cell["right"]["greedy"] for cell in seeds.values()]
        yardstick = [by_name[baseline][seed]["right"]["greedy"] for seed in seeds]
        result[name] = {
            "greedy": greedy,
            "mean": {
                strategy: float(np.mean([cell["accuracy"][strategy] for cell in seeds.values()]))
                for strategy in next(iter(seeds.values()))["accuracy"]
            },
            "difference": paired_difference(right, yardstick)
            | {"seeds": np.subtract(right, yardstick).mean(axis=1).tolist()},
        }
    return {"baseline": baseline, "variants": result}


def costs_to_heights(seeds: Mapping[int, Curves], baseline: str) -> dict[str, Any]:
    """Returns the heights of each seed, what each variant spends until it stays above them (None:
    it never does), and the ratios of that to the baseline."""
    whole = {seed: equal_weights(curves) for seed, curves in seeds.items()}
    high = {seed: levels(curves, whole[seed])[0] for seed, curves in seeds.items()}
    above = {seed: costs_above(curves, whole[seed]) for seed, curves in seeds.items()}
    shares = ratios(seeds, baseline)
    return {
        "heights": {seed: _by_way(own) for seed, own in high.items()},
        "variants": {
            name: {
                cost: {seed: _by_way(above[seed][cost, name][0]) for seed in seeds}
                for cost in COSTS
            }
            | {"ratios": shares[name]}
            for name in shares
        },
    }


def _by_way(values: np.ndarray) -> dict[str, float | None]:
    """Returns a value for each way from the start to the best end; None for what is never met."""
    finite = (None if value == NEVER else float(value) for value in values)
    return dict(zip(WAYS, finite, strict=True))
