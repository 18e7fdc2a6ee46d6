"""Steps on bfloat16 weights, by one rank or two."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from two_ranks import Launched

from llamao1_cli.distributed.master_weights import MASTER
from llamao1_cli.distributed.optimizer_state import optimizer_tensors
from llamao1_cli.distributed.optimizer_step import make_optimizer, optimizer_step
from llamao1_cli.distributed.sharding import prepare_model, prepare_optimizer, whole
from llamao1_cli.run.checkpoint import load_optimizer, save_optimizer

BETAS, DECAY = (0.9, 0.98), 0.1
INPUTS = torch.randn(6, 2, 6, generator=torch.Generator().manual_seed(3)).to(torch.bfloat16)


def trained(accelerator: Accelerator, folder: Path) -> dict[str, Tensor]:
    """Steps on bf16 weights, in the middle of them an optimizer that takes over the state of the
    one before: the weights and its state at the end. Ranks share each loss."""
    torch.manual_seed(0)
    whole_model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).to(torch.bfloat16)
    model = prepare_model(accelerator, whole_model)
    state: dict[str, Tensor] = {}
    for part in INPUTS.split(3):
        optimizer = prepare_optimizer(accelerator, make_optimizer(model, BETAS, DECAY))
        if state:
            load_optimizer(folder, optimizer)
        for row in part:
            optimizer_step(
                accelerator,
                model,
                optimizer,
                [lambda row=row: model(row).square().sum() / accelerator.num_processes],
                rate=1e-4,
                max_grad_norm=1e9,
                name="a test",
            )
        state = {name: whole(value) for name, value in optimizer_tensors(optimizer).items()}
        if accelerator.is_main_process:
            save_optimizer(folder, state)
        accelerator.wait_for_everyone()
    return state | {name: whole(w.detach()) for name, w in whole_model.named_parameters()}


def train(accelerator: Accelerator, folder: str, file: str) -> None:
    """A rank's part of `trained`, whose outcome goes into the file."""
    found = trained(accelerator, Path(folder))
    if accelerator.is_main_process:
        save_file(found, file)


def assert_steps_as_one(folder: Path, rank: Callable[[Sequence[str]], None]) -> None:
    """Two ranks come to what one comes to."""
    file, ranks, alone = folder / "found.safetensors", folder / "ranks", folder / "alone"
    ranks.mkdir()
    alone.mkdir()
    code, errors = Launched(folder / "errors", rank, [str(ranks), str(file)]).end()
    assert code == 0, errors
    expected, found = trained(Accelerator(cpu=True), alone), load_file(file)
    assert found.keys() == expected.keys()
    assert {name for name in found if name.endswith(MASTER)} == {f"{n}.{MASTER}" for n in range(4)}
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor)
