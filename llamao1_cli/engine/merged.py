"""LoRA merged into the weights while an engine runs, and taken out again to the last bit."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedModel


@contextmanager
def merged(model: PreTrainedModel) -> Iterator[None]:
    """The model's adapters are part of its weights inside: a step then costs what it costs plain.

    Subtracting them afterwards would leave rounding behind, so the weights are copied back.
    """
    if not isinstance(model, PeftModel):
        yield
        return
    weights = [
        module.get_base_layer().weight
        for module in model.modules()
        if isinstance(module, BaseTunerLayer)
    ]
    before = [weight.detach().clone() for weight in weights]
    model.merge_adapter()
    try:
        yield
    finally:
        model.unmerge_adapter()
        with torch.no_grad():
            for weight, own in zip(weights, before, strict=True):
                weight.copy_(own)
