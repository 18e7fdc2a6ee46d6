"""Two ranks on CPU: they do what one does, and leave and take over each other's checkpoints."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from accelerate import DistributedType
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from command_line import InProcess
from rank_runs import (
    DISTINCT,
    PROBLEMS,
    ROOT,
    RUNS,
    TINY,
    alone,
    assert_resumes,
    command,
    compare,
    rows,
    self_play,
    stored_trees,
    together,
)
from two_ranks import Launched, command_line, failing, sharded

from llamao1_cli.config.file import load_config
from llamao1_cli.distributed import ranks, zero
from llamao1_cli.distributed.ranks import make_accelerator
from llamao1_cli.errors import UserError
from llamao1_cli.search.tree_files import read_trees

LAYOUTS = sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))

# As little as a run can do between two checkpoints.
QUICK = ["warmup=null", "learn.problems=2", "search.simulations=1"]


@pytest.mark.slow
@pytest.mark.parametrize("extra", [[], DISTINCT], ids=["mcts", "distinct"])
def test_two_ranks_play_what_one_plays(tmp_path: Path, extra: list[str]) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    alone(self_play(one, *extra))
    together(tmp_path, self_play(two, *extra))
    for file in one.iterdir():
        assert_same_trees(file, two / file.name)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_two_ranks_learn_what_one_learns(tmp_path: Path, name: str) -> None:
    one, drawn = tmp_path / "one", DISTINCT if name == "adapters" else []
    trees = stored_trees(tmp_path / "trees", *drawn)
    alone(command(one, RUNS[name], "--trees", trees))
    for layout, rank in {"ddp": command_line, "fsdp2": sharded}.items():
        together(tmp_path, command(tmp_path / layout, RUNS[name], "--trees", trees), rank)
        compare(one, tmp_path / layout)
    assert_resumes(one, tmp_path / "fsdp2", trees, RUNS[name], sharded)


def assert_same_trees(one: Path, other: Path) -> None:
    """How thoughts are batched makes rounding differ, and nothing else."""
    forests = read_trees(one, None), read_trees(other, None)
    assert len(forests[0]) == PROBLEMS
    for first, second in zip(*forests, strict=True):
        assert first.problem == second.problem
        assert [n.thought.ids for n in first.nodes] == [n.thought.ids for n in second.nodes]
        values = ([node.value for node in tree.nodes] for tree in (first, second))
        assert next(values) == pytest.approx(next(values), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "error"])
def test_a_rank_that_fails_ends_the_run_at_once(tmp_path: Path, how: str) -> None:
    run, died = tmp_path / "run", tmp_path / "died"
    words = command(run, [*QUICK, "run.iterations=9"])
    code, errors = Launched(tmp_path / "errors", failing, how, died, words).end()
    assert time.time() - float(died.read_text()) < 60  # the other ranks would wait for 30 minutes
    assert code != 0
    told = [line for line in errors.splitlines() if line.startswith("llamao1: ")]
    assert told == (["llamao1: rank 1 gave up"] if how == "error" else [])
    # Of a rank that was killed the launcher or, if it is quicker, the rank that it left tells.
    lost = "SIGKILL" in errors or "by peer" in errors
    assert lost or how == "error", errors
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["iteration-000001"]


@pytest.mark.slow
def test_what_all_ranks_refuse_is_told_once(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    words = ["config", "--check", str(missing)]
    code, errors = Launched(tmp_path / "errors", command_line, words).end()
    assert code != 0
    assert errors.count("llamao1: ") == errors.count(str(missing)) == 1, errors


ENDLESS = [*QUICK, "run.iterations=1000", "run.checkpoint_every=1000"]


@pytest.mark.slow
def test_a_signal_to_the_launcher_stops_all_ranks_with_a_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    launched = Launched(tmp_path / "errors", command_line, command(run, ENDLESS))
    wait_for_iteration(run, launched.process.is_alive)
    launched.process.terminate()
    last = stopped(run, *launched.end())
    # The same command again goes on, here for one iteration more.
    together(tmp_path, command(run, [*ENDLESS, f"run.iterations={last + 1}"], "--resume"))
    assert rows(run)[-1]["step"] == last + 1


@pytest.mark.slow
def test_the_script_passes_on_that_the_machine_will_be_taken(
    tmp_path: Path, main: InProcess
) -> None:
    run = tmp_path / "run"
    words = command(run, ENDLESS)
    script = ["bash", "scripts/train_multi_gpu.sh", *words[2:]]
    environment = {**os.environ, "PROCESSES": "2", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(script, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for_iteration(run, lambda: process.poll() is None)
    process.send_signal(signal.SIGUSR1)
    _, errors = process.communicate(timeout=60)
    last = stopped(run, process.returncode, errors)
    resumed = main(*command(run, [*ENDLESS, f"run.iterations={last + 1}"], "--resume"))
    assert resumed.returncode == 0, resumed.stderr
    assert rows(run)[-1]["step"] == last + 1


def wait_for_iteration(run: Path, alive: Callable[[], bool]) -> None:
    """Returns while the run is in its second iteration, or just past it."""
    end = time.monotonic() + 200
    while not (run / "trees" / "iteration-000002.jsonl").exists():
        assert time.monotonic() < end, "the run did not get going"
        assert alive()
        time.sleep(0.05)


def stopped(run: Path, code: int, errors: str) -> int:
    """The iteration of the checkpoint that a signal made both ranks write."""
    assert code != 0
    assert errors.count("llamao1: stopped by signal") == 1, errors
    last = max(path.name for path in (run / "checkpoints").iterdir())
    assert len(list((run / "checkpoints" / last).glob("replay-*"))) == 2
    iteration = int(last.removeprefix("iteration-"))
    assert iteration >= 1
    return iteration


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda path: path.stem)
def test_every_layout_is_one_that_accelerate_reads(layout: Path) -> None:
    config = load_config_from_file(str(layout))
    assert isinstance(config, ClusterConfig)
    types = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero2": "DEEPSPEED"}
    assert config.distributed_type == DistributedType[types[layout.stem]]
    assert config.num_machines == 1
    assert config.mixed_precision == "no"
    with pytest.raises(UserError, match="unknown key"):
        load_config(layout)


def test_layouts_that_would_not_be_followed_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match="FSDP needs"):
        make_accelerator("cpu")
    plugin = SimpleNamespace(reshard_after_forward=False)
    joined = SimpleNamespace(is_fsdp2=True, state=SimpleNamespace(fsdp_plugin=plugin))
    with monkeypatch.context() as patch:
        patch.setattr(ranks, "Accelerator", lambda **options: joined)
        with pytest.raises(UserError, match="fsdp_reshard_after_forward"):
            make_accelerator("cpu")
    script = ["bash", "scripts/train_multi_gpu.sh", str(TINY)]
    environment = {**os.environ, "LAYOUT": "none"}
    done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no such file" in done.stderr


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"ZERO_STAGE": "3"}, "zero_stage: 3 is not supported"),
        ({"OFFLOAD_OPTIMIZER_DEVICE": "cpu"}, "offload_optimizer_device: cpu is not supported"),
        ({"CONFIG_FILE": "mine.json"}, "deepspeed_config_file: mine.json is not supported"),
        ({}, "llamao1-cli\\[deepspeed\\]"),
    ],
)
def test_what_deepspeed_would_not_do_as_told_is_refused(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], message: str
) -> None:
    for name, value in {"ZERO_STAGE": "2", **told}.items():
        monkeypatch.setenv(f"ACCELERATE_DEEPSPEED_{name}", value)
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setattr(zero, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=message):
        make_accelerator("cpu")
