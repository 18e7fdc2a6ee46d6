"""The bench commands, once their options are read."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from rich.console import Console
from rich.table import Table

from llamao1_cli.bench.rollout import BUILTIN, VLLM, bench_rollout
from llamao1_cli.bench.tables import rollout_table, update_table
from llamao1_cli.bench.update import VARIANTS, bench_update, grown
from llamao1_cli.bench.workload import Workload
from llamao1_cli.config import Config, LearnConfig
from llamao1_cli.distributed.threads import set_threads
from llamao1_cli.errors import UserError
from llamao1_cli.files.whole import write_whole
from llamao1_cli.language.marked import METAS
from llamao1_cli.language.protocol import Language
from llamao1_cli.learn.algorithms import configured_algorithm
from llamao1_cli.learn.algorithms.clipped import ClippedLoss
from llamao1_cli.model.load import LanguageModel, load_model
from llamao1_cli.report.display import Display
from llamao1_cli.search.tree import Tree
from llamao1_cli.search.tree_files import read_trees
from llamao1_cli.tasks.load import load_task


def run_rollout(
    config: Config,
    shape: dict[str, Any],
    *,
    variants: Sequence[str],
    baseline_trees: int,
    repeats: int,
    json_file: Path | None,
) -> None:
    """Measure rollouts, print the table, and write the figures to `json_file` if there is one."""
    unknown = sorted(set(variants) - {*BUILTIN, *VLLM})
    if unknown:
        raise UserError(f"--variant {unknown[0]}: choose from {', '.join([*BUILTIN, *VLLM])}")
    workload, loaded = _prepare(config, shape, json_file)
    installed = importlib.util.find_spec("vllm") is not None
    chosen = list(variants) or [*BUILTIN, *(VLLM if installed else ())]
    with Display().progress("bench", repeats * len(chosen), 0) as advance:
        result = bench_rollout(
            loaded.model,
            loaded.language(METAS),
            workload,
            variants=chosen,
            baseline_trees=baseline_trees,
            repeats=repeats,
            rows=config.engine.rows,
            memory=int(config.engine.memory_gib * 2**30),
            on_measured=lambda name, seconds: advance(f"{name} {seconds:.1f} s"),
        )
    _show(rollout_table(result), result, json_file)


def run_update(
    config: Config,
    shape: dict[str, Any],
    *,
    trees_file: Path | None,
    repeats: int,
    json_file: Path | None,
) -> None:
    """Measure optimizer steps, print the table, and write the figures to `json_file` if there is
    one.

    The trees are those of `trees_file`, or grown in the shape of the configured search.
    """
    _check_comparable(config.learn)
    if config.search.algorithm == "forks":
        shape = shape | {"chains": config.search.chains, "forks": config.search.max_forks}
    # Stored trees are as long as the configured model allows.
    length = None if trees_file is None else config.model.max_length
    workload, loaded = _prepare(config, shape, json_file, length)
    language = loaded.language(METAS)
    if trees_file is None:
        memory = int(config.engine.memory_gib * 2**30)
        trees = grown(loaded.model, language, workload, config.engine.rows, memory)
    else:
        trees = _stored(trees_file, language, shape["trees"])
    with Display().progress("bench", repeats * len(VARIANTS), 0) as advance:
        result = bench_update(
            loaded.model,
            language,
            trees,
            config.learn,
            config.search,
            repeats=repeats,
            on_measured=lambda name, seconds: advance(f"{name} {seconds:.1f} s"),
        )
    _show(update_table(result), result, json_file)


def _check_comparable(learn: LearnConfig) -> None:
    """Raises UserError for an update that the padded variants cannot make."""
    if not isinstance(configured_algorithm(learn), ClippedLoss):
        raise UserError(
            f"learn.algorithm: {learn.algorithm}: its loss has no padded counterpart here; "
            "measure rlsp or grpo"
        )
    if learn.kl_weight or learn.checkpoint_activations:
        raise UserError(
            "learn.kl_weight and learn.checkpoint_activations would burden packed trees alone; "
            "leave them out"
        )


def _stored(path: Path, language: Language, count: int) -> list[Tree]:
    """Returns the first `count` trees of a run's file."""
    if not path.is_file():
        raise UserError(f"--stored {path}: no such file; give one of a run's folder `trees`")
    return read_trees(path, language)[:count]


def _prepare(
    config: Config, shape: dict[str, Any], json_file: Path | None, length: int | None = None
) -> tuple[Workload, LanguageModel]:
    """Returns the workload, checked, and the model with a context of `length`; None: a context that
    holds the workload's longest path."""
    if json_file is not None and not json_file.parent.is_dir():
        raise UserError(f"--json {json_file}: its folder does not exist; make it first")
    set_threads(config.run)
    workload = Workload(**shape, max_depth=config.search.max_depth, seed=config.run.seed)
    if not workload.chains and workload.simulations > workload.room:
        raise UserError(
            f"--simulations {workload.simulations}: trees of {workload.max_children} children a "
            f"node and depth {workload.max_depth} have room for {workload.room} expansions"
        )
    needed = config.model.model_copy(update={"max_length": length or workload.max_length})
    loaded = load_model(needed, load_task(config.task).corpus(), config.run.seed)
    loaded.model.to(Accelerator(cpu=config.model.device == "cpu").device)
    return workload, loaded


def _show(table: Table, result: dict[str, Any], json_file: Path | None) -> None:
    Console().print(table)
    if json_file is not None:
        write_whole(json_file, json.dumps(result, indent=1) + "\n")
