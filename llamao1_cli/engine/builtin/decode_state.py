"""The tensors that decoding several tokens of every row reads and brings forward."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from llamao1_cli.engine.builtin.groups import Group
from llamao1_cli.engine.sampler import Choice, Drawn, make_choice
from llamao1_cli.language.sampling import Sampling

UNUSED = Sampling()  # of cells where no row decodes


@dataclass(frozen=True)
class State:
    """What a step reads and brings forward, for a grid of B = G * C cells and N steps.

    A cell is one column of one group, where a row may decode. A CUDA graph knows tensors by their
    addresses alone: all that a step finds, beside the model, the buffers and the grammar, is here
    and stays.
    """

    cells: Tensor  # [B] 0, 1, 2, …
    groups: Tensor  # [B]
    columns: Tensor  # [B]
    step: Tensor  # [1] steps done
    tokens: Tensor  # [B] fed next
    lengths: Tensor  # [G, C] of the suffixes
    prefixes: Tensor  # [G, 1] their lengths
    choice: Choice  # roles and uniforms `[N, B]`, the rest `[B]`
    drawn: Drawn  # `[N, B]`: what comes of it


Tensors = TypeVar("Tensors", bound=State | Choice | Drawn)


def first_state(groups: Sequence[Group], size: int, columns: int, steps: int) -> State:
    """Returns the state before the first step, on the host, for the groups at the first `size`
    slots; a cell where no row decodes feeds token 0 behind what is there."""
    count = size * columns
    # Filled cell by cell, which numpy does faster than torch.
    tokens, lengths = np.zeros(count, np.int64), np.zeros(count, np.int64)
    prefixes = np.zeros((size, 1), np.int64)
    roles, uniforms = np.zeros((steps, count), np.int64), np.zeros((steps, count))
    sampling = [UNUSED] * count
    for group in groups:
        if group.slot >= size:
            continue
        prefixes[group.slot] = len(group.tokens)
        for cell, row in enumerate(group.rows, group.slot * columns):
            lengths[cell] = len(row.fed)
            if group.ready and row.decodes:
                tokens[cell], sampling[cell] = row.pending[0], row.request.sampling
                roles[:, cell], uniforms[:, cell] = row.roles(steps), row.uniforms(steps)
    choice = make_choice(sampling, [0] * count, [0.0] * count, torch.device("cpu"))
    cells = torch.arange(count)
    return State(
        cells,
        cells // columns,
        cells % columns,
        torch.zeros(1).long(),
        torch.from_numpy(tokens),
        torch.from_numpy(lengths).view(size, columns),
        torch.from_numpy(prefixes),
        replace(choice, roles=torch.from_numpy(roles), uniforms=torch.from_numpy(uniforms)),
        Drawn(torch.zeros(steps, count).long(), *torch.zeros(3, steps, count)),
    )


def tensors_of(values: State | Choice | Drawn) -> list[Tensor]:
    """Returns all tensors of a state, in the order of its fields."""
    found: list[Tensor] = []
    for field in fields(values):
        value = getattr(values, field.name)
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, Choice | Drawn):
            found += tensors_of(value)
    return found


def copied_to(values: Tensors, device: torch.device) -> Tensors:
    """Returns a copy with all its tensors on the device."""
    copies: dict[str, Any] = {}
    for field in fields(values):
        value = getattr(values, field.name)
        if isinstance(value, Tensor):
            copies[field.name] = value.to(device, copy=True)
        elif isinstance(value, Choice | Drawn):
            copies[field.name] = copied_to(value, device)
    return replace(values, **copies)


def load_state(state: State, values: State) -> None:
    """Write the values into the state's own tensors, whose addresses stay."""
    for target, value in zip(tensors_of(state), tensors_of(values), strict=True):
        target.copy_(value)
