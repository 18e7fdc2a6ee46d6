"""Trackers: one that cannot start stops a run that has not begun, and none ends one under way."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from llamao1_cli.errors import UserError
from llamao1_cli.run.tracking import Metrics, Tracker, make_sinks


class Failing:
    """A service that goes away."""

    def __init__(self) -> None:
        self.calls = 0

    def log(self, metrics: Metrics, step: int) -> None:
        self.calls += 1
        raise ConnectionError("no route\nto host")

    def close(self) -> None:
        self.calls += 1
        raise ConnectionError("no route to host")


class Kept:
    """A service that stays."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def log(self, metrics: Metrics, step: int) -> None:
        self.seen.append(step)

    def close(self) -> None:
        self.seen.append(-1)


def test_a_tracker_that_fails_is_warned_of_once_and_the_others_go_on(tmp_path: Path) -> None:
    failing, kept, warnings = Failing(), Kept(), []
    sinks = {"wandb": failing, "tensorboard": kept}
    tracker = Tracker(tmp_path / "metrics.jsonl", sinks, warnings.append)
    for step in (1, 2, 3):
        tracker.log("warmup", step, {"loss": 0.5})
    tracker.close()
    (warning,) = warnings
    assert "run.trackers: wandb failed" in warning
    assert "ConnectionError: no route to host; metrics.jsonl has everything" in warning
    assert failing.calls == 1
    assert kept.seen == [1, 2, 3, -1]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


def test_a_tracker_that_fails_at_the_end_ends_nothing(tmp_path: Path) -> None:
    warnings: list[str] = []
    Tracker(tmp_path / "metrics.jsonl", {"wandb": Failing()}, warnings.append).close()
    assert len(warnings) == 1


def test_a_tracker_that_cannot_start_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**settings: object) -> None:
        raise RuntimeError("api_key not configured (no-tty).\ncall wandb.login(key=...)")

    wandb = ModuleType("wandb")
    wandb.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    with pytest.raises(UserError, match=r"^run\.trackers: wandb cannot start: .*no-tty") as error:
        make_sinks(["wandb"], tmp_path, {})
    assert "leave wandb out of run.trackers" in str(error.value)
    assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'llamao1-cli\[wandb\]'"):
        make_sinks(["wandb"], tmp_path, {})
