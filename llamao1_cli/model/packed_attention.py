"""Attention of tries packed into one sequence: every token reads its own path and nothing else.

A trie is cut into runs, each a chain of tokens that starts below another run. A run reads the keys
of its whole path, so that key j stands at position j and one comparison masks both what comes later
and what a sliding window leaves out. Runs of like shape go into one block, padded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedConfig

PACKED_ATTENTION = "llamao1_packed"  # its name among the implementations of Transformers


@dataclass
class RunBlock:
    """N runs of at most L tokens whose paths are at most K tokens long."""

    positions: Tensor  # [N, L] of the queries; 0 where padding
    path: int  # K
    biases: dict[tuple[int | None, int], Tensor] = field(default_factory=dict)

    def bias(self, window: int | None, repeats: int, dtype: torch.dtype) -> Tensor:
        """Returns the additive mask `[N, 1, L * repeats, K]`, made once for all layers that ask
        alike."""
        if (window, repeats) not in self.biases:
            last = self.positions.unsqueeze(-1)
            keys = torch.arange(self.path, device=last.device)
            allowed = keys <= last
            if window is not None:
                allowed &= keys > last - window
            bias = torch.zeros(allowed.shape, dtype=dtype, device=last.device)
            bias.masked_fill_(~allowed, torch.finfo(dtype).min / 2)
            self.biases[window, repeats] = bias.repeat_interleave(repeats, 1).unsqueeze(1)
        return self.biases[window, repeats]


@dataclass
class Layout:
    """The runs of a packed sequence of T tokens.

    `queries` and `keys` name the tokens of the blocks' runs and paths, block after block and row
    after row, 0 where padding: one gather for all blocks costs far less than one for each.
    """

    blocks: list[RunBlock]
    queries: Tensor  # [sum of N * L]
    keys: Tensor  # [sum of N * K]
    order: Tensor  # [T] index of each token among the queries
    layers_seen: int = 0


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    layout: Layout,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of packed tokens: `query` `[1, H, T, D]`, `key` and `value` `[1, G, T, D]`.

    Returns `[1, T, H, D]`. H is a multiple of G, the number of key/value heads (grouped-query
    attention).
    """
    layout.layers_seen += 1
    heads, groups, width = query.shape[1], key.shape[1], query.shape[3]
    repeats = heads // groups
    asked, read, said = (
        tensor[0].transpose(0, 1).flatten(1).index_select(0, tokens)
        for tensor, tokens in ((query, layout.queries), (key, layout.keys), (value, layout.keys))
    )
    shapes = [(*block.positions.shape, block.path) for block in layout.blocks]
    asks = asked.split([runs * length for runs, length, _ in shapes])
    reads, saids = (t.split([runs * path for runs, _, path in shapes]) for t in (read, said))
    outs = []
    for block, (runs, length, path), q, k, v in zip(
        layout.blocks, shapes, asks, reads, saids, strict=True
    ):
        # The queries that share a key/value head stand side by side, as if they were more tokens.
        q = q.view(runs, length, groups, repeats, width).transpose(1, 2).flatten(2, 3)
        k, v = (t.view(runs, path, groups, width).transpose(1, 2) for t in (k, v))
        bias = block.bias(sliding_window, repeats, query.dtype)
        out = _attend(q, k, v, bias, scaling, softcap).unflatten(2, (length, repeats))
        outs.append(out.transpose(1, 2).reshape(runs * length, heads * width))
    joined = torch.cat(outs).index_select(0, layout.order)
    return joined.view(1, -1, heads, width), None


AttentionInterface.register(PACKED_ATTENTION, packed_attention)


@contextmanager
def attending_packed(model: nn.Module) -> Iterator[None]:
    """Inside, the model attends with `packed_attention` and makes no masks of its own.

    A backward pass that computes activations again must run inside too.
    """
    found = (getattr(module, "config", None) for module in model.modules())
    configs = {id(c): c for c in found if isinstance(c, PreTrainedConfig)}.values()
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation = PACKED_ATTENTION
        yield
    finally:
        for config, implementation in zip(configs, before, strict=True):
            config._attn_implementation = implementation


def _attend(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scaling: float, softcap: float | None
) -> Tensor:
    if softcap is None:
        return functional.scaled_dot_product_attention(query, key, value, bias, scale=scaling)
    scores = softcap * torch.tanh(query @ key.transpose(-1, -2) * (scaling / softcap))
    return torch.softmax(scores + bias, -1, dtype=torch.float32).to(value.dtype) @ value
