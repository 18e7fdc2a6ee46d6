"""Runs on one rank and on two, and what must be the same of them."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from two_ranks import Launched, command_line

from llamao1_cli.cli.main import app
from llamao1_cli.learn.experience import Experience
from llamao1_cli.learn.experience_arrays import to_arrays
from llamao1_cli.learn.replay import Replay
from llamao1_cli.run.checkpoint import load_replay
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree_files import read_trees, write_trees

ROOT = Path(__file__).parents[1]
TINY = ROOT / "configs" / "tiny.yaml"
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
DISTINCT = ["search.algorithm=distinct", "search.solutions=5"]


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


def self_play(out: Path, *extra: str) -> list[str]:
    settings = sets([f"learn.problems={PROBLEMS}", *extra])
    return ["self-play", "--config", str(TINY), "--out", str(out), *settings]


def sets(settings: Sequence[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def give_outcomes(path: Path, rng: np.random.Generator) -> None:
    """Make the leaves of stored trees right or wrong at random: an untrained model's are all wrong,
    and teach no policy."""
    trees = read_trees(path, None)
    for tree in trees:
        for leaf in tree.leaf_nodes():
            leaf.earn(float(rng.integers(2)))
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


def stored_trees(folder: Path, *extra: str) -> Path:
    """A folder with trees of two iterations, to learn from."""
    alone(self_play(folder, *extra))
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
