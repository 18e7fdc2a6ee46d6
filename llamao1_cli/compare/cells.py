"""The runs of a comparison: one folder a cell, each continued where it stopped."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llamao1_cli.config import Config
from llamao1_cli.config_file import dump_config
from llamao1_cli.errors import InterruptedRunError, RunFailedError
from llamao1_cli.run_folder import RunFolder, write_whole

ENDLESS = 1_000_000  # iterations: the budget ends a run, and its schedules follow the budget
ALGORITHMS = ("rlsp", "grpo", "k15", "expert_iteration", "continued_warmup")


@dataclass(frozen=True)
class Budget:
    """What each run may spend on self-play and update; 0 is no limit."""

    seconds: float = 0.0
    tokens: int = 0


@dataclass(frozen=True)
class Cell:
    """One algorithm on one seed."""

    algorithm: str
    seed: int
    folder: RunFolder


def cell_config(config: Config, algorithm: str, seed: int, budget: Budget, folder: Path) -> Config:
    """The run of a cell. Flat algorithms sample as many solutions a problem as the trees have
    leaves on average, and train no ratings, as they are published."""
    run = {
        "dir": str(folder),
        "seed": seed,
        "iterations": ENDLESS,
        "budget_seconds": budget.seconds,
        "budget_tokens": budget.tokens,
    }
    changes: dict[str, dict[str, object]] = {"run": run, "learn": {"algorithm": algorithm}}
    if algorithm in ("grpo", "k15", "expert_iteration"):
        chains = config.search.chains + round(config.search.forks)
        changes["search"] = {"algorithm": "forks", "forks": 0.0, "chains": chains}
        changes["learn"]["value_weight"] = 0.0
    return _changed(config, changes)


def start_config(config: Config, seed: int, folder: Path) -> Config:
    """The run that ends where all cells of a seed begin: after the warm-up."""
    return _changed(config, {"run": {"dir": str(folder), "seed": seed, "iterations": 0}})


def run_start(config: Config) -> None:
    """Warm up and evaluate, unless that is done."""
    if not RunFolder(Path(config.run.dir)).evaluation(0).exists():
        _train(config)


def run_cell(config: Config, start: RunFolder) -> None:
    """Train a cell to the end of its budget, from the start's checkpoint or its own last one."""
    folder = RunFolder(Path(config.run.dir))
    if not folder.path.exists():
        beside = folder.path.with_name(f".{folder.path.name}.part")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(start.path, beside)
        write_whole(RunFolder(beside).config, dump_config(config))
        beside.rename(folder.path)
    if not finished(folder):
        _train(config)
        write_whole(_mark(folder), "")


def finished(folder: RunFolder) -> bool:
    """Whether the cell has been trained and evaluated to its end."""
    return _mark(folder).exists()


def _mark(folder: RunFolder) -> Path:
    return folder.path / "finished"


def _changed(config: Config, changes: dict[str, dict[str, object]]) -> Config:
    settings = config.model_dump()
    for section, values in changes.items():
        settings[section] |= values
    return Config.model_validate(settings)


def _train(config: Config) -> None:
    """`llamao1 train` in a process of its own, its output in train.log of the run folder.

    Raises RunFailedError with the last line it wrote, InterruptedRunError if a signal ended it.
    """
    folder = Path(config.run.dir)
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder.with_name(f"{folder.name}.yaml")
    write_whole(settings, dump_config(config))
    command = [sys.executable, "-m", "llamao1_cli.cli", "train", "--config", str(settings)]
    log = folder.with_name(f"{folder.name}.log")
    resume = ["--resume"] if any(folder.iterdir()) else []
    with log.open("a", encoding="utf-8") as out:
        # Its width is that of a page: what it prints is a file here.
        child = subprocess.Popen(
            [*command, *resume], stdout=out, stderr=out, env={**os.environ, "COLUMNS": "100"}
        )
        _wait(child)
    if child.returncode > 128:
        raise InterruptedRunError(child.returncode - 128)
    if child.returncode:
        last = log.read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise RunFailedError(f"{folder.name} failed, see {log}: {' '.join(last)}")


def _wait(child: subprocess.Popen[bytes]) -> None:
    """Wait for the end; a signal to us goes on to the child, which saves and ends."""
    try:
        child.wait()
    except InterruptedRunError:
        child.terminate()
        child.wait()
        raise


def run_cells(
    config: Config,
    algorithms: list[str],
    seeds: list[int],
    budget: Budget,
    out: Path,
    on_cell: Callable[[str], None] = lambda name: None,
) -> list[Cell]:
    """All cells, trained; seed by seed, so that an early end leaves whole seeds."""
    cells = []
    for seed in seeds:
        start = RunFolder(out / f"start-seed{seed}")
        on_cell(f"seed {seed}: warm-up")
        run_start(start_config(config, seed, start.path))
        for algorithm in algorithms:
            folder = RunFolder(out / f"{algorithm}-seed{seed}")
            on_cell(f"seed {seed}: {algorithm}")
            run_cell(cell_config(config, algorithm, seed, budget, folder.path), start)
            cells.append(Cell(algorithm, seed, folder))
    return cells
