"""The optimizer, its schedules and one optimizer step, for warm-up and self-play alike."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from accelerate import Accelerator

from llamao1_cli.distributed.master_weights import MasterAdamW
from llamao1_cli.distributed.sharding import whole
from llamao1_cli.errors import RunFailedError


def make_optimizer(
    model: torch.nn.Module, betas: tuple[float, float], weight_decay: float
) -> MasterAdamW:
    """Returns AdamW over the trainable parameters; the rate is set before every step."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return MasterAdamW(trainable, lr=0.0, betas=betas, weight_decay=weight_decay)


def ramp_and_cosine(progress: float, ramp: float, floor: float) -> float:
    """Returns the share of the peak rate at `progress` in [0, 1]: a linear ramp, then a cosine down
    to `floor`."""
    if progress < ramp:
        return progress / ramp
    angle = math.pi * (progress - ramp) / max(1.0 - ramp, 1e-9)
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(min(angle, math.pi)))


def ramp_and_line(step: int, ramp: int, progress: float, floor: float) -> float:
    """Returns the share of the peak rate at step number `step`, at `progress` in [0, 1] of the run:
    a line from 1 to `floor`, times a linear ramp over the first `ramp` steps."""
    return min(step / max(ramp, 1), 1.0) * (1.0 - (1.0 - floor) * min(progress, 1.0))


def optimizer_step(
    accelerator: Accelerator,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: Sequence[Callable[[], torch.Tensor]],
    *,
    rate: float,
    max_grad_norm: float,
    name: str,
) -> float:
    """Take one step down the sum of `losses` over all micro-batches and ranks; returns the
    gradient's norm before clipping.

    Each loss is already divided by the size of the whole step. DDP averages over ranks, so the sum
    is restored here. Raises RunFailedError naming the batch if a gradient is not finite; the
    weights are then untouched. The norm is the same on all ranks, so all stop together.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    for index, loss in enumerate(losses):
        last = index == len(losses) - 1
        with nullcontext() if last else accelerator.no_sync(model):
            value = loss()
            # A NaN that was clamped has no gradient. This factor makes it NaN where the loss is.
            one_or_nan = 1 + 0 * value.detach()
            accelerator.backward(value * one_or_nan * accelerator.num_processes)
    norm = float(whole(accelerator.clip_grad_norm_(model.parameters(), max_grad_norm)))
    if not math.isfinite(norm):
        optimizer.zero_grad()
        raise RunFailedError(
            f"the loss or its gradient is not finite in {name}; nothing was updated"
        )
    optimizer.step()
    optimizer.zero_grad()
    return norm
