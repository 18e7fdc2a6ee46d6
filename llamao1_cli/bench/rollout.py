"""`llamao1 bench rollout`: thoughts a second of every engine on one workload."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import torch
from transformers import PreTrainedModel

from llamao1_cli.bench.baselines import GenerateEngine
from llamao1_cli.bench.machine import describe, peak_memory, weights_roofline
from llamao1_cli.bench.workload import Workload, thoughts, unique_tokens
from llamao1_cli.engine.builtin.engine import TreeEngine
from llamao1_cli.engine.tickets import TicketEngine
from llamao1_cli.engine.vllm.engine import VllmEngine
from llamao1_cli.language.protocol import Language

ROOFLINE_ROWS = (1, 16, 64)
BUILTIN = ("reference", "generate", "tree-float32", "tree-bfloat16")
VLLM = ("vllm-float32", "vllm-bfloat16")


@dataclass
class Measurement:
    """The repetitions of one variant."""

    trees: int
    seconds: list[float] = field(default_factory=list)
    nodes: int = 0
    tokens: int = 0
    forwarded: int = 0
    unique: int = 0
    peak_bytes: int = 0


def bench_rollout(
    model: PreTrainedModel,
    language: Language,
    workload: Workload,
    *,
    variants: Sequence[str],
    baseline_trees: int,
    repeats: int,
    rows: int,
    memory: int,
    on_measured: Callable[[str, float], None] = lambda name, seconds: None,
) -> dict[str, Any]:
    """Returns the figures of each variant, ready for JSON; repetitions interleave, so that a busy
    minute hits all.

    The reference answers one request after the other, and grows only `baseline_trees` of the trees:
    what is compared are thoughts a second.
    """
    engines = {name: _engine(name, model, language, workload, rows, memory) for name in variants}
    results = {
        name: Measurement(baseline_trees if name == "reference" else workload.trees)
        for name in variants
    }
    for repeat in range(repeats + 1):  # the first round warms up
        for name, engine in engines.items():
            if repeat == 0 and isinstance(engine, GenerateEngine):
                continue
            seconds = _measure(
                engine, language, workload, results[name], model.device, keep=repeat > 0
            )
            if repeat:
                on_measured(name, seconds)
    roofline = _roofline(model, engines)
    return {
        "machine": describe(),
        "model": {"name": type(model).__name__, "parameters": model.num_parameters()},
        "workload": asdict(workload),
        "roofline_tokens_per_second": roofline,
        "variants": _figures(results, roofline, str(model.dtype).removeprefix("torch.")),
    }


def _engine(
    name: str,
    model: PreTrainedModel,
    language: Language,
    workload: Workload,
    rows: int,
    memory: int,
) -> TicketEngine:
    if name in ("reference", "generate"):
        return GenerateEngine(
            model, language, max_length=workload.max_length, batched=name == "generate"
        )
    backend, _, dtype = name.partition("-")
    return (VllmEngine if backend == "vllm" else TreeEngine)(
        model,
        language,
        dtype=getattr(torch, dtype),
        rows=rows,
        memory=memory,
        max_length=workload.max_length,
    )


def _measure(
    engine: TicketEngine,
    language: Language,
    workload: Workload,
    result: Measurement,
    device: torch.device,
    *,
    keep: bool,
) -> float:
    """Returns the seconds of one repetition, with empty caches before and after; `keep` puts its
    figures into `result`."""
    engine.refresh()
    before = engine.forwarded
    with peak_memory(device) as peak:
        start = time.perf_counter()
        trees = workload.grow(engine, language, result.trees)
        seconds = time.perf_counter() - start
    if keep:
        result.seconds.append(seconds)
        result.nodes = len(thoughts(trees))
        result.tokens = sum(len(thought.ids) for thought in thoughts(trees))
        result.forwarded = engine.forwarded - before
        result.unique = unique_tokens(trees, language)
        result.peak_bytes = max(result.peak_bytes, peak())
    engine.refresh()
    return seconds


def _roofline(
    model: PreTrainedModel, engines: dict[str, TicketEngine]
) -> dict[str, dict[str, float]]:
    """Returns tokens a second of the matrix products alone, by type of the weights and rows a
    step."""
    copies = {str(model.dtype).removeprefix("torch."): model}
    for engine in engines.values():
        if isinstance(engine, TreeEngine):
            copies[str(engine.model.dtype).removeprefix("torch.")] = engine.model
    return {
        dtype: {str(rows): weights_roofline(plain, rows) for rows in ROOFLINE_ROWS}
        for dtype, plain in copies.items()
    }


def _figures(
    results: dict[str, Measurement], roofline: dict[str, dict[str, float]], plain: str
) -> dict[str, dict[str, Any]]:
    base = results.get("reference")
    slowest = median(base.seconds) / base.nodes if base else None
    figures = {}
    for name, result in results.items():
        each = median(result.seconds) / result.nodes
        dtype = name.partition("-")[2] or plain
        limit = max(roofline.get(dtype, {}).values(), default=0.0)
        rates = sorted(result.nodes / seconds for seconds in result.seconds)
        read = result.forwarded / median(result.seconds)
        figures[name] = {
            "trees": result.trees,
            "thoughts": result.nodes,
            "seconds": result.seconds,
            "thoughts_per_second": {"median": 1 / each, "min": rates[0], "max": rates[-1]},
            "generated_tokens_per_second": result.tokens / median(result.seconds),
            "forwarded_tokens_per_second": read,
            "ratio_to_reference": slowest / each if slowest else None,
            "forwarded_over_unique": result.forwarded / result.unique,
            "peak_bytes": result.peak_bytes,
            "roofline_share": read / limit if limit else None,
        }
    return figures
