"""The weights that training changes, as safetensors that travel: of LoRA the adapter alone."""

import torch
from accelerate import Accelerator
from safetensors.torch import load, save
from torch import Tensor, nn

from llamao1_cli.distributed.sharding import gathered
from llamao1_cli.value.adapter import ValueAdapter
from llamao1_cli.value.head import ValueHead

MODEL, HEAD = "model.", "value_head."


def pack_weights(
    model: nn.Module, value_head: ValueHead | ValueAdapter | None, accelerator: Accelerator
) -> bytes:
    """All that training changes: the model's trainable weights and the value head's, whole, on the
    main process; of no use on the others, all of which must call it."""
    return save(gathered(_trained(model, value_head), accelerator))


@torch.no_grad()
def unpack_weights(
    data: bytes, model: nn.Module, value_head: ValueHead | ValueAdapter | None
) -> None:
    """Take over what `pack_weights` gave; ValueError if it came from another model or head."""
    stored, places = load(data), _trained(model, value_head)
    if {n: w.shape for n, w in stored.items()} != {n: w.shape for n, w in places.items()}:
        raise ValueError("the weights are those of another model or value head")
    for name, place in places.items():
        place.copy_(stored[name])


def _trained(model: nn.Module, value_head: ValueHead | ValueAdapter | None) -> dict[str, Tensor]:
    """The weights themselves, by the names under which they travel."""
    trained: dict[str, Tensor] = {
        MODEL + n: p for n, p in model.named_parameters() if p.requires_grad
    }
    if isinstance(value_head, ValueHead):
        return trained | {HEAD + n: w for n, w in value_head.state_dict().items()}
    if isinstance(value_head, ValueAdapter):
        return trained | {HEAD + n: w for n, w in value_head.weights.items()}
    return trained
