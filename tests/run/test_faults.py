"""What goes wrong around a run: losses that explode, and clocks that jump."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamao1_cli.config.file import load_config
from llamao1_cli.errors import RunFailedError
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.run import commands

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"


def fit(folder: Path, *overrides: str) -> list[dict[str, Any]]:
    """Trains; gives the rows of its metrics."""
    small = [f"run.dir={folder}", "run.iterations=1", "eval.strategies=[greedy]"]
    config = load_config(TINY, [*small, "eval.problems=1", *overrides])
    commands.train(config, trees=None, resume=False, overwrite=False)
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("rate", "batch", "left"),
    [
        ("warmup.learning_rate=1e30", r"warm-up step \d", []),
        ("learn.learning_rate=1e30", r"iteration 1, trees \[\d, \d\]", ["iteration-000000"]),
    ],
)
def test_a_loss_that_is_not_finite_names_its_batch(
    tmp_path: Path, rate: str, batch: str, left: list[str]
) -> None:
    with pytest.raises(RunFailedError, match=rf"not finite in {batch}; nothing was updated"):
        fit(tmp_path / "run", rate, "learn.ramp_iterations=0")
    checkpoints = RunFolder(tmp_path / "run").checkpoints
    assert [path.name for path in checkpoints.glob("*")] == left


def test_a_clock_that_jumps_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, honest = np.random.default_rng(0), time.time
    steady = fit(tmp_path / "steady")
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: honest() + float(rng.uniform(-1e7, 1e7)))
        jumping = fit(tmp_path / "jumping", "run.budget_seconds=1000")
    spent = [list(row.pop("seconds", {}).values()) for row in (*steady, *jumping)]
    assert all(0 <= seconds < 1000 for row in spent for seconds in row)
    assert jumping == steady
