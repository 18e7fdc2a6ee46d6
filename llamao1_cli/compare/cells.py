"""The runs of a comparison: one folder a cell, each continued where it stopped."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamao1_cli.config import Config
from llamao1_cli.config.changes import changed_keys
from llamao1_cli.config.file import build_config, dump_config, load_config
from llamao1_cli.config.registry import ALGORITHMS
from llamao1_cli.config.section import ANY_TIME
from llamao1_cli.errors import InterruptedRunError, RunFailedError, UserError
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.files.whole import write_whole

ENDLESS = 1_000_000  # iterations: the budget ends a run, and its schedules follow the budget


@dataclass(frozen=True)
class Budget:
    """What each run may spend on self-play and update; 0 means no limit."""

    seconds: float = 0.0
    tokens: int = 0


@dataclass(frozen=True)
class Variant:
    """What is compared: an algorithm, and settings of its own."""

    name: str
    algorithm: str
    overrides: tuple[str, ...] = ()  # each `section.key=value`


@dataclass(frozen=True)
class Cell:
    """One variant on one seed."""

    name: str
    seed: int
    folder: RunFolder


def parse_variant(text: str) -> Variant:
    """Returns the variant of `NAME: ALGORITHM section.key=value …`; UserError for other texts."""
    name, _, rest = text.partition(":")
    algorithm, *overrides = rest.split() or [""]
    if not re.fullmatch(r"[\w.+-]+", name) or algorithm not in ALGORITHMS:
        raise UserError(
            f"--variant {text!r:.100}: expected 'NAME: ALGORITHM section.key=value …', such as "
            "'replay: rlsp replay.max_age=2 replay.alpha=0.6'"
        )
    return Variant(name, algorithm, tuple(overrides))


def cell_config(
    config: Config, variant: Variant, seed: int, budget: Budget, folder: Path
) -> Config:
    """Returns the run of a cell.

    Flat algorithms sample as many solutions a problem as the trees have leaves at most on average,
    and train no ratings, as they are published; a variant's own settings come last.

    Raises UserError for settings that are not valid.
    """
    algorithm = variant.algorithm
    run = {
        "dir": str(folder),
        "seed": seed,
        "iterations": ENDLESS,
        "budget_seconds": budget.seconds,
        "budget_tokens": budget.tokens,
    }
    changes: dict[str, dict[str, object]] = {"run": run, "learn": {"algorithm": algorithm}}
    if ALGORITHMS[algorithm].flat:
        chains = config.search.chains + round(config.search.forks)
        changes["search"] = {"algorithm": "forks", "forks": 0.0, "chains": chains}
        changes["learn"]["value_weight"] = 0.0
        changes["replay"] = {"alpha": 0.0}  # its priorities are the errors of ratings
    if not ALGORITHMS[algorithm].plays:
        changes["eval"] = {"every": 0}  # its iterations are many and short; the end tells enough
    settings = _changed(config, changes)
    return build_config(settings, f"--variant {variant.name}", [*variant.overrides])


def start_config(config: Config, seed: int, folder: Path) -> Config:
    """Returns the run that ends where all cells of a seed begin: after the warm-up."""
    run = {"dir": str(folder), "seed": seed, "iterations": 0}
    return Config.model_validate(_changed(config, {"run": run}))


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


def _changed(config: Config, changes: dict[str, dict[str, object]]) -> dict[str, Any]:
    """Returns the configuration's settings with `changes` to its sections, to be validated."""
    settings = config.model_dump()
    for section, values in changes.items():
        settings[section] |= values
    return settings


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
            folder = RunFolder(out / f"{variant.name}-seed{seed}")
            on_cell(f"seed {seed}: {variant.name}")
            run_cell(cell_config(config, variant, seed, budget, folder.path), start)
            cells.append(Cell(variant.name, seed, folder))
    return cells
