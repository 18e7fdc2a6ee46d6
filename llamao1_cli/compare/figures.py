"""The results of the runs of a comparison, and how they differ on the same problems."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llamao1_cli.compare.cells import Cell
from llamao1_cli.evaluate.intervals import paired_difference
from llamao1_cli.report.tables import difference


@dataclass(frozen=True)
class CurvePoint:
    """Greedy accuracy on held-out problems after an iteration of a run."""

    iteration: int
    seconds: float  # spent on self-play and update until then
    tokens: float
    accuracy: float


def curve(cell: Cell) -> list[CurvePoint]:
    """Returns all evaluations of a run, in order."""
    spent = {0: (0.0, 0.0)}
    for row in rows(cell):
        spent[row["step"]] = (row["seconds"]["spent"], row["spent_tokens"])
    points = []
    for iteration, file in cell.folder.evaluations().items():
        result = json.loads(file.read_text(encoding="utf-8"))
        accuracy = result["strategies"]["greedy"]["accuracy"]
        points.append(CurvePoint(iteration, *spent[iteration], accuracy))
    return points


def rows(cell: Cell) -> list[dict[str, Any]]:
    """Returns the metrics of a run's iterations."""
    lines = cell.folder.metrics.read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["stage"] in ("self-play", "imitation")]


def last_evaluation(cell: Cell) -> dict[str, Any]:
    """Returns the evaluation at the end of a run."""
    file = list(cell.folder.evaluations().values())[-1]
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return result


def figures(cell: Cell) -> dict[str, Any]:
    """Returns one cell, ready for JSON: accuracy after, cost, and the shape of its trees."""
    played = [row for row in rows(cell) if row["stage"] == "self-play"]
    evaluation, points = last_evaluation(cell), curve(cell)
    tokens = sum(row["generated_tokens"] for row in played)
    return {
        "name": cell.name,
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
        "iterations": points[-1].iteration,
        "seconds": points[-1].seconds,
        "tokens": points[-1].tokens,
        "leaves_a_kilotoken": 1000 * sum(row["leaves"] for row in played) / max(tokens, 1.0),
        "mixed_trees": float(np.mean([row["mixed_trees"] for row in played])) if played else None,
        "curve": [vars(point) for point in points],
    }


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


def table(cells: Sequence[dict[str, Any]], comparison: dict[str, Any]) -> str:
    """Returns the comparison as a Markdown table; accuracies are greedy on held-out problems."""
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
        own = [cell for cell in cells if cell["name"] == name]
        shown = " | ".join(f"{result['greedy'][seed]:.3f}" for seed in seeds)
        gap = "" if name == comparison["baseline"] else difference(result["difference"])
        lines.append(
            f"| {name} | {shown} | {result['mean']['greedy']:.3f} | {gap} "
            f"| {_mean(own, 'seconds'):,.0f} | {_mean(own, 'tokens'):,.0f} | {_tree_cells(own)} |"
        )
    return "\n".join(lines)


def _tree_cells(cells: Sequence[dict[str, Any]]) -> str:
    """Returns leaves a thousand tokens and the share of mixed trees, empty without self-play."""
    if any(cell["mixed_trees"] is None for cell in cells):
        return "|"
    return f"{_mean(cells, 'leaves_a_kilotoken'):.1f} | {_mean(cells, 'mixed_trees'):.2f}"


def _mean(cells: Sequence[dict[str, Any]], name: str) -> float:
    return float(np.mean([cell[name] for cell in cells]))
