"""AdamW for weights of fewer than 32 bits, which would lose the steps of a small learning rate."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

MASTER = "master"  # what a float32 copy is called in the state


class MasterAdamW(torch.optim.AdamW):
    """AdamW over `weights` of any floating type; narrower ones than float32 are the rounded values
    of float32 copies, to which moments and steps belong (Micikevicius et al. 2018, section 3.1).

    The numbers of bfloat16 around 0.03 are 1e-4 apart, so that a step of 1e-5 would round to none.
    Copies are made for the first step, or for a state that is loaded, and stand in `param_groups`
    from then on: an optimizer that never steps takes no memory.
    """

    def __init__(self, weights: Sequence[Tensor], **settings: Any) -> None:
        self._weights = list(weights)
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}  # by place: the weight and its copy
        super().__init__(self._weights, **settings)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """A step down the gradients of the weights, of which narrow ones let go of theirs."""
        self._copy_narrow()
        for weight, master in self._copies.values():
            master.grad = None if weight.grad is None else weight.grad.to(master.dtype)
            weight.grad = None
        super().step()
        for weight, master in self._copies.values():
            weight.copy_(master)
            master.grad = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the weights, whose memory goes back whatever is asked."""
        for weight in self._weights:
            weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        """As torch's AdamW gives it, with each copy beside its moments once a step was taken."""
        saved = super().state_dict()
        state = dict(saved["state"])
        for place, (_, master) in self._copies.items():
            if place in state:
                state[place] = {**state[place], MASTER: master.detach()}
        return {**saved, "state": state}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave. Raises ValueError for a state without copies."""
        self._copy_narrow()
        state = {place: dict(values) for place, values in state_dict["state"].items()}
        for place, (weight, master) in self._copies.items():
            if place in state:
                if MASTER not in state[place]:
                    raise ValueError(f"no float32 copy of the {weight.dtype} weight {place}")
                master.copy_(state[place].pop(MASTER))
        super().load_state_dict({**state_dict, "state": state})

    def _copy_narrow(self) -> None:
        (group,) = self.param_groups
        for place, weight in enumerate(self._weights):
            if is_narrow(weight) and place not in self._copies:
                master = torch.nn.Parameter(weight.detach().float())
                self._copies[place] = weight, master
                group["params"][place] = master


def is_narrow(weight: Tensor) -> bool:
    """Whether a floating weight has fewer than 32 bits."""
    return torch.finfo(weight.dtype).bits < 32
