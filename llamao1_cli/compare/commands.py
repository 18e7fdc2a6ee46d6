"""`llamao1 compare`: run the cells, print the table, write figures and picture."""

import json
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from llamao1_cli.compare.cells import Cell, run_cells
from llamao1_cli.compare.figures import (
    CurvePoint,
    as_curve,
    at_chosen_rates,
    compared,
    costs_to_heights,
    curve,
    figures,
    rate_figures,
)
from llamao1_cli.compare.picture import comparison_picture
from llamao1_cli.compare.ratios import Curves
from llamao1_cli.compare.tables import NOTE, cost_table, rate_table, ratio_table, result_table
from llamao1_cli.compare.variants import Budget, Variant, cell_config
from llamao1_cli.config import Config
from llamao1_cli.config.registry import ALGORITHMS
from llamao1_cli.distributed.interrupts import Interrupts
from llamao1_cli.errors import InterruptedRunError, UserError
from llamao1_cli.files.whole import write_whole
from llamao1_cli.report.display import Display


def compare(
    config: Config, variants: list[Variant], seeds: list[int], budget: Budget, out: Path
) -> None:
    """Train what is missing, then write comparison.json, comparison.md and curves.svg to `out`.

    Raises UserError for settings that do not make a comparison.
    """
    _check(config, variants, seeds, budget, out)
    display, interrupts = Display(), Interrupts()
    try:
        with interrupts.listening():
            cells = run_cells(config, variants, seeds, budget, out, display.say)
    except InterruptedRunError as stop:
        raise InterruptedRunError(stop.signum, "the same command goes on from there") from None
    machine = _machine(config)
    points = {cell: curve(cell) for cell in cells}
    result = _results(points, variants[0].name, budget)
    result = {"machine": machine, "budget": vars(budget)} | result
    write_whole(out / "comparison.json", json.dumps(result, indent=1) + "\n")
    shown = _tables(result)
    write_whole(out / "comparison.md", shown + "\n")
    chosen = at_chosen_rates(result["cells"], result["rates"])
    write_whole(out / "curves.svg", comparison_picture(chosen, result["costs"]["heights"]))
    display.say(shown)
    display.say(f"{out}: comparison.json, comparison.md, curves.svg; {machine}")


def _results(
    points: Mapping[Cell, Sequence[CurvePoint]], baseline: str, budget: Budget
) -> dict[str, Any]:
    """Returns all figures, ready for JSON; variants are compared at their best learning rates."""
    each = [figures(cell, own, budget) for cell, own in points.items()]
    rates = rate_figures(each)
    chosen = at_chosen_rates(each, rates)
    kept = {(cell["name"], cell["rate"]) for cell in chosen}
    seeds: dict[int, Curves] = {}
    for cell, own in points.items():
        if (cell.name, cell.rate) in kept:
            seeds[cell.seed] = {**seeds.get(cell.seed, {}), cell.name: as_curve(own)}
    return {
        "rates": rates,
        "comparison": compared(chosen, baseline),
        "costs": costs_to_heights(seeds, baseline),
        "cells": each,
    }


def _tables(result: dict[str, Any]) -> str:
    """Returns what a comparison found, in Markdown."""
    chosen = at_chosen_rates(result["cells"], result["rates"])
    comparison, costs = result["comparison"], result["costs"]
    parts = [result_table(chosen, comparison), cost_table(chosen, costs)]
    if len(comparison["variants"]) > 1:
        parts.append(ratio_table(costs, comparison["baseline"]))
    if any(len(own) > 1 for own in result["rates"].values()):
        parts.append(rate_table(result["rates"]))
    return "\n\n".join([*parts, NOTE])


def _machine(config: Config) -> str:
    """Returns what the runs ran on."""
    if torch.cuda.is_available() and config.model.device != "cpu":
        return torch.cuda.get_device_name()
    threads = config.run.threads or torch.get_num_threads()
    return f"{threads} CPU threads, {platform.machine()}"


def _check(
    config: Config, variants: list[Variant], seeds: list[int], budget: Budget, out: Path
) -> None:
    names, algorithms = [v.label for v in variants], {v.algorithm for v in variants}
    if not variants:
        raise UserError(f"--algorithms: nothing: give some of {', '.join(ALGORITHMS)}")
    if not seeds or min(seeds) < 0:
        raise UserError("--seeds: give numbers of 0 and more, such as 0,1,2")
    if len({*names}) < len(names) or len({*seeds}) < len(seeds):
        raise UserError("--algorithms, --variant, --rates and --seeds: name each once")
    limits = (budget.seconds, budget.tokens)
    if not all(math.isfinite(limit) for limit in limits) or max(limits) <= 0:
        raise UserError("give --budget-seconds or --budget-tokens: what each run may spend")
    if "greedy" not in config.eval.strategies:
        raise UserError("eval.strategies: add greedy, which is what is compared")
    flat = [name for name, entry in ALGORITHMS.items() if entry.flat]
    if algorithms & {*flat} and config.search.algorithm not in ("forks", "distinct"):
        raise UserError(
            f"--algorithms: {', '.join(flat)} sample as many solutions as search.chains and "
            "search.forks, or search.solutions, say; set search.algorithm: forks or distinct"
        )
    for name in algorithms:
        if not ALGORITHMS[name].plays and config.warmup is None:
            raise UserError(f"--algorithms: {name} needs the section `warmup`")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out: {out} is a file; name a folder")
    for variant in variants:
        cell_config(config, variant, seeds[0], budget, out)
