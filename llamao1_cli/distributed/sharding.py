"""Weights that FSDP2 shards over the ranks: DTensors, of which each rank stores a part.

What gathers a whole tensor needs every rank. Tensors and models that are not sharded pass through.
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
    """The model as the ranks train it together: under FSDP2 itself, its weights sharded."""
    if not accelerator.is_fsdp2:
        return accelerator.prepare(model)
    plugin = accelerator.state.fsdp_plugin
    layers = [each for each in model.modules() if isinstance(each, GradientCheckpointingLayer)]
    # accelerate's own way tells tied embeddings by their weights, which the trainable tokens of
    # LoRA compute. Here both are in the last group, with all that is in no layer.
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
    """The optimizer of a prepared model. accelerate would hold on to those of earlier stages, so
    it is told of none but where the model's own engine takes the steps."""
    if isinstance(accelerator, ZeroAccelerator):
        return accelerator.prepare_optimizer(optimizer)
    return optimizer


def is_sharded(model: nn.Module) -> bool:
    """Whether each rank stores a part of the model's weights."""
    return isinstance(model, FSDPModule)


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor, on every rank."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered(tensors: Mapping[str, Tensor], accelerator: Accelerator) -> dict[str, Tensor]:
    """Whole tensors on the CPU, on the main process alone; what was one stays one."""
    found: dict[int, Tensor] = {}
    for tensor in {id(tensor): tensor for tensor in tensors.values()}.values():
        full = whole(tensor.detach())
        if accelerator.is_main_process:
            found[id(tensor)] = full.cpu().contiguous()
    return {name: found[id(tensor)] for name, tensor in tensors.items() if id(tensor) in found}


def sharded_like(tensor: Tensor, weight: Tensor) -> Tensor:
    """A whole tensor that every rank has, where the weight of its shape is, and sharded as it."""
    tensor = tensor.to(weight.device)
    if not isinstance(weight, DTensor):
        return tensor
    return distribute_tensor(tensor, weight.device_mesh, weight.placements)


@contextmanager
def unsharded(model: nn.Module) -> Iterator[None]:
    """Inside, every rank has all weights whole, and passes through the model need no other rank.
    They are to be read, also by a backward pass to other weights."""
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
    """Whether a group of weights goes back to its shards after a pass, and sums gradients."""
    module.set_reshard_after_forward(on, recurse=False)
    module.set_reshard_after_backward(on, recurse=False)
    module.set_requires_gradient_sync(on, recurse=False)
