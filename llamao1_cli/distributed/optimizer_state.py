"""The state of an optimizer as named tensors."""

from collections.abc import Mapping

import torch

from llamao1_cli.distributed.sharding import sharded_like


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Returns the state of each parameter, such as `3.exp_avg` of parameter 3."""
    return {
        f"{index}.{name}": value
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimizer_tensors(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Put what `optimizer_tensors` returned back into an optimizer of the same parameters.

    Raises ValueError or LookupError for the state of others.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        weight = weights[int(index)]
        if value.shape not in ((), weight.shape):
            raise ValueError(f"{key} has the shape {list(value.shape)}")
        same = value.shape == weight.shape
        state.setdefault(int(index), {})[name] = sharded_like(value, weight) if same else value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
