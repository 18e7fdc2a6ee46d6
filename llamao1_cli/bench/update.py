"""`llamao1 bench update`: an optimizer step on packed trees against steps on their padded paths."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from transformers import PreTrainedModel

from llamao1_cli.bench.machine import describe, peak_memory, return_free_memory, synchronise
from llamao1_cli.bench.paths import PathStep, tree_paths
from llamao1_cli.bench.workload import Workload, thoughts
from llamao1_cli.config import LearnConfig, SearchConfig
from llamao1_cli.distributed.optimizer_step import make_optimizer
from llamao1_cli.engine.builtin.engine import TreeEngine
from llamao1_cli.language.protocol import Language
from llamao1_cli.learn.batch import micro_batches
from llamao1_cli.learn.experience import experiences
from llamao1_cli.learn.update import Updater
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Tree

LEARNING_RATE = 1e-6  # small enough that repetitions train the same model
VARIANTS = ("padded", "paths", "packed")

Step = Callable[[], object]


def bench_update(
    model: PreTrainedModel,
    language: Language,
    trees: Sequence[Tree],
    config: LearnConfig,
    search: SearchConfig,
    *,
    repeats: int,
    on_measured: Callable[[str, float], None] = lambda name, seconds: None,
) -> dict[str, Any]:
    """Returns seconds, memory and forwarded tokens of one step over the same trees with targets,
    ready for JSON; repetitions interleave."""
    steps, forwarded = _steps(model, language, trees, config, search)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    peaks = _peaks(steps, model.device)
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            synchronise(model)
            seconds[name].append(time.perf_counter() - start)
            on_measured(name, seconds[name][-1])
    medians = {name: median(took) for name, took in seconds.items()}
    nodes = len(thoughts(trees))
    return {
        "machine": describe(),
        "model": {"name": type(model).__name__, "parameters": model.num_parameters()},
        "trees": len(trees),
        "thoughts": nodes,
        "variants": {
            name: {
                "seconds": seconds[name],
                "forwarded_tokens": forwarded[name],
                "thoughts_per_second": nodes / medians[name],
                "ratio_to_paths": medians["paths"] / medians[name],
                "ratio_to_padded": medians["padded"] / medians[name],
                "peak_bytes": peaks[name],
            }
            for name in steps
        },
    }


def grown(
    model: PreTrainedModel, language: Language, workload: Workload, rows: int, memory: int
) -> list[Tree]:
    """Returns the workload's trees with every leaf right or wrong at random, so that all of them
    train the policy."""
    engine = TreeEngine(
        model,
        language,
        dtype=model.dtype,
        rows=rows,
        memory=memory,
        max_length=workload.max_length,
    )
    trees = workload.grow(engine, language)
    rng = np.random.default_rng([workload.seed, 1])
    for tree in trees:
        for leaf in tree.leaf_nodes():
            leaf.earn(float(rng.random() < 0.5))
        rectify(tree, 1.0, "failure")
    return trees


def _peaks(steps: dict[str, Step], device: torch.device) -> dict[str, int]:
    """Returns the bytes that one step of each variant takes at most."""
    steps["packed"]()  # makes the optimizer's state, which counts for no variant
    peaks = {}
    for name, step in steps.items():
        return_free_memory()
        with peak_memory(device) as peak:
            step()
        peaks[name] = peak()
    return peaks


def _steps(
    model: PreTrainedModel,
    language: Language,
    trees: Sequence[Tree],
    config: LearnConfig,
    search: SearchConfig,
) -> tuple[dict[str, Step], dict[str, int]]:
    """Returns one step of each variant, and the tokens that it forwards."""
    optimizer = make_optimizer(model, config.betas, config.weight_decay)
    least = search.min_thought_tokens
    paths = tree_paths(trees, language, config, search.discount, least)
    steps: dict[str, Step] = {}
    forwarded: dict[str, int] = {}
    for name in VARIANTS[:2]:
        lean = name == "paths"
        step = PathStep(model, language, config, search.sampling, optimizer, paths, lean=lean)
        steps[name], forwarded[name] = partial(step, LEARNING_RATE), step.forwarded
    batch = experiences(trees, language, config, search.discount, min_tokens=least)
    parts = micro_batches(list(enumerate(batch)), config.micro_batch_tokens)
    forwarded["packed"] = sum(len(part.ids) for group in parts for _, part in group)
    accelerator = Accelerator(cpu=model.device.type == "cpu")
    updater = Updater(config, language, search.sampling, accelerator, model, optimizer)
    ones = np.ones(len(batch), np.float32)
    steps["packed"] = partial(updater.step, batch, ones, LEARNING_RATE, "bench")
    return steps, forwarded
