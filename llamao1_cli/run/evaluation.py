"""The evaluations of a run: each is made once, and kept in the run folder."""

import json
from pathlib import Path
from typing import Any

from llamao1_cli.distributed.ranks import main_says
from llamao1_cli.errors import UserError
from llamao1_cli.files.whole import write_whole
from llamao1_cli.report.display import Display
from llamao1_cli.run.assembly import Parts


def evaluate_once(parts: Parts, path: Path, iteration: int, display: Display) -> dict[str, Any]:
    """Returns the evaluation kept at `path`; where there is none yet, it is made and kept.

    Raises UserError for a file that holds something else.
    """
    if main_says(parts.accelerator, path.exists()):
        return _stored(path)
    with display.rounds("evaluation") as on_growth:
        result = parts.evaluate(lambda name, trees: on_growth(trees))
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
