"""kill -9 at any moment: every restart goes on, and the run ends as if nothing had happened."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from llamao1_cli.config.file import load_config
from llamao1_cli.files.manifest import damage
from llamao1_cli.files.run_folder import RunFolder, complete_checkpoints
from llamao1_cli.run import commands

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"
LONGEST_S = 300.0  # a restart that shows nothing for so long is stuck
FILES = 11  # of a checkpoint of this run

# A clean process that has imported everything already: restarts come from it in no time.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["llamao1_cli.run.commands"])


def train(folder: Path, iterations: int) -> None:
    """What `llamao1 train --resume` does, quietly."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    overrides = [f"run.dir={folder}", f"run.iterations={iterations}", "eval.strategies=[greedy]"]
    overrides += ["eval.problems=1", "learn.problems=2", "search.simulations=1"]
    overrides += ["warmup.examples=32", "warmup.checkpoint_every=1"]
    config = load_config(TINY, overrides)
    commands.train(config, trees=None, resume=True, overwrite=False)


def wait_until(happened: Callable[[], bool], process: Any) -> None:
    """Returns early if the process ends."""
    end = time.monotonic() + LONGEST_S
    while process.is_alive() and not happened():
        assert time.monotonic() < end, "the run is stuck"
        time.sleep(0.001)


def lines(folder: Path) -> int:
    file = folder / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def written(folder: Path) -> int:
    """Files of the checkpoint that is being written, or was when the run died; -1 if none is."""
    for unfinished in (folder / "checkpoints").glob(".*.part"):
        return sum(len(files) for _, _, files in os.walk(unfinished))
    return -1


def stop_while_saving(folder: Path, process: Any, files: int) -> None:
    """Stops the process when so many files of a checkpoint are there, or more, and not all is."""
    while True:
        wait_until(lambda: written(folder) >= files, process)
        os.kill(process.pid, signal.SIGSTOP)
        if written(folder) >= files:
            return
        os.kill(process.pid, signal.SIGCONT)


def killed(folder: Path, iterations: int, rng: np.random.Generator, pace: float) -> str:
    """Starts or resumes the run and kills it; gives when: while it started, between two writings,
    or while a checkpoint was written, which lies there unfinished."""
    process = CONTEXT.Process(target=train, args=(folder, iterations))
    process.start()
    moment = str(rng.choice(["starting", "working", "saving"], p=[0.1, 0.5, 0.4]))
    if moment != "starting":
        before = lines(folder)
        wait_until(lambda: lines(folder) != before, process)
    if moment == "saving":
        stop_while_saving(folder, process, int(rng.integers(0, FILES + 1)))
    else:
        seen, end = lines(folder), time.monotonic() + rng.uniform(0, 2 * pace)
        # The machine may have become faster; a kill must not take the run more than a step on.
        wait_until(lambda: time.monotonic() > end or lines(folder) > seen + 1, process)
    process.kill()
    process.join()
    assert process.exitcode == -9, "the run was over, or failed, before it was killed"
    assert moment != "saving" or written(folder) >= 0
    return moment


def finished(folder: Path, iterations: int) -> None:
    process = CONTEXT.Process(target=train, args=(folder, iterations))
    process.start()
    process.join(LONGEST_S * 4)
    assert process.exitcode == 0


def metrics(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def assert_same(one: Path, other: Path) -> None:
    """The last checkpoints hold the same tensors to the last bit, and the runs all else alike."""
    first, second = RunFolder(one).latest(), RunFolder(other).latest()
    assert first.name == second.name
    files = sorted(path.relative_to(first) for path in first.rglob("*.safetensors"))
    assert len(files) >= 5
    for name in files:
        left, right = load_file(first / name), load_file(second / name)
        assert left.keys() == right.keys()
        assert all(left[key].tobytes() == right[key].tobytes() for key in left), name
    assert metrics(one) == metrics(other)
    for file in (one / "trees").iterdir():
        assert file.read_bytes() == (other / "trees" / file.name).read_bytes()


def kill_and_compare(tmp_path: Path, kills: int, iterations: int, seed: int) -> dict[str, int]:
    """A run that is killed so often against one that is not; gives the kills by moment."""
    straight, disturbed = tmp_path / "straight", tmp_path / "disturbed"
    rng = np.random.default_rng(seed)
    start = time.monotonic()
    finished(straight, iterations)
    pace = (time.monotonic() - start) / (iterations + 3)
    moments = {"starting": 0, "working": 0, "saving": 0}
    for _ in range(kills):
        moments[killed(disturbed, iterations, rng, pace)] += 1
        newest = complete_checkpoints(disturbed / "checkpoints")[-1:]
        assert not any(map(damage, newest))
    finished(disturbed, iterations)
    assert_same(straight, disturbed)
    assert written(disturbed) == -1
    return moments


@pytest.mark.slow
def test_a_run_that_is_killed_ends_the_same(tmp_path: Path) -> None:
    moments = kill_and_compare(tmp_path, kills=2, iterations=6, seed=5)
    assert moments == {"starting": 0, "working": 1, "saving": 1}


@pytest.mark.soak
def test_a_run_that_is_killed_twenty_times_ends_the_same(
    tmp_path: Path, soaked: Callable[..., None]
) -> None:
    moments = kill_and_compare(tmp_path, kills=20, iterations=50, seed=3)
    assert moments == {"starting": 3, "working": 8, "saving": 9}
    how = ", ".join(f"{count} {moment}" for moment, count in moments.items())
    soaked("kill -9 during training", f"20 kills ({how})", "0 iterations", "weights equal bitwise")
