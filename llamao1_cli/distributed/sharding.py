"""Weights that FSDP2 shards over the ranks: DTensors, of which each rank stores a part.

Every rank must call what gathers whole tensors. Tensors and models that are not sharded pass
through unchanged.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from llamao1_cli.distributed.zero import ZeroAccelerator


def prepare_model(accelerator: Accelerator, model: nn.Module) -> nn.Module:
    """Returns the model ready for the ranks to train: wrapped, or under FSDP2 itself, sharded."""
    if not accelerator.is_fsdp2:
        return accelerator.prepare(model)
    plugin = accelerator.state.fsdp_plugin
    layers = [each for each in model.modules() if isinstance(each, GradientCheckpointingLayer)]
    # accelerate finds tied embeddings by comparing weights, but under LoRA's trainable tokens those
    # are computed. Here both embeddings are in the last group, with all that is in no layer.
    for module in [*layers, model]:
        fully_shard(
            module,
            reshard_after_forward=True,
            offload_policy=plugin.cpu_offload,
            mp_policy=plugin.mixed_precision_policy or MixedPrecisionPolicy(),
        )
    return model


def prepare_optimizer(
    accelerator: Accelerator, optimizer: torch.optim.Optimizer
) -> torch.optim.Optimizer:
    """Returns the optimizer of a prepared model. accelerate would keep those of earlier stages in
    memory, so it gets to know one only where the model's own engine takes the steps."""
    if isinstance(accelerator, ZeroAccelerator):
        return accelerator.prepare_optimizer(optimizer)
    return optimizer


def is_sharded(model: nn.Module) -> bool:
    """Returns whether each rank stores a part of the model's weights."""
    return isinstance(model, FSDPModule)


def whole(tensor: Tensor) -> Tensor:
    """Returns the whole tensor, on every rank."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered(tensors: Mapping[str, Tensor], accelerator: Accelerator) -> dict[str, Tensor]:
    """Returns the whole tensors on the CPU of the main process, elsewhere nothing; names of one and
    the same tensor get the same copy."""
    found: dict[int, Tensor] = {}
    for tensor in {id(tensor): tensor for tensor in tensors.values()}.values():
        full = whole(tensor.detach())
        if accelerator.is_main_process:
            found[id(tensor)] = full.cpu().contiguous()
    return {name: found[id(tensor)] for name, tensor in tensors.items() if id(tensor) in found}


def sharded_like(tensor: Tensor, weight: Tensor) -> Tensor:
    """Returns a tensor that every rank has whole on the device of `weight`, and sharded alike."""
    tensor = tensor.to(weight.device)
    if not isinstance(weight, DTensor):
        return tensor
    return distribute_tensor(tensor, weight.device_mesh, weight.placements)


@contextmanager
def unsharded(model: nn.Module) -> Iterator[None]:
    """Inside, every rank has all weights whole, and a pass through the model needs no other rank.
    The weights must not change inside; a backward pass may go through them to others."""
    shards = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for module in shards:
        module.unshard()
        _share(module, False)
    try:
        yield
    finally:
        for module in shards:
            _share(module, True)
            module.reshard()


def _share(module: FSDPModule, on: bool) -> None:
    """Set whether a group of weights is sharded again after a pass and sums its gradients."""
    module.set_reshard_after_forward(on, recurse=False)
    module.set_reshard_after_backward(on, recurse=False)
    module.set_requires_gradient_sync(on, recurse=False)
