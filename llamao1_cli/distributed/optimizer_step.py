"""What warm-up and self-play updates share: the optimizer, its schedules, one optimizer step."""

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
    """AdamW over the trainable parameters; the rate is set before every step."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return MasterAdamW(trainable, lr=0.0, betas=betas, weight_decay=weight_decay)


def ramp_and_cosine(progress: float, ramp: float, floor: float) -> float:
    """Share of the peak rate at `progress` in [0, 1]: a linear ramp, then a cosine to `floor`."""
    if progress < ramp:
        return progress / ramp
    angle = math.pi * (progress - ramp) / max(1.0 - ramp, 1e-9)
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(min(angle, math.pi)))


def ramp_and_line(step: int, ramp: int, progress: float, floor: float) -> float:
    """Share of the peak rate at step number `step` of a run that is done to `progress` in [0, 1]:
    a line to `floor`, and up to it a linear ramp over the first `ramp` steps."""
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
    """One step down the sum of `losses` over all micro-batches and ranks; returns the norm before
    clipping.

    Each loss is already divided by the size of the whole step. DDP averages over ranks, so the sum
    is restored here. Raises RunFailedError naming the batch if a gradient is not finite; the
    weights are then untouched. The norm is the same on all ranks, so all stop together.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    for place, loss in enumerate(losses):
        last = place == len(losses) - 1
        with nullcontext() if last else accelerator.no_sync(model):
            value = loss()
            # A clamped NaN has no gradient: this keeps a loss that is not finite from hiding.
            honest = 1 + 0 * value.detach()
            accelerator.backward(value * honest * accelerator.num_processes)
    norm = float(whole(accelerator.clip_grad_norm_(model.parameters(), max_grad_norm)))
    if not math.isfinite(norm):
        optimizer.zero_grad()
        raise RunFailedError(
            f"the loss or its gradient is not finite in {name}; nothing was updated"
        )
    optimizer.step()
    optimizer.zero_grad()
    return norm
