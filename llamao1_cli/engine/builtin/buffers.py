"""Tensors of the groups in flight: keys and values of prefixes and of rows' suffixes."""

from dataclasses import dataclass

import torch
from torch import Tensor

STEP = 64  # positions added at a time


@dataclass(frozen=True)
class Shape:
    """What one token's keys and values look like in a model."""

    layers: int
    query_heads: int
    heads: int  # key/value heads
    width: int  # of a head
    dtype: torch.dtype
    device: torch.device

    @property
    def token_bytes(self) -> int:
        """Size of the keys and values of one token."""
        return 2 * self.layers * self.heads * self.width * self.dtype.itemsize


class Buffers:
    """Keys `[L, G, K, D, P]` and values `[L, G, K, P, D]` of group prefixes, and
    `[L, G, C, K, D, S]` and `[L, G, C, K, S, D]` of rows' suffixes.

    Keys lie transposed, so that scores are plain matrix products.
    """

    def __init__(self, shape: Shape, columns: int) -> None:
        self.shape, self.columns = shape, columns
        self.groups = self.prefix = self.suffix = 0
        self.prefix_keys, self.prefix_values, self.suffix_keys, self.suffix_values = (
            self._zeros(*size) for size in self._sizes().values()
        )

    @property
    def bytes(self) -> int:
        """Size of all buffers."""
        return self.bytes_for(self.groups, self.prefix, self.suffix)

    def bytes_for(self, groups: int, prefix: int, suffix: int) -> int:
        """Returns the size of buffers for so many groups, prefix tokens and suffix tokens a row."""
        tokens = groups * (rounded(prefix) + self.columns * rounded(suffix))
        return tokens * self.shape.token_bytes

    def ensure(self, groups: int, prefix: int, suffix: int) -> None:
        """Make room for so many groups, prefix tokens and suffix tokens a row; what is stored
        stays."""
        prefix, suffix = max(rounded(prefix), self.prefix), max(rounded(suffix), self.suffix)
        groups = max(groups, self.groups)
        if (groups, prefix, suffix) == (self.groups, self.prefix, self.suffix):
            return
        self.groups, self.prefix, self.suffix = groups, prefix, suffix
        for name, size in self._sizes().items():  # one at a time: old and new are there together
            old, new = getattr(self, name), self._zeros(*size)
            new[tuple(slice(length) for length in old.shape)] = old
            setattr(self, name, new)

    def load(self, group: int, start: int, keys: Tensor, values: Tensor) -> None:
        """Put keys `[L, K, D, n]` and values `[L, K, n, D]` into a group's prefix."""
        stop = start + values.shape[2]
        self.prefix_keys[:, group, :, :, start:stop] = keys
        self.prefix_values[:, group, :, start:stop] = values

    def prefix_part(self, group: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Returns a copy of keys `[L, K, D, n]` and values `[L, K, n, D]` of a group's prefix."""
        keys = self.prefix_keys[:, group, :, :, start:stop]
        return keys.clone(), self.prefix_values[:, group, :, start:stop].clone()

    def suffix_part(self, group: int, column: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Returns a copy of keys `[L, K, D, n]` and values `[L, K, n, D]` of a row's suffix."""
        keys = self.suffix_keys[:, group, column, :, :, start:stop]
        return keys.clone(), self.suffix_values[:, group, column, :, start:stop].clone()

    def move(self, source: int, target: int) -> None:
        """Copy everything at one group's slot to another slot."""
        for buffer in (
            self.prefix_keys,
            self.prefix_values,
            self.suffix_keys,
            self.suffix_values,
        ):
            buffer[:, target] = buffer[:, source]

    def _sizes(self) -> dict[str, tuple[int, ...]]:
        s, g, c, p, n = self.shape, self.groups, self.columns, self.prefix, self.suffix
        return {
            "prefix_keys": (s.layers, g, s.heads, s.width, p),
            "prefix_values": (s.layers, g, s.heads, p, s.width),
            "suffix_keys": (s.layers, g, c, s.heads, s.width, n),
            "suffix_values": (s.layers, g, c, s.heads, n, s.width),
        }

    def _zeros(self, *size: int) -> Tensor:
        # Not empty: masked attention still multiplies what lies there, and NaN x 0 is NaN.
        return torch.zeros(size, dtype=self.shape.dtype, device=self.shape.device)


def rounded(length: int) -> int:
    """Returns the next multiple of the step in which buffers grow."""
    return -(-length // STEP) * STEP
