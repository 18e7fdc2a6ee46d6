"""The logits processor through which vLLM asks what every request emits next."""

from typing import Any

import torch

from llamao1_cli.engine.vllm.chooser import TokenChooser
from llamao1_cli.engine.vllm.request import VllmRequest

NAME = "llamao1_request"  # the argument of a request's sampling parameters that holds its name


def processor_for(chooser: TokenChooser) -> type:
    """Returns the class that vLLM makes its logits processor from; it asks `chooser` for every
    token."""
    from vllm.v1.sample.logits_processor import LogitsProcessor
    from vllm.v1.sample.logits_processor.interface import MoveDirectionality

    class RowProcessor(LogitsProcessor):
        """Leaves every request the one token that is chosen for it."""

        def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
            # By row of vLLM's batch: the request there, and the tokens that it has emitted.
            self._at: dict[int, tuple[VllmRequest, list[int]]] = {}

        def is_argmax_invariant(self) -> bool:
            return False

        def update_state(self, batch_update: Any) -> None:
            if batch_update is None:
                return
            for row in batch_update.removed:
                self._at.pop(row, None)
            for row, params, _, output in batch_update.added:
                name = (params.extra_args or {}).get(NAME)
                self._at.pop(row, None)
                if name in chooser.requests:
                    self._at[row] = (chooser.requests[name], output)
            for source, target, direction in batch_update.moved:
                moved, other = self._at.pop(source, None), self._at.pop(target, None)
                if moved is not None:
                    self._at[target] = moved
                if other is not None and direction is MoveDirectionality.SWAP:
                    self._at[source] = other

        def apply(self, logits: torch.Tensor) -> torch.Tensor:
            rows = sorted(row for row in self._at if row < len(logits))
            if not rows:
                return logits
            asked = [(self._at[row][0], len(self._at[row][1])) for row in rows]
            tokens = chooser.choose(asked, logits[rows])
            logits[rows] = -torch.inf
            logits[rows, tokens] = 0.0
            return logits

    return RowProcessor
