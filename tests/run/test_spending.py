"""What a run has spent, and when that is the end."""

import time

import pytest
from accelerate import Accelerator

from llamao1_cli.config import RunConfig
from llamao1_cli.run.spending import Spending


def test_progress_is_that_of_what_runs_out_first() -> None:
    run = RunConfig(iterations=10, budget_seconds=50, budget_tokens=1000)
    spending = Spending(run, Accelerator(cpu=True))
    assert spending.progress(2) == pytest.approx(0.2)
    spending.seconds = 20.0
    assert spending.progress(2) == pytest.approx(0.4)
    spending.tokens = 900.0
    assert spending.progress(2) == pytest.approx(0.9)
    assert spending.progress(10) == pytest.approx(1.0)
    spending.tokens = 1300.0  # the replay's beta follows, and must not pass 1
    assert spending.progress(3) == 1.0
    free = Spending(RunConfig(iterations=4), Accelerator(cpu=True))
    free.seconds = free.tokens = 1e9
    assert free.progress(1) == pytest.approx(0.25)


def test_seconds_are_counted_by_phase_and_added_up() -> None:
    spending = Spending(RunConfig(), Accelerator(cpu=True))
    for _ in range(2):
        spending.begin()
        for _ in range(2):
            with spending.timed("rollout"):
                time.sleep(0.02)
        with spending.timed("grading"):
            time.sleep(0.01)
        spending.shift("rollout", -0.01)
        assert spending.phase("rollout") >= 0.03
        assert spending.phase("update") == 0.0
        seconds = spending.close()
        assert set(seconds) == {"rollout", "grading", "iteration", "spent"}
        assert 0.03 <= seconds["rollout"] < seconds["iteration"]
    assert seconds["spent"] == spending.seconds >= 0.1
    assert seconds["spent"] > seconds["iteration"]
    assert spending.phase("rollout") == 0.0
