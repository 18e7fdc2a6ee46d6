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
    `param_groups` hold the copies, and the wider weights themselves.
    """

    def __init__(self, weights: Sequence[Tensor], **settings: Any) -> None:
        self.weights = list(weights)
        masters = [_master(weight) for weight in self.weights]
        pairs = enumerate(zip(self.weights, masters, strict=True))
        self._copies = {place: pair for place, pair in pairs if pair[0] is not pair[1]}
        super().__init__(masters, **settings)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """A step down the gradients of the weights."""
        for weight, master in self._copies.values():
            master.grad = None if weight.grad is None else weight.grad.to(master.dtype)
        super().step()
        for weight, master in self._copies.values():
            weight.copy_(master)
            master.grad = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the weights, whose memory goes back whatever is asked."""
        for weight in self.weights:
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
        """Take over what `state_dict` gave. Raises KeyError for a state without its copies."""
        state = {place: dict(values) for place, values in state_dict["state"].items()}
        for place, (_, master) in self._copies.items():
            if place in state:
                master.copy_(state[place].pop(MASTER))
        super().load_state_dict({**state_dict, "state": state})


def is_narrow(weight: Tensor) -> bool:
    """Whether a floating weight has fewer than 32 bits."""
    return torch.finfo(weight.dtype).bits < 32


def _master(weight: Tensor) -> Tensor:
    return torch.nn.Parameter(weight.detach().float()) if is_narrow(weight) else weight
