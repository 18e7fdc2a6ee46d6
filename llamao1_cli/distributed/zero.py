"""DeepSpeed's ZeRO-2: every rank holds the weights whole, and its part of gradients and moments.

accelerate's own way with DeepSpeed takes the optimizer's step inside the backward pass, where a
gradient that is not finite can no longer be kept from the weights. So accelerate launches the ranks
and joins them, and DeepSpeed's engine is driven here.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from llamao1_cli.distributed.master_weights import MASTER, is_narrow
from llamao1_cli.errors import UserError

MOMENTS = ("exp_avg", "exp_avg_sq")


def launched_for_zero() -> bool:
    """Whether the launcher's layout is ZeRO-2. UserError for another of DeepSpeed's layouts, or
    where DeepSpeed is not installed."""
    # accelerate, which reads the same later, is not to take DeepSpeed into its own hands.
    if os.environ.pop("ACCELERATE_USE_DEEPSPEED", "").lower() != "true":
        return False
    asked = {
        "deepspeed_config_file": (os.environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE"), None),
        "zero_stage": (os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE"), "2"),
        "offload_optimizer_device": (
            os.environ.get("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "none"),
            "none",
        ),
    }
    for key, (value, supported) in asked.items():
        if value != supported:
            raise UserError(
                f"deepspeed_config: {key}: {value} is not supported; use "
                "configs/accelerate/zero2.yaml, or fsdp2.yaml, which shards as much as ZeRO-3"
            )
    if find_spec("deepspeed") is None:
        raise UserError("ZeRO needs the extra: pip install 'llamao1-cli[deepspeed]'")
    return True


class ZeroAccelerator(Accelerator):
    """Ranks that train one model, whose gradients and moments ZeRO-2 shards."""

    _engine: Any

    def prepare_model(self, model: nn.Module, *_: Any, **__: Any) -> nn.Module:
        """Returns DeepSpeed's engine around the model, whose weights stay whole on every rank."""
        import deepspeed

        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        trainable = [weight for weight in model.parameters() if weight.requires_grad]
        bf16 = all(weight.dtype == torch.bfloat16 for weight in trainable)
        self._engine = deepspeed.initialize(
            model=model,
            # A `ZeroOptimizer` sets its rate and decay.
            optimizer=torch.optim.AdamW(trainable, lr=0.0),
            config={
                "train_micro_batch_size_per_gpu": 1,  # required, but used only to count examples
                "zero_optimization": {"stage": 2},
                "zero_allow_untested_optimizer": True,
                "steps_per_print": None,
                "bf16": {"enabled": bf16},  # its copies and moments are float32, as `MasterAdamW`'s
            },
        )[0]
        return self._engine

    def prepare_optimizer(self, optimizer: Any, *_: Any, **__: Any) -> "ZeroOptimizer":
        """Returns the engine's optimizer with the settings of `optimizer`, an AdamW that has not
        stepped. Moments start at zero; float32 copies of weights stay as they are."""
        return ZeroOptimizer(self._engine, optimizer)

    @contextmanager
    def no_sync(self, model: nn.Module) -> Iterator[None]:
        """Inside, a backward pass is not the last one of a step."""
        self._engine.set_gradient_accumulation_boundary(False)
        try:
            yield
        finally:
            self._engine.set_gradient_accumulation_boundary(True)

    def backward(self, loss: Tensor, **_: Any) -> None:
        """Add the loss's gradient, averaged over the ranks, to the part that each rank holds."""
        self._engine.backward(loss)

    def clip_grad_norm_(self, parameters: Any, max_norm: float, norm_type: float = 2.0) -> Tensor:
        """Have the next step clip to `max_norm`; returns the norm before, NaN if not finite."""
        sharded = self._engine.optimizer
        sharded.clip_grad = max_norm
        norm: Tensor = sharded.scaled_global_norm()
        return torch.where(norm < 0, torch.nan, norm)  # DeepSpeed's -1 stands for "not finite"


class ZeroOptimizer(torch.optim.Optimizer):
    """The AdamW of an engine, with the interface of one over whole weights."""

    def __init__(self, engine: Any, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self._engine, self._adamw = engine, engine.optimizer.optimizer
        for part in self._parts():
            self._adamw.state[part] = {"step": torch.zeros(())} | {
                name: torch.zeros_like(part) for name in MOMENTS
            }
        engine.optimizer._hp_optimizer_states_linked = False
        engine.optimizer._lazy_init_hp_params_optimizer_state()

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take the engine's step, with the rates and decays that the groups have now."""
        for own, group in zip(self.param_groups, self._adamw.param_groups, strict=True):
            group |= {name: value for name, value in own.items() if name != "params"}
        self._engine.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Do nothing: the engine's step leaves no gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Returns a state as `MasterAdamW` does, gathered from all ranks, each of which must call
        this; only the first rank gets the tensors."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        (step, *_) = (self._adamw.state[part]["step"] for part in self._parts())
        device = "cpu" if self._engine.global_rank == 0 else "meta"
        state: dict[int, dict[str, Tensor]] = {}
        for index, weight in enumerate(self._weights()):
            found = {name: safe_get_full_optimizer_state(weight, name) for name in MOMENTS}
            if is_narrow(weight):
                found[MASTER] = safe_get_full_fp32_param(weight)
            state[index] = {"step": step.clone()} | {n: t.to(device) for n, t in found.items()}
        return super().state_dict() | {"state": state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the tensors of a `state_dict`, whole on every rank; the groups stay."""
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        weights = self._weights()
        for index, state in state_dict["state"].items():
            for name in MOMENTS:
                safe_set_full_optimizer_state(weights[index], state[name], name)
            if is_narrow(weights[index]):
                safe_set_full_fp32_param(weights[index], state[MASTER])
            for part in self._parts():
                self._adamw.state[part]["step"].copy_(state["step"])

    def _weights(self) -> list[Tensor]:
        return [weight for group in self.param_groups for weight in group["params"]]

    def _parts(self) -> list[Tensor]:
        """Returns, for each group, the joined weights whose moments this rank has."""
        return [part for group in self._adamw.param_groups for part in group["params"]]
