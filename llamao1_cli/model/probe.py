"""A comparison of an attention of our own with the logits of the model itself."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

PROBE_WINDOW = 4  # tokens
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}  # of the largest logit


@contextmanager
def narrow_windows(model: nn.Module) -> Iterator[None]:
    """Make each window of the model's attention `PROBE_WINDOW` tokens wide inside, so that a probe
    of a few tokens meets its edge.

    A window that a model puts into its masks alone, which an attention of our own never sees, then
    shows as other logits.
    """
    configs = (getattr(module, "config", None) for module in model.modules())
    owners = [*model.modules(), *(c for c in configs if isinstance(c, PreTrainedConfig))]
    windows = [
        (vars(owner), name)
        for owner in {id(owner): owner for owner in owners}.values()
        for name in ("sliding_window", "attention_chunk_size")
        if isinstance(vars(owner).get(name), int)
    ]
    before = [attributes[name] for attributes, name in windows]
    try:
        for attributes, name in windows:
            attributes[name] = PROBE_WINDOW
        yield
    finally:
        for (attributes, name), width in zip(windows, before, strict=True):
            attributes[name] = width


def logit_gap(got: Tensor, expected: Tensor, dtype: torch.dtype) -> float:
    """Returns how far logits `[T, V]` are apart, as a share of the largest one, or of 1 if that is
    more: at the worst token, but at the median one in bf16, where single tokens are wild."""
    scale = expected.float().abs().max().clamp(min=1.0)
    gaps = (got.float() - expected.float()).abs().amax(-1) / scale
    return float(gaps.median() if dtype == torch.bfloat16 else gaps.max())
