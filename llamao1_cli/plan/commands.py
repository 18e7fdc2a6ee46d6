"""What `llamao1 plan` does once its options are read."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from llamao1_cli.config import Config
from llamao1_cli.files.whole import check_writable, write_whole
from llamao1_cli.plan.measure import measure_rates, rates_from_runs
from llamao1_cli.plan.memory import Memory, ModelShape, memory, paths_held, replay_trees
from llamao1_cli.plan.model_shape import model_shape
from llamao1_cli.plan.prediction import Prediction, Rates, Work, layouts, predict


def plan(
    config: Config,
    weights: Path | None,
    *,
    gpus: int,
    runs: Sequence[Path],
    bandwidth: float,
    json_file: Path | None,
) -> None:
    """Print what an iteration takes on so many GPUs, by layout, and the memory of each part.

    Rates are those of the run folders `runs`, or are measured here and now; `bandwidth` is that
    between two machines in GB/s.
    """
    check_writable("--json", json_file)
    shape = model_shape(config)
    problems = config.learn.problems
    rates = rates_from_runs(runs) if runs else measure_rates(config, weights, problems)
    work = work_of(config, shape, bandwidth * 1e9)
    # Whoever plays ahead does not know yet how the iteration before ended.
    able = [each for each in layouts(gpus) if not (each.ahead and config.by_outcomes)]
    predictions = [predict(rates, work, layout) for layout in able]
    bytes_ = memory_of(config, shape, rates)
    console = Console(highlight=False)
    console.print(_time_table(predictions, rates, work))
    console.print(_memory_table(bytes_, config, shape, gpus))
    if json_file is not None:
        write_whole(json_file, json.dumps(_result(rates, predictions, bytes_), indent=1) + "\n")


def work_of(config: Config, shape: ModelShape, bandwidth: float) -> Work:
    """Returns what an iteration of the configuration has to do; `bandwidth` in bytes a second."""
    sent = shape.trainable * shape.trained_itemsize
    return Work(
        problems=config.learn.problems,
        draws=config.replay.draws,
        batch_size=config.learn.batch_size,
        gradient_bytes=sent,
        weight_bytes=sent,
        bandwidth=bandwidth,
        resample_limit=config.learn.resample_limit if config.learn.resample else None,
    )


def memory_of(config: Config, shape: ModelShape, rates: Rates) -> Memory:
    """Returns the bytes of a run of the configuration."""
    replay = config.replay
    return memory(
        shape,
        reference=bool(config.learn.kl_weight),
        micro_batch_tokens=config.learn.micro_batch_tokens,
        checkpointed=config.learn.checkpoint_activations,
        cache=int(config.engine.memory_gib * 2**30),
        trees=replay_trees(config.learn.problems, replay.max_age, replay.capacity),
        tree_bytes=rates.tree_bytes,
    )


def _result(rates: Rates, predictions: list[Prediction], bytes_: Memory) -> dict[str, Any]:
    return {
        "rates": asdict(rates),
        "layouts": [
            asdict(each) | {"gpus": each.layout.gpus, "bottleneck": each.bottleneck}
            for each in predictions
        ],
        "memory": asdict(bytes_) | {"learner": bytes_.learner, "actor": bytes_.actor},
    }


def _time_table(predictions: list[Prediction], rates: Rates, work: Work) -> Table:
    played, replaced = sum(work.rounds(rates.signal)), ""
    if work.resample_limit is not None:
        replaced = (
            f" in {len(work.rounds(rates.signal))} rounds for {work.taught(rates.signal)} with a "
            f"signal, which {rates.signal:.0%} have"
        )
    title = (
        f"an iteration of {played} problems{replaced}, {rates.tokens:,.0f} tokens each; one "
        f"device: rollout {rates.start:.3g} s + {rates.each:.3g} s a problem, "
        f"update {rates.update:.3g} s a tree"
    )
    table = Table(title=title, title_justify="left")
    for name in ("layout", "GPUs", "rollout s", "update s", "sending s", "rest s", "iteration s"):
        table.add_column(name, justify="left" if name == "layout" else "right")
    table.add_column("tokens/s", justify="right")
    table.add_column("most goes to")
    for each in predictions:
        seconds = (each.rollout, each.update, each.sending, each.rest, each.iteration)
        table.add_row(
            each.layout.name,
            str(each.layout.gpus),
            *(f"{value:.3g}" for value in seconds),
            f"{each.tokens_per_second:,.0f}",
            each.bottleneck,
        )
    return table


def _memory_table(bytes_: Memory, config: Config, shape: ModelShape, gpus: int) -> Table:
    table = Table(title="memory", title_justify="left")
    table.add_column("part")
    table.add_column("MiB", justify="right")
    table.add_column("of what")
    length = config.model.max_length
    held = paths_held(shape, bytes_.cache, length)
    rows = [
        ("weights", bytes_.weights, f"{shape.parameters:,} parameters"),
        ("gradients", bytes_.gradients, f"{shape.trainable:,} that train; float32 for the step"),
        ("optimizer", bytes_.optimizer, "AdamW's two moments; of bf16 weights a float32 copy"),
        ("reference", bytes_.reference, "policy before self-play, where learn.kl_weight is set"),
        ("activations", bytes_.activations, "of one micro-batch; an estimate"),
        ("rollout copy", bytes_.rollout_copy, "weights of the engine, adapters merged"),
        ("KV cache", bytes_.cache, f"engine.memory_gib at most; {held:,} paths of {length} tokens"),
        ("GPU that learns and plays", bytes_.learner, "all of these"),
        (f"the same, state over {gpus}", bytes_.sharded(gpus), "LAYOUT=fsdp2"),
        ("GPU of an actor", bytes_.actor, "weights, rollout copy, KV cache"),
        ("replay", bytes_.replay, "in the memory of the machine"),
    ]
    for name, size, note in rows:
        table.add_row(name, f"{size / 2**20:,.1f}", note)
    return table
