"""Rates of a configuration on this machine, from a short measurement or from a run."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from llamao1_cli.config import Config
from llamao1_cli.config.file import load_config
from llamao1_cli.distributed.optimizer_step import make_optimizer
from llamao1_cli.errors import UserError
from llamao1_cli.files.run_folder import run_folder
from llamao1_cli.learn.credit import has_signal
from llamao1_cli.learn.experience import Experience, experiences
from llamao1_cli.learn.update import Updater
from llamao1_cli.plan.prediction import Rates, affine, median, rates_of_run
from llamao1_cli.run.assembly import Parts, assemble
from llamao1_cli.search.grow import SearchRequest
from llamao1_cli.search.tree import Tree
from llamao1_cli.search.tree_files import write_trees
from llamao1_cli.value.make import make_value_trainer

FEWER = 4  # the small rollout has so many times fewer problems than the large one


def rates_from_runs(paths: Sequence[Path]) -> Rates:
    """Returns the rates of runs in one process.

    Several runs with different numbers of problems an iteration also tell what a rollout takes at
    least. Raises UserError for a run that has not reached self-play.
    """
    found = sorted(map(_rates_from_run, paths), key=lambda pair: pair[0])
    (few, quick), (many, slow) = found[0], found[-1]
    if few == many:
        return slow
    start, each = affine((few, few * quick.each), (many, many * slow.each))
    return replace(slow, start=start, each=each)


def _rates_from_run(path: Path) -> tuple[float, Rates]:
    """Returns the problems that an iteration of a run plays, and its rates."""
    folder = run_folder(path)
    config = load_config(folder.config)
    if config.self_play.backend != "local":
        raise UserError(f"--from {path}: its rollouts were shared out; name a run in one process")
    lines = folder.metrics.read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["stage"] == "self-play"]
    if not rows:
        raise UserError(f"--from {path}: no iteration of self-play yet; let it run on first")
    size = _replay_tree_bytes(folder.latest())
    played = median([row["played_problems"] for row in rows[1:] or rows])
    return played, rates_of_run(rows, config.replay.draws, size)


def measure_rates(config: Config, weights: Path | None, problems: int) -> Rates:
    """Returns the rates of so many problems in one process, from two rollouts and an update.

    Nothing that it writes stays.
    """
    alone = {"backend": "local", "actors": 1, "max_staleness": 0}
    local = config.model_copy(update={"self_play": config.self_play.model_copy(update=alone)})
    parts = assemble(local, weights)
    with parts.verifier:
        _timed_play(parts, 1, 1)  # warms up
        few = max(problems // FEWER, 1)
        quick, _ = _timed_play(parts, few, 2)
        slow, trees = _timed_play(parts, problems, 3)
    start, each = affine((few, quick), (problems, slow))
    begun = time.perf_counter()
    with TemporaryDirectory() as folder:
        write_trees(Path(folder) / "trees.jsonl", trees)
    items = experiences(
        trees,
        parts.language,
        config.learn,
        config.search.discount,
        min_tokens=config.search.min_thought_tokens,
    )
    rest = time.perf_counter() - begun
    update = _timed_update(parts, items)
    values = make_value_trainer(config.value_head, parts.value_function, parts.accelerator)
    begun = time.perf_counter()
    if values:
        values.learn(trees, 1)
    parts.engine.refresh()
    return Rates(
        start=start,
        each=each,
        update=update / max(len(items), 1),
        rest=rest + time.perf_counter() - begun,
        tokens=sum(tree.generated_tokens for tree in trees) / problems,
        tree_bytes=float(np.mean([experience_bytes(item) for item in items] or [0])),
        signal=sum(map(has_signal, trees)) / problems,
    )


def experience_bytes(item: Experience) -> int:
    """Returns the bytes of the arrays of an experience."""
    arrays = [item.ids, item.before, *vars(item.actions).values(), *vars(item.ratings).values()]
    return sum(array.nbytes for array in arrays)


def _timed_play(parts: Parts, count: int, number: int) -> tuple[float, list[Tree]]:
    problems = parts.task.train_problems(parts.config.run.seed, number, count)
    begun = time.perf_counter()
    request = SearchRequest(problems, parts.config.search, rewards=parts.verifier.rewards)
    trees = parts.selfplay.play(request, number)
    return time.perf_counter() - begun, trees


def _timed_update(parts: Parts, items: Sequence[Experience]) -> float:
    """Returns the seconds of one pass over the trees, after a step that warms up."""
    learn, model = parts.config.learn, parts.language_model.model
    optimizer = make_optimizer(model, learn.betas, learn.weight_decay)
    updater = Updater(
        learn, parts.language, parts.config.search.sampling, parts.accelerator, model, optimizer
    )
    batches = [items[i : i + learn.batch_size] for i in range(0, len(items), learn.batch_size)]
    for batch in batches[:1]:
        updater.step(batch, np.ones(len(batch)), 0.0, "the measurement")
    begun = time.perf_counter()
    for batch in batches:
        updater.step(batch, np.ones(len(batch)), 0.0, "the measurement")
    return time.perf_counter() - begun


def _replay_tree_bytes(checkpoint: Path) -> float:
    """Returns the mean bytes of a tree in the checkpoint's replay, 0 if it is empty."""
    trees = size = 0
    for file in checkpoint.glob("replay*.safetensors"):
        try:
            with safe_open(file, "numpy") as stored:
                trees += _length(stored, "serials")
        except SafetensorError as error:
            raise UserError(f"{file}: cannot be read: {error}") from None
        size += file.stat().st_size
    return size / trees if trees else 0.0


def _length(stored: Any, name: str) -> int:
    return int(stored.get_slice(name).get_shape()[0])
