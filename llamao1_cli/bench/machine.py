"""What the machine itself can do, and what a measurement needed of it."""

import ctypes
import gc
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from llamao1_cli.engine.builtin.packed_linear import PackedLinear


def describe() -> dict[str, str | int]:
    """Returns the machine and the versions that a figure depends on."""
    described: dict[str, str | int] = {
        "processor": platform.machine(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if torch.cuda.is_available():
        described["gpu"] = torch.cuda.get_device_name()
    return described


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], int]]:
    """Yields a function that returns, afterwards, by how many bytes the process (on CUDA: its
    tensors) grew inside at most; 0 where the system does not tell."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        start = torch.cuda.memory_allocated()
        yield lambda: torch.cuda.max_memory_allocated() - start
    elif status.exists() and reset.exists():
        reset.write_text("5")  # forgets the high-water mark
        start = _kilobytes(status, "VmRSS:") * 1024
        yield lambda: max(_kilobytes(status, "VmHWM:") * 1024 - start, 0)
    else:
        yield lambda: 0


def return_free_memory() -> None:
    """Have glibc return freed memory to the system, or what follows may seem to need none."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _kilobytes(status: Path, name: str) -> int:
    lines = [line.split() for line in status.read_text().splitlines()]
    return next((int(words[1]) for words in lines if words and words[0] == name), 0)


def weights_roofline(model: PreTrainedModel, tokens: int, repeats: int = 5) -> float:
    """Returns tokens a second if a step of `tokens` rows cost nothing but its matrix products.

    Runs every linear layer of the model, the output head among them, on random rows; the fastest
    repetition counts.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | PackedLinear)]
    rows = {
        layer.in_features: torch.randn(
            tokens, layer.in_features, dtype=model.dtype, device=model.device
        )
        for layer in layers
    }
    fastest = float("inf")
    with torch.inference_mode():
        for _ in range(repeats + 1):  # the first one warms up
            synchronise(model)
            start = time.perf_counter()
            for layer in layers:
                layer(rows[layer.in_features])
            synchronise(model)
            fastest = min(fastest, time.perf_counter() - start)
    return tokens / fastest


def synchronise(model: PreTrainedModel) -> None:
    """Wait until the GPU has done its work; nothing on CPU."""
    if model.device.type == "cuda":
        torch.cuda.synchronize()
