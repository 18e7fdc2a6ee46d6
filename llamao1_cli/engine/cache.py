"""A left-padded batch of sequences that a model reads step by step, and its key/value cache."""

from typing import Any

import torch
from transformers import PreTrainedModel
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


class Stream:
    """A batch of token sequences, left-padded, that a model reads with one cache."""

    def __init__(self, model: PreTrainedModel, sequences: list[list[int]]) -> None:
        self._model = model
        longest = max(len(sequence) for sequence in sequences)
        pads = torch.tensor([longest - len(sequence) for sequence in sequences])
        tokens = torch.tensor([[0] * (longest - len(s)) + s for s in sequences])
        self._pads = pads.to(model.device)
        layers = model.config.get_text_config().num_hidden_layers
        self._cache = Cache(layers=[StreamLayer() for _ in range(layers)])
        self._length = 0
        self.logits = self._forward(tokens.to(model.device))

    def feed(self, tokens: list[int]) -> None:
        """Append one token to every sequence; `logits` `[B, 1, V]` are those behind it."""
        self.logits = self._forward(torch.tensor(tokens, device=self._pads.device).unsqueeze(-1))

    def keep(self, rows: list[int]) -> None:
        """Drop every sequence but `rows`."""
        index = torch.tensor(rows, device=self._pads.device)
        self._pads = self._pads[index]
        for layer in self._cache.layers:
            assert isinstance(layer, StreamLayer)
            layer.keep_rows(index)

    def _forward(self, tokens: torch.Tensor) -> torch.Tensor:
        start, self._length = self._length, self._length + tokens.shape[1]
        queries = torch.arange(start, self._length, device=tokens.device)
        keys = torch.arange(self._length, device=tokens.device)
        real = keys >= self._pads[:, None]
        mask = (keys[None] <= queries[:, None])[None] & real[:, None]
        # A padding query sees itself, or its softmax would be empty and NaN.
        mask |= (keys[None] == queries[:, None])[None]
        # Additive, which every attention implementation reads alike.
        lowest = torch.finfo(self._model.dtype).min
        bias = torch.zeros(mask.shape, dtype=self._model.dtype, device=mask.device)
        logits: torch.Tensor = self._model(
            input_ids=tokens,
            attention_mask=bias.masked_fill(~mask, lowest)[:, None],
            position_ids=(queries[None] - self._pads[:, None]).clamp(min=0),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        return logits
