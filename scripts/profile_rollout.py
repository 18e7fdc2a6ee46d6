"""What binds the built-in engine: where the processor's time goes in a rollout.

Profiles one run of the forced workload of `llamao1 bench rollout`, and prints the share of each
kind of operation. `between operations` is Python, and the profiler itself.

usage: python scripts/profile_rollout.py --model models/smollm2-135m --dtype bfloat16
       python scripts/profile_rollout.py --config configs/quickstart.yaml [--trees 16] [--threads 1]
"""

import argparse
import time
from collections import Counter
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from llamao1_cli.bench.workload import Workload, thoughts
from llamao1_cli.config import Config
from llamao1_cli.config.file import build_config, load_config
from llamao1_cli.engine.builtin.engine import TreeEngine
from llamao1_cli.language.marked import METAS
from llamao1_cli.model.load import load_model
from llamao1_cli.tasks.load import load_task

# What an operation does, by words in its name; the first that fits counts.
KINDS = {
    "products with weights": ("linear", "aten::mm", "addmm"),
    "products of attention": ("bmm",),
    "softmax": ("softmax",),
    "keys, values and rows moved": (
        *("copy", "cat", "index", "gather", "clone", "zero", "fill", "empty", "arange"),
    ),
}
REST, BETWEEN = "all other operations", "between operations"


def shares(config: Config, dtype: str, trees: int, simulations: int) -> str:
    """A Markdown table of the kinds of operations and their shares of one rollout."""
    workload = Workload(trees, simulations, 2, 2, (60, 100), (32, 64), max_depth=12, seed=0)
    model = config.model.model_copy(update={"max_length": workload.max_length})
    loaded = load_model(model, load_task(config.task).corpus(), config.run.seed)
    language = loaded.language(METAS)
    engine = TreeEngine(
        loaded.model,
        language,
        dtype=getattr(torch, dtype),
        rows=config.engine.rows,
        memory=int(config.engine.memory_gib * 2**30),
        max_length=workload.max_length,
    )
    workload.grow(engine, language, 2)  # libraries set themselves up
    engine.refresh()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        grown = workload.grow(engine, language)
        seconds = time.perf_counter() - start
    spent: Counter[str] = Counter()
    for event in profiler.key_averages():
        spent[_kind(event.key)] += event.self_cpu_time_total / 1e6
    spent[BETWEEN] = max(seconds - sum(spent.values()), 0.0)
    lines = ["| kind | share |", "|---|---|"]
    lines += [f"| {kind} | {part / seconds:.0%} |" for kind, part in spent.most_common()]
    return "\n".join([*lines, "", f"{len(thoughts(grown))} thoughts in {seconds:.1f} s, profiled"])


def _kind(name: str) -> str:
    for kind, words in KINDS.items():
        if any(word in name for word in words):
            return kind
    return REST


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", help="folder or hub name")
    which.add_argument("--config", type=Path)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--trees", type=int, default=16)
    parser.add_argument("--simulations", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.config:
        config = load_config(given.config)
    else:
        config = build_config({"model": {"path": given.model}}, "--model")
    print(shares(config, given.dtype, given.trees, given.simulations))


if __name__ == "__main__":
    main()
