"""Whether an attention of our own gives the logits of the model itself."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

PROBE_WINDOW = 4


TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}  # of the largest logit


@contextmanager
def narrow_windows(model: nn.Module) -> Iterator[None]:
    """Inside, each window that the model's attention has is `PROBE_WINDOW` tokens wide, so that a
    probe of a few tokens meets its edge. A window that a model puts into its masks alone, which an
    attention of our own never sees, shows as other logits."""
    configs = (getattr(module, "config", None) for module in model.modules())
    owners = [*model.modules(), *(c for c in configs if isinstance(c, PreTrainedConfig))]
    places = [
        (vars(owner), name)
        for owner in {id(owner): owner for owner in owners}.values()
        for name in ("sliding_window", "attention_chunk_size")
        if isinstance(vars(owner).get(name), int)
    ]
    before = [place[name] for place, name in places]
    try:
        for place, name in places:
            place[name] = PROBE_WINDOW
        yield
    finally:
        for (place, name), window in zip(places, before, strict=True):
            place[name] = window


def logit_gap(got: Tensor, expected: Tensor, dtype: torch.dtype) -> float:
    """How far logits `[T, V]` are apart, as a share of the largest (of 1, if that is more): at the
    worst token, in bf16, where single ones are wild, at the middle one."""
    scale = expected.float().abs().max().clamp(min=1.0)
    gaps = (got.float() - expected.float()).abs().amax(-1) / scale
    return float(gaps.median() if dtype == torch.bfloat16 else gaps.max())
