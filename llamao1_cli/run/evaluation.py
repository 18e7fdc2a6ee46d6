"""The evaluations of a run: each is made once, and kept in the run folder."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llamao1_cli.config import EvalConfig
from llamao1_cli.distributed.ranks import main_says
from llamao1_cli.errors import UserError
from llamao1_cli.files.whole import write_whole
from llamao1_cli.report.display import Display
from llamao1_cli.run.assembly import Parts


def due_strategies(
    config: EvalConfig, iteration: int, before: float, after: float
) -> Sequence[str]:
    """Returns the strategies to evaluate after an iteration that is not the last, none if no
    evaluation is due; the iteration took the run's progress from `before` to `after`, in [0, 1]."""
    if iteration == 0 or (config.every and iteration % config.every == 0):
        return config.strategies
    # A little more, so that 0.29 of a hundred parts are 29 of them.
    passed = [math.floor(share * (config.points + 1) + 1e-9) for share in (before, after)]
    return ["greedy"] if config.points and passed[1] > passed[0] else []


def evaluate_once(
    parts: Parts, path: Path, iteration: int, strategies: Sequence[str], display: Display
) -> dict[str, Any]:
    """Returns the evaluation kept at `path`; where there is none yet, it is made of `strategies`
    and kept.

    Raises UserError for a file that holds something else.
    """
    if main_says(parts.accelerator, path.exists()):
        return _stored(path)
    with display.rounds("evaluation") as on_growth:
        result = parts.evaluate(strategies, lambda name, trees: on_growth(trees))
    if parts.accelerator.is_main_process:
        write_whole(path, json.dumps(result, indent=1) + "\n")
        display.evaluation(iteration, result)
    parts.accelerator.wait_for_everyone()
    return result


def _stored(path: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not an evaluation: {error}; delete it") from None
    return result
