"""The runs of a comparison: one folder a cell, each continued where it stopped."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llamao1_cli.compare.variants import Budget, Variant, cell_config, start_config
from llamao1_cli.config import Config
from llamao1_cli.config.changes import changed_keys
from llamao1_cli.config.file import dump_config, load_config
from llamao1_cli.config.section import ANY_TIME
from llamao1_cli.errors import InterruptedRunError, RunFailedError, UserError
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.files.whole import write_whole


@dataclass(frozen=True)
class Cell:
    """One variant at one learning rate on one seed."""

    name: str
    rate: float
    seed: int
    folder: RunFolder


def run_start(config: Config) -> None:
    """Warm up and evaluate, unless that is done."""
    folder = RunFolder(Path(config.run.dir))
    _check_same(folder, config)
    if not folder.evaluation(0).exists():
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
    _check_same(folder, config)
    mark = folder.path / "finished"  # trained and evaluated to its end
    if not mark.exists():
        _train(config)
        write_whole(mark, "")


def _check_same(folder: RunFolder, config: Config) -> None:
    """Refuse to go on with a run that was begun under other settings."""
    if not folder.config.is_file():
        return
    if changed := changed_keys(load_config(folder.config), config, ANY_TIME):
        raise UserError(
            f"--out: {folder.path} was begun with another {', '.join(changed)}; use the old "
            "values, or give another folder"
        )


def _train(config: Config) -> None:
    """Run `llamao1 train` in a process of its own, its output in a log beside the run folder.

    Raises RunFailedError with the last line it wrote, InterruptedRunError if a signal ended it.
    """
    folder = Path(config.run.dir)
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder.with_name(f"{folder.name}.yaml")
    write_whole(settings, dump_config(config))
    command = [sys.executable, "-m", "llamao1_cli.cli.main", "train", "--config", str(settings)]
    log = folder.with_name(f"{folder.name}.log")
    resume = ["--resume"] if RunFolder(folder).config.is_file() else ["--overwrite"]
    with log.open("a", encoding="utf-8") as out:
        # A session of its own keeps Ctrl-C from it: it gets our signal alone, and has time to save.
        child = subprocess.Popen(
            [*command, *resume],
            stdout=out,
            stderr=out,
            env={**os.environ, "COLUMNS": "100"},
            start_new_session=True,
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
    variants: list[Variant],
    seeds: list[int],
    budget: Budget,
    out: Path,
    on_cell: Callable[[str], None] = lambda name: None,
) -> list[Cell]:
    """Train all cells and return them; seed by seed, so that an early end leaves whole seeds."""
    cells = []
    for seed in seeds:
        start = RunFolder(out / f"start-seed{seed}")
        on_cell(f"seed {seed}: warm-up")
        run_start(start_config(config, seed, start.path))
        for variant in variants:
            folder = RunFolder(out / f"{variant.label}-seed{seed}")
            on_cell(f"seed {seed}: {variant.label}")
            own = cell_config(config, variant, seed, budget, folder.path)
            run_cell(own, start)
            cells.append(Cell(variant.name, own.learn.learning_rate, seed, folder))
    return cells
