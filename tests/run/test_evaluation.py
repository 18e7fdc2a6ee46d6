"""When a run is evaluated: exact on resume, and without a trace in what is learned."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import Config, EvalConfig
from llamao1_cli.config.file import load_config
from llamao1_cli.errors import InterruptedRunError
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.run import commands
from llamao1_cli.run.evaluation import due_strategies
from llamao1_cli.run.trainer import RLSPTrainer

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"
POINTS = ["run.iterations=50", "run.budget_tokens=4000", "eval.points=3", "eval.problems=4"]


def evaluated(config: EvalConfig, progress: Sequence[float]) -> list[int]:
    """The iterations after which an evaluation is due, of a run that went on like this."""
    steps = [(0.0, 0.0), *pairwise(progress)]
    return [number for number, step in enumerate(steps) if due_strategies(config, number, *step)]


def test_points_lie_evenly_over_the_progress() -> None:
    tenths = [number / 10 for number in range(10)]
    assert evaluated(EvalConfig(), tenths) == [0]
    assert evaluated(EvalConfig(points=9), tenths) == list(range(10))
    assert evaluated(EvalConfig(points=4), tenths) == [0, 2, 4, 6, 8]
    assert evaluated(EvalConfig(points=1), [0.0, 0.2, 0.4, 0.7, 0.9]) == [0, 3]
    assert evaluated(EvalConfig(points=4), [0.0, 0.19, 0.65, 0.66]) == [0, 2]  # passes three
    hundredths = [number / 100 for number in range(100)]
    assert evaluated(EvalConfig(points=99), hundredths) == list(range(100))


def test_points_are_greedy_alone_and_every_keeps_all_strategies() -> None:
    config = EvalConfig(every=2, points=1, strategies=["majority"])
    assert due_strategies(config, 0, 0.0, 0.0) == ["majority"]
    assert due_strategies(config, 1, 0.4, 0.6) == ["greedy"]
    assert due_strategies(config, 2, 0.4, 0.6) == ["majority"]
    assert due_strategies(config, 3, 0.6, 0.8) == []


@given(
    st.integers(1, 20),
    st.lists(st.floats(0.001, 1.0), min_size=1, max_size=60).map(
        lambda steps: [sum(steps[:end]) / sum(steps) for end in range(len(steps))]
    ),
)
def test_every_point_is_measured_by_the_first_iteration_that_passes_it(
    points: int, progress: list[float]
) -> None:
    marks = [mark / (points + 1) for mark in range(1, points + 1)]
    first = {
        next(number for number, share in enumerate(progress) if share >= mark - 1e-9)
        for mark in marks
        if progress[-1] >= mark - 1e-9
    }
    assert evaluated(EvalConfig(points=points), progress) == sorted({0} | first)


def tiny_run(folder: Path, *overrides: str) -> Config:
    strategies = "eval.strategies=[greedy,majority]"
    return load_config(TINY, [f"run.dir={folder}", strategies, *POINTS, *overrides])


def fit(config: Config, *, resume: bool = False) -> None:
    commands.train(config, trees=None, resume=resume, overwrite=False)


def measured(folder: Path) -> dict[int, Any]:
    """The accuracies of all evaluations, by iteration and strategy."""
    return {
        number: {
            name: figures["right"]
            for name, figures in json.loads(file.read_text())["strategies"].items()
        }
        for number, file in RunFolder(folder).evaluations().items()
    }


def logged(folder: Path) -> list[dict[str, Any]]:
    rows = map(json.loads, RunFolder(folder).metrics.read_text().splitlines())
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_a_run_that_stopped_is_evaluated_where_one_that_did_not_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, resumed, plain = (tmp_path / name for name in ("whole", "resumed", "plain"))
    fit(tiny_run(whole))
    expected = measured(whole)
    first, *between, last = expected
    assert first == 0
    assert between != [1, 2, 3]  # there are iterations after which nothing is due
    assert len(between) == 3
    assert all(list(expected[number]) == ["greedy"] for number in between)
    assert list(expected[last]) == list(expected[0]) == ["greedy", "majority@2"]

    evaluate = RLSPTrainer._evaluate

    def stop_first(self: RLSPTrainer, strategies: Sequence[str]) -> dict[str, Any]:
        if self._iteration in stops:  # the checkpoint is written, the evaluation is not
            stops.remove(self._iteration)
            raise InterruptedRunError(15)
        return evaluate(self, strategies)

    stops = [*between]
    with monkeypatch.context() as patch:
        patch.setattr(RLSPTrainer, "_evaluate", stop_first)
        for attempt in range(len(between)):
            with pytest.raises(InterruptedRunError):
                fit(tiny_run(resumed), resume=attempt > 0)
    fit(tiny_run(resumed), resume=True)
    assert measured(resumed) == expected
    assert logged(resumed) == logged(whole)

    fit(tiny_run(plain, "eval.points=0"))
    assert logged(plain) == logged(whole)  # what is measured leaves no trace, and costs nothing
    assert list(measured(plain)) == [0, last]
