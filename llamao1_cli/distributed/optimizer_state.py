"""What an optimizer remembers, as named tensors."""

from collections.abc import Mapping

import torch

from llamao1_cli.distributed.sharding import sharded_like


def moments(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """What the optimizer remembers of each parameter, by the parameter's place."""
    return {
        f"{place}.{name}": value
        for place, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_moments(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put what `moments` gave back into an optimizer of the same parameters.

    Raises ValueError or LookupError for the moments of others.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        place, name = key.split(".", 1)
        weight = weights[int(place)]
        if value.shape not in ((), weight.shape):
            raise ValueError(f"{key} has the shape {list(value.shape)}")
        same = value.shape == weight.shape
        state.setdefault(int(place), {})[name] = sharded_like(value, weight) if same else value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
