"""`llamao1 bench update`: an optimizer step of self-play against a plain padded loop."""

import time
from collections.abc import Callable
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn import functional
from transformers import PreTrainedModel

from llamao1_cli.bench.machine import describe, peak_memory, synchronise
from llamao1_cli.bench.workload import Workload, thoughts
from llamao1_cli.codec import Codec
from llamao1_cli.config import LearnConfig
from llamao1_cli.engine.protocol import Sampling
from llamao1_cli.engine.tree import TreeEngine
from llamao1_cli.experience import Experience, experiences
from llamao1_cli.optimization import make_optimizer
from llamao1_cli.search.grow import rectify
from llamao1_cli.search.tree import Tree
from llamao1_cli.update import Updater, trainable_weights

RATE = 1e-6  # small enough that repetitions train the same model


def bench_update(
    model: PreTrainedModel,
    codec: Codec,
    workload: Workload,
    config: LearnConfig,
    *,
    repeats: int,
    memory: int,
    on_measured: Callable[[str, float], None] = lambda name, seconds: None,
) -> dict[str, Any]:
    """Seconds and memory of one step over the same paths, JSON-ready; repetitions interleave."""
    trees = _graded(_grow(model, codec, workload, memory), workload.seed)
    batch = experiences(trees, codec, config, 1.0)
    accelerator = Accelerator(cpu=model.device.type == "cpu")
    optimizer = make_optimizer(model, config.betas, config.weight_decay)
    updater = Updater(config, codec, Sampling(), accelerator, model, optimizer)
    if config.kl_weight:
        updater.reference = trainable_weights(model)
    ones = np.ones(len(batch), np.float32)
    steps: dict[str, Callable[[], object]] = {
        "padded": lambda: padded_step(model, codec, batch, config, optimizer),
        "updater": lambda: updater.step(batch, ones, RATE, "bench"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    peaks = dict.fromkeys(steps, 0)
    for repeat in range(repeats + 1):  # the first round warms up
        for name, step in steps.items():
            with peak_memory(model.device) as peak:
                start = time.perf_counter()
                step()
                synchronise(model)
                took = time.perf_counter() - start
            if repeat:
                seconds[name].append(took)
                peaks[name] = max(peaks[name], peak())
                on_measured(name, took)
    nodes, slowest = len(thoughts(trees)), median(seconds["padded"])
    return {
        "machine": describe(),
        "model": {"name": type(model).__name__, "parameters": model.num_parameters()},
        "workload": asdict(workload),
        "paths": len(batch),
        "path_tokens": sum(len(item.ids) for item in batch),
        "variants": {
            name: {
                "seconds": took,
                "thoughts_per_second": nodes / median(took),
                "ratio_to_padded": slowest / median(took),
                "peak_bytes": peaks[name],
            }
            for name, took in seconds.items()
        },
    }


def padded_step(
    model: PreTrainedModel,
    codec: Codec,
    batch: list[Experience],
    config: LearnConfig,
    optimizer: torch.optim.Optimizer,
    rate: float = RATE,
) -> None:
    """The plain loop: paths padded in the order they come, logits and log-probs everywhere.

    Computes the same losses as `Updater` with temperature 1, PPO's and the value's.
    """
    model.eval()  # nothing is checkpointed here
    size, device = config.micro_batch_size, model.device
    grammar = codec.grammar(model.get_output_embeddings().weight.shape[0]).to(device)
    tokens = max(sum(int(item.action.sum()) for item in batch), 1)
    values = max(sum(float(item.rated.sum()) for item in batch), 1.0)
    for start in range(0, len(batch), size):
        rows = batch[start : start + size]
        longest = max(len(item.ids) for item in rows)

        def padded(
            name: str, rows: list[Experience] = rows, longest: int = longest
        ) -> torch.Tensor:
            arrays = [getattr(item, name) for item in rows]
            filled = [np.pad(array, (0, longest - len(array))) for array in arrays]
            return torch.from_numpy(np.stack(filled)).to(device)

        ids = padded("ids").long()
        mask = torch.tensor([[1] * len(i.ids) + [0] * (longest - len(i.ids)) for i in rows])
        logits = model(input_ids=ids, attention_mask=mask.to(device)).logits.float()
        masked = logits[:, :-1].masked_fill(~grammar[padded("place").long()[:, 1:]], -1e9)
        logprobs = masked.log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
        ratio = (logprobs - padded("logprob")[:, 1:]).exp()
        advantage, action = padded("advantage")[:, 1:], padded("action")[:, 1:]
        clipped = ratio.clamp(1 - config.clip, 1 + config.clip) * advantage
        capped = ratio.clamp(max=config.ratio_cap) * advantage
        policy = -torch.minimum(capped, clipped)[action].sum()
        rating = logits[..., codec.positive] - logits[..., codec.negative]
        each = functional.binary_cross_entropy_with_logits(
            rating, padded("target"), reduction="none"
        )
        value = (each * padded("rated")).sum()
        (policy / tokens + config.value_weight * value / values).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()


def _grow(model: PreTrainedModel, codec: Codec, workload: Workload, memory: int) -> list[Tree]:
    engine = TreeEngine(
        model,
        codec,
        dtype=model.dtype,
        rows=256,
        memory=memory,
        max_length=workload.max_length,
    )
    return workload.grow(engine, codec)


def _graded(trees: list[Tree], seed: int) -> list[Tree]:
    """The trees with every leaf right or wrong at random, so that all of them teach."""
    rng = np.random.default_rng([seed, 1])
    for tree in trees:
        for leaf in tree.leaf_nodes():
            leaf.outcome = bool(rng.random() < 0.5)
        rectify(tree, 1.0, "failure")
    return trees
