"""The ranks of a run, and what they send each other beside gradients: bytes and decisions.

Nothing that travels is pickled: trees go as JSON, experiences as safetensors.
"""

import os
from datetime import timedelta

import numpy as np
import torch
from accelerate import Accelerator, InitProcessGroupKwargs

from llamao1_cli.distributed.zero import ZeroAccelerator, launched_for_zero
from llamao1_cli.errors import UserError

# Ranks wait for the one with the longest rollouts. The launcher notices at once when a rank dies;
# this limit ends a run in which a rank hangs.
LONGEST_WAIT = timedelta(minutes=30)


def make_accelerator(device: str) -> Accelerator:
    """Returns the accelerator that joins the ranks of the launcher; without one there is one rank.

    `device` is that of the model, as configured. Raises UserError for a layout that the update does
    not run in.
    """
    # Without a GPU accelerate would leave the ranks apart unless it is told.
    cpu = device == "cpu" or not torch.cuda.is_available()
    group = InitProcessGroupKwargs(timeout=LONGEST_WAIT)
    kind = ZeroAccelerator if launched_for_zero() else Accelerator
    accelerator = kind(cpu=cpu, kwargs_handlers=[group])
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        _check_fsdp(accelerator)
    return accelerator


def _check_fsdp(accelerator: Accelerator) -> None:
    if not accelerator.is_fsdp2:
        raise UserError(
            "FSDP needs `fsdp_version: 2` and GPUs, one a rank; use configs/accelerate/fsdp2.yaml "
            "there, and ddp.yaml elsewhere"
        )
    if not accelerator.state.fsdp_plugin.reshard_after_forward:
        raise UserError("fsdp_reshard_after_forward: false is not supported; set it to true")


def gather_bytes(accelerator: Accelerator, data: bytes) -> list[bytes]:
    """Returns the `data` of all ranks, in their order, on every rank."""
    if accelerator.num_processes == 1:
        return [data]
    device = accelerator.device
    sizes = accelerator.gather(torch.tensor([len(data)], device=device)).tolist()
    padded = np.zeros((1, max(sizes)), np.uint8)
    padded[0, : len(data)] = np.frombuffer(data, np.uint8)
    rows = accelerator.gather(torch.from_numpy(padded).to(device)).cpu().numpy()
    return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]


def main_says(accelerator: Accelerator, answer: bool) -> bool:
    """Returns the main process's answer on every rank; what files there are may look different."""
    mine = torch.tensor(int(answer and accelerator.is_main_process), device=accelerator.device)
    return bool(accelerator.reduce(mine, "sum"))
