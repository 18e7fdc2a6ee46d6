"""Finds operations that make the host wait for a GPU: those whose result Python has to see."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
# A number read, a tensor made of Python's numbers, and shapes that depend on values.
WAITING = {
    aten._local_scalar_dense.default,
    aten.lift_fresh.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten._unique2.default,
    aten.repeat_interleave.Tensor,
    aten.bincount.default,
}
MOVING = {aten._to_copy.default}  # from one device to another
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}


def waits(run: Callable[[], object]) -> list[str]:
    """Returns the names of the operations in `run`, which is called once, that make the host wait.

    On every device it finds what would wait on a GPU. Such operations cannot be part of a CUDA
    graph.
    """
    # In inference mode composite operations would not show as those that they are made of.
    with torch.inference_mode(False), torch.no_grad(), _Watch() as watch:
        run()
    return watch.found


class _Watch(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        moves = func in MOVING and kwargs.get("device") not in (None, args[0].device)
        if moves or func in WAITING or (func in INDEXING and _masked(args[1])):
            self.found.append(str(func))
        return func(*args, **kwargs)


def _masked(indices: list[Tensor | None]) -> bool:
    return any(index is not None and index.dtype == torch.bool for index in indices)
