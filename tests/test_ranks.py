"""Two ranks on CPU: they do what one does, and leave and take over each other's checkpoints."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from llamao1_cli.checkpoint import load_replay
from llamao1_cli.cli import app
from llamao1_cli.experience import Experience
from llamao1_cli.experience_arrays import to_arrays
from llamao1_cli.replay import Replay
from llamao1_cli.search.grow import rectify
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay import read_trees, write_trees

ROOT = Path(__file__).parent.parent
TINY = ROOT / "configs" / "tiny.yaml"
LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

# What is compared: every weight trains, or an adapter does; always several micro-batches a step, of
# which a rank may have more than the other, and trees drawn from a replay by their errors.
DRAWN = [
    "learn.batch_size=5",
    "learn.micro_batch_tokens=120",
    "learn.learning_rate=3e-3",
    "learn.ramp_iterations=0",
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
    sets = [word for setting in settings for word in ("--set", setting)]
    return ["train", "--config", str(TINY), *map(str, options), *sets]


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


def together(folder: Path, commands: Sequence[list[str]]) -> None:
    (folder / "commands.json").write_text(json.dumps(commands))
    script = [str(ROOT / "tests" / "several_commands.py"), str(folder / "commands.json")]
    done = subprocess.run(
        [*LAUNCHER, *script], env=ENVIRONMENT, capture_output=True, text=True, timeout=300, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_close(one: Path, other: Path) -> None:
    """All tensors of two files are the same to 1e-5, and small ones to 1e-3 of their largest entry:
    the moments are as small as gradients are."""
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    for name in first.keys() - {"torch_rng"}:
        gap = np.abs(first[name] - second[name]).max(initial=0.0)
        assert gap <= min(1e-5, 1e-3 * np.abs(first[name]).max(initial=0.0)), (one, name)


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
        ],
    )
    alone([command(there, RUNS["full"], "--trees", trees, "--resume")])
    # The first play sees the same weights; how its thoughts are batched makes rounding differ.
    assert_same_tree(as_played, two / "played" / "trees")
    for name in RUNS:
        compare(one / name, two / name)
    for run in (there, back):
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
