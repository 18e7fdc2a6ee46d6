"""Two ranks on CPU: they do what one does, and leave and take over each other's checkpoints."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate import DistributedType
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from safetensors.numpy import load_file

from llamao1_cli.checkpoint import load_replay
from llamao1_cli.cli import app
from llamao1_cli.config_file import load_config
from llamao1_cli.errors import UserError
from llamao1_cli.experience import Experience
from llamao1_cli.experience_arrays import to_arrays
from llamao1_cli.ranks import make_accelerator
from llamao1_cli.replay import Replay
from llamao1_cli.search.grow import rectify
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay import read_trees, write_trees

ROOT = Path(__file__).parent.parent
TINY = ROOT / "configs" / "tiny.yaml"
LAYOUTS = sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))
LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

# What is compared: every weight trains, or an adapter does; always several micro-batches a step, of
# which a rank may have more than the other, and trees drawn from a replay by their errors.
DRAWN = [
    "learn.batch_size=5",
    "learn.micro_batch_tokens=120",
    "replay.alpha=0.6",
    "replay.max_age=2",
    "replay.draws=1.5",
]
RUNS = {
    "full": [*DRAWN, "warmup.micro_batch_size=3"],
    "lora": [*DRAWN, "model.lora={rank: 4}", "learn.kl_weight=0.1", "warmup=null"],
    "adapter": [*DRAWN, "value_head={kind: adapter, rank: 4, batch_size: 3}", "warmup=null"],
}
PROBLEMS = 7


def command(run: Path, extra: Sequence[str], *options: str | Path) -> list[str]:
    settings = [
        f"run.dir={run}",
        "run.keep_checkpoints=9",
        "eval.strategies=[greedy]",
        "eval.problems=1",
        "warmup.examples=19",
        f"learn.problems={PROBLEMS}",
        *extra,
    ]
    return ["train", "--config", str(TINY), *map(str, options), *sets(settings)]


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


def alone(commands: Sequence[list[str]]) -> None:
    for command in commands:
        app(command, standalone_mode=False)


def launched(script: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAUNCHER, *script], env=ENVIRONMENT, capture_output=True, text=True, timeout=300, cwd=ROOT
    )


def together(folder: Path, commands: Sequence[list[str]]) -> None:
    (folder / "commands.json").write_text(json.dumps(commands))
    done = launched([str(ROOT / "tests" / "several_commands.py"), str(folder / "commands.json")])
    assert done.returncode == 0, done.stderr


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_close(one: Path, other: Path) -> None:
    """All tensors of two files are the same to 1e-5. Moments, which tell of the gradients, are small,
    and the same to 1e-3 of their largest entry too: AdamW's first steps hardly depend on how large
    a gradient is, and make more of the rounding of one that is nearly zero."""
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
def test_two_ranks_do_what_one_does(tmp_path: Path) -> None:
    one, two, trees = tmp_path / "one", tmp_path / "two", tmp_path / "one" / "played" / "trees"
    alone([command(one / "played", ["warmup=null"])])
    as_played = {file.name: file.read_text() for file in trees.iterdir()}
    for file in sorted(trees.iterdir()):
        give_outcomes(file, np.random.default_rng(0))
    first = tmp_path / "first"
    first.mkdir()
    shutil.copy(trees / "iteration-000001.jsonl", first)
    alone([command(one / name, extra, "--trees", trees) for name, extra in RUNS.items()])
    there, back = tmp_path / "there", tmp_path / "back"
    alone([command(back, RUNS["full"], "--trees", first)])
    together(
        tmp_path,
        [
            command(two / "played", ["warmup=null"]),
            *(command(two / name, extra, "--trees", trees) for name, extra in RUNS.items()),
            command(there, RUNS["full"], "--trees", first),
            command(back, RUNS["full"], "--trees", trees, "--resume"),
            ["sharded", *command(two / "sharded", RUNS["full"], "--trees", trees)],
        ],
    )
    alone([command(there, RUNS["full"], "--trees", trees, "--resume")])
    # The first play sees the same weights; how its thoughts are batched makes rounding differ.
    assert_same_tree(as_played, two / "played" / "trees")
    for name in RUNS:
        compare(one / name, two / name)
    for run in (there, back, two / "sharded"):
        compare(one / "full", run)
    for run, sizes in ((there, [2, 1]), (back, [1, 2])):
        written = [run / "checkpoints" / f"iteration-{number:06d}" for number in (1, 2)]
        assert [len(list(folder.glob("replay-*"))) for folder in written] == sizes


def assert_same_tree(before: dict[str, str], folder: Path) -> None:
    name = "iteration-000001.jsonl"
    lines = [text.splitlines() for text in (before[name], (folder / name).read_text())]
    assert len(lines[0]) == PROBLEMS
    for one, other in zip(*lines, strict=True):
        first, second = (Tree.from_json(json.loads(line)) for line in (one, other))
        assert first.problem == second.problem
        assert [n.thought.ids for n in first.nodes] == [n.thought.ids for n in second.nodes]


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
    failing = [str(ROOT / "tests" / "failing_rank.py"), how, str(died)]
    done = launched([*failing, *command(run, ["warmup=null", "run.iterations=9"])])
    assert time.time() - float(died.read_text()) < 15
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("llamao1: ")]
    assert told == (["llamao1: rank 1 gave up"] if how == "error" else [])
    assert ("SIGKILL" in done.stderr) == (how == "kill"), done.stderr
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["iteration-000001"]


def test_what_all_ranks_refuse_is_told_once(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    done = launched(["-m", "llamao1_cli.cli", "config", "--check", str(missing)])
    assert done.returncode != 0
    assert done.stderr.count("llamao1: ") == done.stderr.count(str(missing)) == 1, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_the_launcher_stops_all_ranks_with_a_checkpoint(
    tmp_path: Path, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    settings = [f"run.dir={run}", "run.iterations=1000", "run.checkpoint_every=1000"]
    script = ["bash", "scripts/train_multi_gpu.sh", str(TINY), *sets(settings)]
    environment = {**ENVIRONMENT, "PROCESSES": "2"}
    process = subprocess.Popen(script, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    waited = time.monotonic() + 200
    while not (run / "trees" / "iteration-000002.jsonl").exists():
        assert time.monotonic() < waited, "the run did not get going"
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert errors.count("llamao1: stopped by signal") == 1, errors
    last = max(path.name for path in (run / "checkpoints").iterdir())
    assert last >= "iteration-000001"
    assert len(list((run / "checkpoints" / last).glob("replay-*"))) == 2
    # The same command again goes on, here for one iteration more.
    ending = int(last.removeprefix("iteration-")) + 1
    again = subprocess.run(
        [*script, "--set", f"run.iterations={ending}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert again.returncode == 0, again.stderr
    assert rows(run)[-1]["step"] == ending


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda path: path.stem)
def test_every_layout_is_one_that_accelerate_reads(layout: Path) -> None:
    config = load_config_from_file(str(layout))
    assert isinstance(config, ClusterConfig)
    types = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero3": "DEEPSPEED"}
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
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(UserError, match="DeepSpeed"):
        make_accelerator("cpu")
    for layout, message in (("zero3", "DeepSpeed is not supported"), ("none", "no such file")):
        script = ["bash", "scripts/train_multi_gpu.sh", str(TINY)]
        environment = {**os.environ, "LAYOUT": layout}
        done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 2
        assert message in done.stderr
