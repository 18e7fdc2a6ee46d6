"""AdamW for weights of fewer than 32 bits, which would lose the steps of a small learning rate."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

MASTER = "master"  # name of a float32 copy in the state


class MasterAdamW(torch.optim.AdamW):
    """AdamW over `weights` of any floating type; narrower ones than float32 are the rounded values
    of float32 copies, for which moments and steps are computed (Micikevicius et al. 2018, 3.1).

    The numbers of bfloat16 around 0.03 are 1e-4 apart, so that a step of 1e-5 would be rounded
    away. Copies are made for the first step, or for a state that is loaded, and stand in
    `param_groups` from then on: an optimizer that never steps takes no memory.
    """

    def __init__(self, weights: Sequence[Tensor], **settings: Any) -> None:
        self._weights = list(weights)
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}  # by its index: a weight and its copy
        super().__init__(self._weights, **settings)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step down the gradients of the weights; those of narrow ones are freed."""
        self._copy_narrow()
        for weight, master in self._copies.values():
            master.grad = None if weight.grad is None else weight.grad.to(master.dtype)
            weight.grad = None
        super().step()
        for weight, master in self._copies.values():
            weight.copy_(master)
            master.grad = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Free the gradients of the weights, whatever `set_to_none` says."""
        for weight in self._weights:
            weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of torch's AdamW, each copy beside its moments after a first step."""
        saved = super().state_dict()
        state = dict(saved["state"])
        for index, (_, master) in self._copies.items():
            if index in state:
                state[index] = {**state[index], MASTER: master.detach()}
        return {**saved, "state": state}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`. Raises ValueError for a state without copies."""
        self._copy_narrow()
        state = {index: dict(values) for index, values in state_dict["state"].items()}
        for index, (weight, master) in self._copies.items():
            if index in state:
                if MASTER not in state[index]:
                    raise ValueError(f"no float32 copy of the {weight.dtype} weight {index}")
                master.copy_(state[index].pop(MASTER))
        super().load_state_dict({**state_dict, "state": state})

    def _copy_narrow(self) -> None:
        (group,) = self.param_groups
        for index, weight in enumerate(self._weights):
            if is_narrow(weight) and index not in self._copies:
                master = torch.nn.Parameter(weight.detach().float())
                self._copies[index] = weight, master
                group["params"][index] = master


def is_narrow(weight: Tensor) -> bool:
    """Returns whether a floating weight has fewer than 32 bits."""
    return torch.finfo(weight.dtype).bits < 32
