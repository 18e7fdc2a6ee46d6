"""Two ranks on CPU: they do what one does, and leave and take over each other's checkpoints."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from accelerate import DistributedType
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from command_line import InProcess
from safetensors.numpy import load_file
from two_ranks import Launched, command_line, failing, sharded

from llamao1_cli.cli.main import app
from llamao1_cli.config.file import load_config
from llamao1_cli.distributed import ranks, zero
from llamao1_cli.distributed.ranks import make_accelerator
from llamao1_cli.errors import UserError
from llamao1_cli.learn.experience import Experience
from llamao1_cli.learn.experience_arrays import to_arrays
from llamao1_cli.learn.replay import Replay
from llamao1_cli.run.checkpoint import load_replay
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree_files import read_trees, write_trees

ROOT = Path(__file__).parents[2]
TINY = ROOT / "configs" / "tiny.yaml"
LAYOUTS = sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))

# What is compared: every weight trains, or adapters of policy and value do; always several
# micro-batches a step, of which a rank may have more than the other, and trees drawn from a replay
# by their errors.
DRAWN = [
    "learn.batch_size=5",
    "learn.micro_batch_tokens=200",
    "replay.alpha=0.6",
    "replay.max_age=2",
    "replay.draws=1.5",
]
RUNS = {
    "full": [*DRAWN, "warmup.micro_batch_size=3"],
    "adapters": [
        *DRAWN,
        "model.lora={rank: 4}",
        "learn.kl_weight=0.1",
        "value_head={kind: adapter, rank: 4, batch_size: 3}",
        "warmup=null",
    ],
}
PROBLEMS = 7
# As little as a run can do between two checkpoints.
QUICK = ["warmup=null", "learn.problems=2", "search.simulations=1"]


def command(run: Path, extra: Sequence[str], *options: str | Path) -> list[str]:
    settings = [
        f"run.dir={run}",
        "run.keep_checkpoints=9",
        "eval.strategies=[greedy]",
        "eval.problems=1",
        "search.max_depth=1",  # evaluations are not what is compared
        "warmup.examples=19",
        f"learn.problems={PROBLEMS}",
        *extra,
    ]
    return ["train", "--config", str(TINY), *map(str, options), *sets(settings)]


def self_play(out: Path) -> list[str]:
    settings = sets([f"learn.problems={PROBLEMS}"])
    return ["self-play", "--config", str(TINY), "--out", str(out), *settings]


def sets(settings: Sequence[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def give_outcomes(path: Path, rng: np.random.Generator) -> None:
    """Make the leaves of stored trees right or wrong at random: an untrained model's are all wrong,
    and teach no policy."""
    trees = read_trees(path, None)
    for tree in trees:
        for leaf in tree.leaf_nodes():
            leaf.outcome = bool(rng.integers(2))
        rectify(tree, 1.0, "failure")
    write_trees(path, trees)


def alone(words: Sequence[str]) -> None:
    app(list(words), standalone_mode=False)


def together(folder: Path, words: Sequence[str], rank: Callable[..., None] = command_line) -> None:
    code, errors = Launched(folder / "errors", rank, words).end()
    assert code == 0, errors


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_close(one: Path, other: Path) -> None:
    """All tensors of two files are the same to 1e-5. So are moments, which tell of the gradients,
    and to 1e-3 of their largest entry, as they are small. (AdamW's first steps hardly depend on how
    large a gradient is, and make much of the rounding of one that is nearly zero.)"""
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    for name in first.keys() - {"torch_rng"}:
        largest = np.abs(first[name]).max(initial=0.0)
        limit = min(1e-5, 1e-3 * largest) if "optimizer" in one.name else 1e-5
        assert np.abs(first[name] - second[name]).max(initial=0.0) <= limit, (one, name)


def replay_of(run: Path, iteration: int) -> tuple[list[Any], dict[str, np.ndarray]]:
    replay: Replay[Experience] = Replay(1000, 1.0)
    load_replay(run / "checkpoints" / f"iteration-{iteration:06d}", replay)
    index = [(s, replay.iterations[s], p) for s, p in replay.priorities.items()]
    return index, to_arrays(list(replay.items.values()))


@pytest.mark.slow
def test_two_ranks_play_what_one_plays(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    alone(self_play(one))
    together(tmp_path, self_play(two))
    for file in one.iterdir():
        assert_same_trees(file, two / file.name)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_two_ranks_learn_what_one_learns(tmp_path: Path, name: str) -> None:
    one, trees = tmp_path / "one", stored_trees(tmp_path / "trees")
    alone(command(one, RUNS[name], "--trees", trees))
    for layout, rank in {"ddp": command_line, "fsdp2": sharded}.items():
        together(tmp_path, command(tmp_path / layout, RUNS[name], "--trees", trees), rank)
        compare(one, tmp_path / layout)
    assert_resumes(one, tmp_path / "fsdp2", trees, RUNS[name], sharded)


def stored_trees(folder: Path) -> Path:
    """A folder with trees of two iterations, to learn from."""
    alone(self_play(folder))
    for file in folder.iterdir():
        give_outcomes(file, np.random.default_rng(0))
    return folder


def assert_resumes(
    one: Path, two: Path, trees: Path, extra: Sequence[str], rank: Callable[..., None]
) -> None:
    """What one rank wrote goes on on two, and what two wrote on one, as if nothing had been."""
    there, back = first_half(two), first_half(one)
    alone(command(there, extra, "--trees", trees, "--resume"))
    together(back.parent, command(back, extra, "--trees", trees, "--resume"), rank)
    for run, sizes in ((there, [2, 1]), (back, [1, 2])):
        compare(one, run)
        written = [run / "checkpoints" / f"iteration-{number:06d}" for number in (1, 2)]
        assert [len(list(folder.glob("replay-*"))) for folder in written] == sizes


def first_half(run: Path) -> Path:
    """The run as it was after its first iteration."""
    half = run.parent / f"half of {run.name}"
    shutil.copytree(run, half)
    shutil.rmtree(half / "checkpoints" / "iteration-000002")
    return half


def assert_same_trees(one: Path, other: Path) -> None:
    """How thoughts are batched makes rounding differ, and nothing else."""
    forests = read_trees(one, None), read_trees(other, None)
    assert len(forests[0]) == PROBLEMS
    for first, second in zip(*forests, strict=True):
        assert first.problem == second.problem
        assert [n.thought.ids for n in first.nodes] == [n.thought.ids for n in second.nodes]
        values = ([node.value for node in tree.nodes] for tree in (first, second))
        assert next(values) == pytest.approx(next(values), abs=1e-5)


def compare(single: Path, run: Path) -> None:
    """Metrics, weights, moments and replays of two runs are the same to 1e-5."""
    for row, same in zip(rows(single), rows(run), strict=True):
        assert row.keys() == same.keys()
        assert row["stage"] == same["stage"]
        for key in row.keys() - {"seconds", "stage"}:
            assert same[key] == pytest.approx(row[key], rel=1e-4, abs=1e-5), (run, key)
    assert rows(single)[-1]["policy_loss"] != 0.0
    for iteration in (1, 2):
        folder = f"checkpoints/iteration-{iteration:06d}"
        for file in (single / folder).rglob("*.safetensors"):
            if not file.name.startswith("replay"):
                assert_close(file, run / file.relative_to(single))
        (index, arrays), (other, same) = replay_of(single, iteration), replay_of(run, iteration)
        assert [row[:2] for row in index] == [row[:2] for row in other]
        assert [row[2] for row in index] == pytest.approx([row[2] for row in other], abs=1e-5)
        assert all(np.array_equal(arrays[name], same[name]) for name in arrays)


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
