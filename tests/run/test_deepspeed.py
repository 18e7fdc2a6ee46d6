"""DeepSpeed's ZeRO-2 on two ranks; run by `scripts/test_deepspeed.sh`, where DeepSpeed is."""

import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from master_steps import assert_steps_as_one, train
from rank_runs import (
    RUNS,
    alone,
    assert_resumes,
    command,
    compare,
    stored_trees,
    together,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from two_ranks import launch_for_zero, zero

from llamao1_cli.distributed.optimizer_state import optimizer_tensors
from llamao1_cli.distributed.optimizer_step import make_optimizer, optimizer_step
from llamao1_cli.distributed.ranks import make_accelerator
from llamao1_cli.distributed.sharding import prepare_model, prepare_optimizer
from llamao1_cli.errors import RunFailedError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is not installed"
    ),
]
BETAS, DECAY, RATE, NORM = (0.8, 0.9), 0.3, 0.05, 0.5
INPUTS = torch.randn(2, 2, 3, 5, generator=torch.Generator().manual_seed(1))  # [step, rank, micro]
EARLIER = "earlier."  # how moments and weights of the stage before are called in the file


@pytest.mark.parametrize("name", RUNS)
def test_two_ranks_learn_what_one_learns(tmp_path: Path, name: str) -> None:
    one, two, trees = tmp_path / "one", tmp_path / "two", stored_trees(tmp_path / "trees")
    alone(command(one, RUNS[name], "--trees", trees))
    together(tmp_path, command(two, RUNS[name], "--trees", trees), zero)
    compare(one, two)
    assert_resumes(one, two, trees, RUNS[name], zero)


def small() -> nn.Module:
    """A model of sizes that two ranks cannot halve, of which a part does not train."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    model[2].bias.requires_grad_(False)
    return model


def losses(model: nn.Module, micro: Tensor, scale: float = 1.0) -> Iterator[Callable[[], Tensor]]:
    """Of each row of a rank's `micro` `[3, 5]` the loss, which counts more with its place."""
    for place, row in enumerate(micro):
        yield partial(lambda row, weight: model(row).square().sum() * weight, row, scale * place)


def steps(words: Sequence[str]) -> None:
    """A rank: two steps, of which the second is the first of a new stage, and one that fails. What
    came of them goes into the file that `words` names."""
    launch_for_zero()
    accelerator = make_accelerator("cpu")
    plain = small()
    model = prepare_model(accelerator, plain)
    found: dict[str, Tensor] = {}
    micro = INPUTS[:, accelerator.process_index]

    def step(optimizer: torch.optim.Optimizer, data: Tensor, scale: float) -> float:
        told = {"rate": RATE, "max_grad_norm": NORM, "name": "a test"}
        return optimizer_step(
            accelerator, model, optimizer, list(losses(model, data, scale)), **told
        )

    for prefix, data in zip((EARLIER, ""), micro, strict=True):
        adamw = make_optimizer(model, BETAS, DECAY)
        optimizer = prepare_optimizer(accelerator, adamw)
        norm = step(optimizer, data, 1.0)
        tensors = {**optimizer_tensors(optimizer), **plain.state_dict(), "norm": torch.tensor(norm)}
        found |= {prefix + name: tensor.clone() for name, tensor in tensors.items()}
    with pytest.raises(RunFailedError, match="not finite in a test; nothing was updated"):
        # One rank's gradient alone is not finite.
        step(optimizer, micro[0], math.nan if accelerator.is_main_process else 1.0)
    assert all(torch.equal(weight, found[n]) for n, weight in plain.state_dict().items())
    if accelerator.is_main_process:
        save_file(found, words[0])


def test_steps_are_those_of_adamw_on_the_sum_of_all_losses(tmp_path: Path) -> None:
    file = tmp_path / "found.safetensors"
    together(tmp_path, [str(file)], steps)
    found, model = load_file(file), small()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for prefix, batch in zip((EARLIER, ""), INPUTS, strict=True):
        gradients = torch.autograd.grad(
            sum(loss() for micro in batch for loss in losses(model, micro)), trained
        )
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        assert norm > NORM  # or there is nothing to clip
        torch.testing.assert_close(found[prefix + "norm"], norm)
        for place, (weight, gradient) in enumerate(zip(trained, gradients, strict=True)):
            clipped = gradient * NORM / norm
            with torch.no_grad():  # of AdamW's first step only the sign is left
                weight.mul_(1 - RATE * DECAY).sub_(RATE * clipped / (clipped.abs() + 1e-8))
            first, second = ((1 - beta) * clipped**power for power, beta in enumerate(BETAS, 1))
            torch.testing.assert_close(found[f"{prefix}{place}.exp_avg"], first)
            torch.testing.assert_close(found[f"{prefix}{place}.exp_avg_sq"], second)
            assert float(found[f"{prefix}{place}.step"]) == 1.0
        for name, weight in model.state_dict().items():
            torch.testing.assert_close(found[prefix + name], weight)


def narrow_steps(words: Sequence[str]) -> None:
    """A rank that trains bf16 weights."""
    launch_for_zero()
    train(make_accelerator("cpu"), *words)


def test_copies_of_narrow_weights_are_sharded_too(tmp_path: Path) -> None:
    assert_steps_as_one(tmp_path, narrow_steps)
