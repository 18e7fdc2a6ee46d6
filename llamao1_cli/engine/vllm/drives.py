"""Rows on their way through vLLM, and the logits processor that asks what they say next."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from llamao1_cli.engine.rows import Row, Wants
from llamao1_cli.engine.sampler import Figures


@dataclass
class Drive:
    """A row, or a path to be rated, on its way through vLLM as one request."""

    ticket: int
    row: Row | None
    path: list[int]  # tokens that are there when it begins
    forced: list[int] = field(default_factory=list)  # tokens to emit before anything is decided
    scored: list[int] = field(default_factory=list)  # of these the figures are wanted, then `tail`
    tail: list[int] = field(default_factory=list)
    figures: list[Figures] = field(default_factory=list)
    emitted: list[int] = field(default_factory=list)
    value: float | None = None
    stale: bool = False  # its row has gone back to before a hint: it needs a new request

    @property
    def done(self) -> bool:
        """Whether vLLM has nothing left to do for it."""
        return self.stale or self.value is not None or (self.row is not None and self.row.done)

    @property
    def wants(self) -> Wants:
        """What its next logits are for."""
        return Wants.VALUE if self.row is None else self.row.wants


class Driver(Protocol):
    """Who decides on tokens."""

    drives: dict[str, Drive]  # by request

    def decide(self, drives: Sequence[tuple[Drive, int]], logits: torch.Tensor) -> list[int]:
        """The next token of each drive, which has emitted so many, from its row of `[B, V]`."""
        ...


def processor_for(engine: Driver) -> type:
    """The class that vLLM makes its logits processor from; it asks `engine` for every token."""
    from vllm.v1.sample.logits_processor import LogitsProcessor
    from vllm.v1.sample.logits_processor.interface import MoveDirectionality

    class RowProcessor(LogitsProcessor):
        """Leaves every request the one token that its drive decides on."""

        def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
            self._at: dict[int, tuple[Drive, list[int]]] = {}  # by place in the batch

        def is_argmax_invariant(self) -> bool:
            return False

        def update_state(self, batch_update: Any) -> None:
            if batch_update is None:
                return
            for place in batch_update.removed:
                self._at.pop(place, None)
            for place, params, _, output in batch_update.added:
                name = (params.extra_args or {}).get("drive")
                self._at.pop(place, None)
                if name in engine.drives:
                    self._at[place] = (engine.drives[name], output)
            for source, target, direction in batch_update.moved:
                moved, other = self._at.pop(source, None), self._at.pop(target, None)
                if moved is not None:
                    self._at[target] = moved
                if other is not None and direction is MoveDirectionality.SWAP:
                    self._at[source] = other

        def apply(self, logits: torch.Tensor) -> torch.Tensor:
            places = sorted(place for place in self._at if place < len(logits))
            if not places:
                return logits
            drives = [(self._at[place][0], len(self._at[place][1])) for place in places]
            tokens = engine.decide(drives, logits[places])
            logits[places] = -torch.inf
            logits[places, tokens] = 0.0
            return logits

    return RowProcessor
