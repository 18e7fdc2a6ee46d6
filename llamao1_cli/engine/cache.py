"""A key/value cache that grows in steps and keeps one length for the whole batch."""

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

GROWTH = 128  # positions added at a time: appending a token copies nothing most of the time


class StreamLayer(CacheLayerMixin):
    """Keys and values `[B, H, capacity, D]` of one layer, filled from the left."""

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Empty buffers like the first states."""
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append states `[B, H, Q, D]`; returns views of all that is filled."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self.length = self.length, self.length + key_states.shape[2]
        self.keys = self._grown(self.keys, start)
        self.values = self._grown(self.values, start)
        self.keys[:, :, start : self.length] = key_states
        self.values[:, :, start : self.length] = value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def keep_rows(self, rows: torch.Tensor) -> None:
        """Drop every sequence but `rows` (indices)."""
        self.keys = self.keys[rows]
        self.values = self.values[rows]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys that a mask must cover."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Filled positions."""
        return self.length

    def get_max_length(self) -> int:
        """-1: there is no maximum."""
        return -1

    def _grown(self, buffer: torch.Tensor, filled: int) -> torch.Tensor:
        if buffer.shape[2] >= self.length:
            return buffer
        batch, heads, _, width = buffer.shape
        # Zeroed, because masked attention still multiplies what lies there, and NaN x 0 is NaN.
        larger = buffer.new_zeros(batch, heads, self.length + GROWTH, width)
        larger[:, :, :filled] = buffer[:, :, :filled]
        return larger


def stream_cache(layers: int) -> Cache:
    """An empty cache for a model of so many layers."""
    return Cache(layers=[StreamLayer() for _ in range(layers)])
