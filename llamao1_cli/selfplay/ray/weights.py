"""The weights that training changes, as safetensors that travel: of LoRA the adapter alone."""

import torch
from accelerate import Accelerator
from safetensors.torch import load, save
from torch import Tensor, nn

from llamao1_cli.distributed.sharding import gathered
from llamao1_cli.value.protocol import ValueFunction

MODEL, VALUE = "model.", "value_head."  # prefixes of the tensors' names


def pack_weights(
    model: nn.Module, value_function: ValueFunction | None, accelerator: Accelerator
) -> bytes:
    """Returns all that training changes, the model's trainable weights and the value function's.

    Every rank must call it; only the main process gets them, the others bytes of no use.
    """
    return save(gathered(_trained(model, value_function), accelerator))


@torch.no_grad()
def unpack_weights(data: bytes, model: nn.Module, value_function: ValueFunction | None) -> None:
    """Take over the weights of `pack_weights`; raises ValueError if they are another model's."""
    stored, own = load(data), _trained(model, value_function)
    if {n: w.shape for n, w in stored.items()} != {n: w.shape for n, w in own.items()}:
        raise ValueError("the weights are those of another model or value head")
    for name, weight in own.items():
        weight.copy_(stored[name])


def _trained(model: nn.Module, value_function: ValueFunction | None) -> dict[str, Tensor]:
    """Returns the weights themselves, by the names under which they travel."""
    trained: dict[str, Tensor] = {
        MODEL + n: p for n, p in model.named_parameters() if p.requires_grad
    }
    tensors = value_function.tensors() if value_function is not None else {}
    return trained | {VALUE + n: w for n, w in tensors.items()}
