"""Steps on bfloat16 weights against AdamW on float32 ones, through checkpoints too."""

import gc
import weakref
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from master_steps import BETAS, DECAY, assert_steps_as_one, train
from torch import Tensor, nn
from two_ranks import sharding

from llamao1_cli.distributed.master_weights import MASTER, MasterAdamW
from llamao1_cli.distributed.optimizer_state import optimizer_tensors
from llamao1_cli.distributed.optimizer_step import make_optimizer, optimizer_step
from llamao1_cli.distributed.sharding import prepare_optimizer
from llamao1_cli.errors import UserError
from llamao1_cli.run.checkpoint import load_optimizer, save_optimizer

RATE = 1e-5
GRADIENTS = torch.randn(40, 64, generator=torch.Generator().manual_seed(1)) + 1.0
BEGIN = 0.03 * torch.randn(64, generator=torch.Generator().manual_seed(2))


def bf16(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.to(torch.bfloat16))


def steps(optimizer: torch.optim.Optimizer, weight: Tensor, gradients: Sequence[Tensor]) -> None:
    for gradient in gradients:
        optimizer.zero_grad()
        weight.grad = gradient.to(weight.dtype)
        optimizer.step()


def adamw(weight: Tensor) -> MasterAdamW:
    return MasterAdamW([weight], lr=RATE, betas=BETAS, weight_decay=DECAY)


def test_steps_below_the_spacing_add_up() -> None:
    narrow, wide = bf16(BEGIN), nn.Parameter(bf16(BEGIN).detach().float())
    steps(adamw(narrow), narrow, list(GRADIENTS))
    plain = torch.optim.AdamW([wide], lr=RATE, betas=BETAS, weight_decay=DECAY)
    steps(plain, wide, list(GRADIENTS.to(torch.bfloat16)))
    assert torch.equal(narrow, wide.to(torch.bfloat16))
    lost = bf16(BEGIN)
    steps(torch.optim.AdamW([lost], lr=RATE, betas=BETAS, weight_decay=DECAY), lost, GRADIENTS)
    moved = [(each.detach() != bf16(BEGIN)).float().mean() for each in (narrow, lost)]
    assert moved[0] > 0.9 > 0.5 > moved[1]  # what it is for


def test_wide_weights_step_as_those_of_adamw() -> None:
    one, other = nn.Parameter(BEGIN.clone()), nn.Parameter(BEGIN.clone())
    optimizer = adamw(one)
    steps(optimizer, one, list(GRADIENTS))
    steps(torch.optim.AdamW([other], RATE, BETAS, weight_decay=DECAY), other, list(GRADIENTS))
    assert torch.equal(one, other)
    assert optimizer.param_groups[0]["params"][0] is one
    assert MASTER not in optimizer.state_dict()["state"][0]


def test_a_checkpoint_keeps_what_rounding_would_lose(tmp_path: Path) -> None:
    straight, before = bf16(BEGIN), bf16(BEGIN)
    steps(adamw(straight), straight, list(GRADIENTS))
    optimizer = adamw(before)
    steps(optimizer, before, list(GRADIENTS[:25]))
    save_optimizer(tmp_path, optimizer_tensors(optimizer))
    after = bf16(before.detach())
    resumed = adamw(after)
    load_optimizer(tmp_path, resumed)
    steps(resumed, after, list(GRADIENTS[25:]))
    assert torch.equal(straight, after)
    state = resumed.state_dict()["state"][0]
    assert {name: value.dtype for name, value in state.items() if value.ndim} == dict.fromkeys(
        ("exp_avg", "exp_avg_sq", MASTER), torch.float32
    )


def test_a_checkpoint_without_copies_is_refused(tmp_path: Path) -> None:
    weight = nn.Parameter(BEGIN.clone())
    optimizer = adamw(weight)
    steps(optimizer, weight, list(GRADIENTS[:1]))
    save_optimizer(tmp_path, optimizer_tensors(optimizer))
    with pytest.raises(
        UserError, match=r"not what a checkpoint holds: no float32 copy of the torch\.bfloat16"
    ):
        load_optimizer(tmp_path, adamw(bf16(BEGIN)))


def test_an_optimizer_takes_no_memory_before_it_steps_and_none_after_its_stage() -> None:
    accelerator, model = Accelerator(cpu=True), nn.Linear(4, 1).to(torch.bfloat16)
    optimizer = prepare_optimizer(accelerator, make_optimizer(model, BETAS, 0.0))
    assert [*map(id, optimizer.param_groups[0]["params"])] == [*map(id, model.parameters())]
    gone = weakref.ref(optimizer)
    del optimizer
    gc.collect()
    assert gone() is None


def test_a_step_of_training_clips_and_forgets() -> None:
    """The gradients that are clipped are those of the weights, and none is left over."""
    accelerator = Accelerator(cpu=True)
    model = nn.Linear(4, 1, bias=False).to(torch.bfloat16)
    # Far from where the sum rounds up or down: Adam's epsilon makes a step a little shorter.
    nn.init.constant_(model.weight, 0.5)
    begin = model.weight.detach().float()
    optimizer = make_optimizer(model, BETAS, 0.0)
    model.weight.grad = torch.full_like(model.weight, 7.0)  # of a step before
    data = torch.tensor([[3.0, -4.0, 0.0, 12.0]], dtype=torch.bfloat16)
    norm = optimizer_step(
        accelerator, model, optimizer, [lambda: model(data).sum()],
        rate=0.25, max_grad_norm=0.5, name="a test",
    )  # fmt: skip
    assert norm == pytest.approx(13.0)
    assert optimizer_tensors(optimizer)["0.exp_avg"].tolist() == [
        pytest.approx([(1 - BETAS[0]) * 0.5 / 13.0 * each for each in data[0].tolist()], rel=0.01)
    ]
    # Of AdamW's first step the sign is left.
    expected = begin - 0.25 * data[0].float().sign()
    assert torch.equal(model.weight.detach()[0], expected[0].to(torch.bfloat16))
    assert model.weight.grad is None


def sharded_steps(words: Sequence[str]) -> None:
    """A rank, whose weights FSDP2 shards."""
    train(sharding("cpu"), *words)


@pytest.mark.slow
def test_sharded_weights_step_as_whole_ones(tmp_path: Path) -> None:
    assert_steps_as_one(tmp_path, sharded_steps)
