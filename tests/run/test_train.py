"""Whole runs of the tiny configuration: files, exact resume, interruption, stored trees."""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import InProcess
from safetensors.numpy import load_file
from two_ranks import CONTEXT, command_line

from llamao1_cli.config import Config
from llamao1_cli.config.file import load_config
from llamao1_cli.config.resolve import resolve
from llamao1_cli.errors import InterruptedRunError, UserError
from llamao1_cli.learn.warmup import Warmup
from llamao1_cli.report.display import Display
from llamao1_cli.run import commands
from llamao1_cli.run.trainer import RLSPTrainer
from llamao1_cli.search.tree import Node, Tree

ROOT = Path(__file__).parents[2]
TINY = ROOT / "configs" / "tiny.yaml"
# What a checkpoint must hold for a run to go on as if it had never stopped.
STATE = ("model/model.safetensors", "optimizer.safetensors", "replay-0.safetensors")
HEADS = {
    "features": ("model/value_head/weights.safetensors", "value_examples.safetensors"),
    "adapter": ("model/value_head/adapter.safetensors", "value_optimizer.safetensors"),
}


def tiny_run(folder: Path, *overrides: str) -> Config:
    return load_config(TINY, [f"run.dir={folder}", "eval.strategies=[greedy]", *overrides])


def fit(config: Config, *, resume: bool = False, trees: Path | None = None) -> None:
    commands.train(config, trees=trees, resume=resume, overwrite=False)


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what the clock decides."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def assert_same_weights(one: Path, other: Path, checkpoint: str, head: str = "features") -> None:
    for name in STATE + HEADS[head]:
        first = load_file(one / "checkpoints" / checkpoint / name)
        second = load_file(other / "checkpoints" / checkpoint / name)
        assert first.keys() == second.keys()
        assert all((first[key] == second[key]).all() for key in first), name


def stop_at_iteration(monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    """Send ourselves SIGTERM while the update of iteration `stop` ends."""
    shown = Display.iteration

    def iteration(self: Display, number: int, *rest: Any) -> None:
        shown(self, number, *rest)
        if number == stop:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Display, "iteration", iteration)


FLAT = ["search.algorithm=forks", "search.forks=0", "search.chains=4"]


@pytest.mark.parametrize("algorithm", ["grpo", "k15", "expert_iteration"])
def test_flat_algorithms_run(tmp_path: Path, algorithm: str) -> None:
    run = tmp_path / "run"
    fit(tiny_run(run, *FLAT, f"learn.algorithm={algorithm}", "learn.value_weight=0"))
    rows = [row for row in metrics(run) if row["stage"] == "self-play"]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["rollout_mismatch"] < 1e-4 for row in rows)


def test_options_that_an_algorithm_has_no_use_for_are_refused(tmp_path: Path) -> None:
    for extra in ([], ["search.algorithm=forks", "search.forks=1"]):
        with pytest.raises(UserError, match="k15 learns from whole solutions"):
            tiny_run(tmp_path / "run", "learn.algorithm=k15", *extra)
    control = tiny_run(tmp_path / "run", "learn.algorithm=continued_warmup")
    with pytest.raises(UserError, match="reads no trees"):
        fit(control, trees=tmp_path)
    with pytest.raises(UserError, match="has no such term"):
        tiny_run(tmp_path / "run", "learn.algorithm=continued_warmup", "learn.kl_weight=0.1")


def test_evaluations_of_what_is_run_again_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    overrides = ["run.iterations=5", "run.checkpoint_every=2", "eval.every=1"]
    with monkeypatch.context() as patch:
        patch.setattr(RLSPTrainer, "_save", lambda self: None)
        stop_at_iteration(patch, 3)
        with pytest.raises(InterruptedRunError):  # as if killed: nothing is saved at the end
            fit(tiny_run(run, *overrides))
    file = run / "eval" / "iteration-000002.json"
    assert file.exists()
    file.write_text("of another timeline")
    (run / "checkpoints").mkdir(exist_ok=True)
    fit(tiny_run(tmp_path / "two", "run.iterations=1", "run.checkpoint_every=1"))
    shutil.copytree(tmp_path / "two" / "checkpoints", run / "checkpoints", dirs_exist_ok=True)
    fit(tiny_run(run, *overrides), resume=True)
    assert json.loads(file.read_text())["n"] == 6
    names = sorted(path.name for path in (run / "eval").iterdir())
    assert names == [f"iteration-{number:06d}.json" for number in range(6)]


def test_the_control_goes_on_with_new_demonstrations(tmp_path: Path) -> None:
    run = tmp_path / "run"
    control = ["learn.algorithm=continued_warmup", "learn.problems=32", "run.iterations=3"]
    fit(tiny_run(run, *control))
    rows = [row for row in metrics(run) if row["stage"] == "imitation"]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert 0 < rows[0]["spent_tokens"] < rows[1]["spent_tokens"] < rows[2]["spent_tokens"]
    assert not (run / "trees").exists()
    with pytest.raises(UserError, match="continued_warmup needs the section"):
        tiny_run(run, *control, "warmup=null")


def test_a_budget_of_tokens_ends_a_run_and_its_schedules(tmp_path: Path) -> None:
    run, overrides = tmp_path / "run", ["run.iterations=50", "run.checkpoint_every=50"]
    fit(tiny_run(run, *overrides, "run.budget_tokens=500", "learn.ramp_iterations=0"))
    rows = [row for row in metrics(run) if row["stage"] == "self-play"]
    spent = [row["spent_tokens"] for row in rows]
    assert spent == np.cumsum([row["generated_tokens"] for row in rows]).tolist()
    assert spent[-1] >= 500 > spent[-2]
    assert (run / "checkpoints" / f"iteration-{len(rows):06d}").is_dir()
    peak = load_config(TINY).learn.learning_rate
    for row in rows:
        expected = peak * (1 - 0.8 * min(row["spent_tokens"] / 500, 1.0))
        assert row["learning_rate"] == pytest.approx(expected)
    fit(tiny_run(run, *overrides, "run.budget_tokens=500", "learn.ramp_iterations=0"), resume=True)
    assert len([row for row in metrics(run) if row["stage"] == "self-play"]) == len(rows)


def test_a_budget_of_seconds_ends_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(tiny_run(run, "run.iterations=1000", "run.checkpoint_every=1000", "run.budget_seconds=1"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    spent = [line["seconds"]["spent"] for line in lines if line["stage"] == "self-play"]
    assert spent[-1] >= 1.0
    assert all(seconds < 1.0 for seconds in spent[:-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "extra",
    [
        ["replay.alpha=0.6", "replay.max_age=2", "replay.draws=1.5"],
        ["learn.kl_weight=0.1", "warmup=null", "search.algorithm=forks", "learn.credit=gae"],
        ["learn.algorithm=continued_warmup", "learn.problems=32"],
        ["value_head.kind=adapter"],
    ],
    ids=["prioritised replay", "reference policy", "control", "value adapter"],
)
def test_three_stop_three_equals_six(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: list[str]
) -> None:
    overrides = ["run.iterations=6", "run.checkpoint_every=10", *extra]
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    fit(tiny_run(straight, *overrides))
    with monkeypatch.context() as patch:
        stop_at_iteration(patch, 3)
        with pytest.raises(InterruptedRunError) as stop:
            fit(tiny_run(stopped, *overrides))
    assert stop.value.exit_code == 143
    assert (stopped / "checkpoints" / "iteration-000003").is_dir()
    fit(tiny_run(stopped, *overrides), resume=True)
    assert metrics(stopped) == metrics(straight)
    head = "adapter" if "value_head.kind=adapter" in extra else "features"
    assert_same_weights(straight, stopped, "iteration-000006", head)
    grown = [
        {file.name: file.read_text() for file in (run / "trees").glob("*")}
        for run in (straight, stopped)
    ]
    assert len(grown[0]) == (0 if "learn.algorithm=continued_warmup" in extra else 6)
    assert grown[0] == grown[1]


def test_warm_up_resumes_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ["run.iterations=1", "eval.problems=2"]
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    fit(tiny_run(straight, *overrides))
    step_before = Warmup.step

    def step(self: Warmup, *arguments: Any) -> dict[str, float]:
        result = step_before(self, *arguments)
        if arguments[-1] == "warm-up step 2":
            os.kill(os.getpid(), signal.SIGINT)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Warmup, "step", step)
        with pytest.raises(InterruptedRunError) as stop:
            fit(tiny_run(stopped, *overrides))
    assert stop.value.exit_code == 130
    assert (stopped / "checkpoints" / "warmup-000002").is_dir()
    fit(tiny_run(stopped, *overrides), resume=True)
    assert metrics(stopped) == metrics(straight)
    assert_same_weights(straight, stopped, "iteration-000001")


def test_a_run_leaves_the_files_of_the_design(tmp_path: Path) -> None:
    config = load_config(TINY, [f"run.dir={tmp_path / 'run'}", "run.trackers=[tensorboard]"])
    fit(config)
    run = tmp_path / "run"
    assert load_config(run / "config.yaml") == config
    stages = [(row["stage"], row["step"]) for row in metrics(run)]
    warmup, selfplay = [("warmup", n) for n in (1, 2, 3, 4)], [("self-play", n) for n in (1, 2)]
    assert stages == [*warmup, *selfplay]
    assert len((run / "trees" / "iteration-000002.jsonl").read_text().splitlines()) == 4
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == [
        "iteration-000001",
        "iteration-000002",
    ]
    result = json.loads((run / "eval" / "iteration-000002.json").read_text())
    assert {"task", "split", "n", "model", "seed", "strategies", "value"} <= result.keys()
    assert result["strategies"].keys() == {
        "greedy", "pass@1", "pass@2", "majority@2", "best_of_2", "weighted_vote@2", "mcts",
    }  # fmt: skip
    for figures in result["strategies"].values():
        low, high = figures["ci95"]
        assert 0 <= low <= figures["accuracy"] <= high <= 1
        assert figures["n"] == 6
        assert figures["generated_tokens"] > 0
        assert figures["seconds"] > 0
    for kind in ("value", "rating"):
        assert {"auc", "auc_within", "brier", "brier_constant", "n"} == result[kind].keys()
    differences = {"weighted_vote@2 - majority@2", "pass@2 - best_of_2"}
    assert result["differences"].keys() == differences
    for difference in result["differences"].values():
        low, high = difference["ci95"]
        assert low <= difference["difference"] <= high
    before = json.loads((run / "eval" / "iteration-000000.json").read_text())
    assert before["strategies"].keys() == result["strategies"].keys()
    assert before["value"] == before["rating"]  # the head has learned nothing yet
    seconds = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["seconds"]
    assert {"rollout", "experience", "update", "value_head", "weights"} <= seconds.keys()
    assert any((run / "tensorboard").iterdir())


def test_stored_trees_are_learned_from(tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(tiny_run(run))
    again = tiny_run(tmp_path / "again", "eval.problems=2")
    fit(again, trees=run / "trees")
    played, stored = metrics(run), metrics(tmp_path / "again")
    # Same seed, same warm-up, same trees: the update must be the same too.
    for key in ("policy_loss", "value_head_loss", "value_head_pair_loss"):
        assert [row[key] for row in played[4:]] == [row[key] for row in stored[4:]]
    assert not (tmp_path / "again" / "trees").exists()


@pytest.mark.parametrize("kind", HEADS)
def test_the_head_goes_with_the_models_weights(tmp_path: Path, kind: str) -> None:
    run, report = tmp_path / "run", tmp_path / "report.json"
    fit(tiny_run(run, "eval.strategies=[majority]", f"value_head.kind={kind}"))
    trees = [read_trees(run, number) for number in (1, 2)]
    judged = [[node.value == node.thought.rating for node in nodes] for nodes in trees]
    assert all(judged[0])  # an untrained head judges nothing
    assert not any(judged[1])

    def evaluate(*overrides: str) -> Any:
        commands.evaluate(*resolve(None, run, list(overrides)), report)
        return json.loads(report.read_text())

    last = json.loads((run / "eval" / "iteration-000002.json").read_text())
    again = evaluate()
    assert again["value"] == last["value"] != last["rating"]
    assert again["rating"] == last["rating"]
    unjudged = evaluate("value_head=null")
    assert unjudged["value"] == unjudged["rating"] == last["rating"]
    size, other = {"features": ("hidden_size", "adapter"), "adapter": ("rank", "features")}[kind]
    with pytest.raises(UserError, match=rf"value_head\.{size}"):
        evaluate(f"value_head.{size}=5")
    with pytest.raises(UserError, match=r"value_head\.kind"):
        evaluate(f"value_head={{kind: {other}}}")


def read_trees(run: Path, number: int) -> list[Node]:
    lines = (run / "trees" / f"iteration-{number:06d}.jsonl").read_text().splitlines()
    return [node for line in lines for node in Tree.from_json(json.loads(line)).nodes]


def test_a_run_without_a_value_head(tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(tiny_run(run, "value_head=null", "eval.problems=2"))
    assert not list(run.glob("checkpoints/*/**/*value*"))
    assert "value_head_loss" not in metrics(run)[-1]
    assert all(node.value == node.thought.rating for node in read_trees(run, 2))


@pytest.mark.slow
def test_every_command_through_the_command_line(tmp_path: Path, main: InProcess) -> None:
    run, trees, report = tmp_path / "run", tmp_path / "trees", tmp_path / "result.json"
    small = ["--config", TINY, "--set", f"run.dir={run}", "--set", "eval.problems=3"]
    assert main("sft", *small).returncode == 0
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["iteration-000000"]
    trained = main("train", *small, "--resume")
    assert trained.returncode == 0, trained.stderr
    played = main("self-play", "--run", run, "--out", trees)
    assert played.returncode == 0, played.stderr
    files = sorted(trees.iterdir())
    assert len(files) == 2
    first = files[0].read_text()
    files[0].unlink()
    assert main("self-play", "--run", run, "--out", trees).returncode == 2
    assert main("self-play", "--run", run, "--out", trees, "--resume").returncode == 0
    assert files[0].read_text() == first
    evaluated = main("eval", "--run", run, "--json", report)
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads(report.read_text())["n"] == 3
    assert report.with_name("result-reliability.svg").stat().st_size
    equal = main("eval", "--run", run, "--budget", "20,40", "--json", report)
    assert equal.returncode == 0, equal.stderr
    assert [row["tokens"] for row in json.loads(report.read_text())["budgets"]] == [20, 40]
    assert report.with_name("result-budget.svg").stat().st_size
    beamed = main("solve", "--run", run, "--strategy", "beam", "Mia has 3 pens. How many pens?")
    assert beamed.returncode == 0, beamed.stderr
    solved = main("solve", "--run", run, "Mia has 3 pens. How many [bold]pens[/bold]?")
    assert solved.returncode == 0, solved.stderr
    assert "[bold]pens[/bold]" in solved.stdout
    assert "answer" in solved.stdout


def quietly(errors: Path, words: list[str]) -> None:
    """llamao1 whose output goes nowhere, and its errors into a file."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
    command_line(words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)]
)
def test_a_signal_ends_a_run_with_a_checkpoint(
    tmp_path: Path, number: int, code: int, main: InProcess
) -> None:
    run, said = tmp_path / "run", tmp_path / "errors"
    words = ["train", "--config", str(TINY), "--set", f"run.dir={run}"]
    endless = ["--set", "run.iterations=1000", "--set", "run.checkpoint_every=1000"]
    process = CONTEXT.Process(target=quietly, args=(said, [*words, *endless]), daemon=True)
    process.start()
    waited = time.monotonic() + 120
    while not (run / "trees" / "iteration-000002.jsonl").exists():
        assert time.monotonic() < waited, "the run did not get going"
        assert process.is_alive()
        time.sleep(0.05)
    os.kill(process.pid, number)
    process.join(30)  # what schedulers grant
    assert process.exitcode == code
    errors = said.read_text()
    assert errors.strip().count("\n") == 0, errors
    assert "--resume" in errors
    done = max(path.name for path in (run / "checkpoints").iterdir())
    assert done >= "iteration-000001"
    last = int(done.removeprefix("iteration-")) + 1
    resumed = main(*words, "--set", f"run.iterations={last}", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert metrics(run)[-1]["step"] == last
