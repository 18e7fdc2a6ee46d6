"""Attention of one packed step: every token reads its group's prefix and its own row's suffix.

Transformers' models call it through `AttentionInterface`; keys and values live in `Buffers`, and
one softmax goes over both parts.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from llamao1_cli.engine.builtin.buffers import Buffers

TREE_ATTENTION = "llamao1_tree"  # its name among the implementations of Transformers


@dataclass(frozen=True)
class Writes:
    """Where the keys and values of a step's tokens go: N of them into prefixes, M into suffixes."""

    prefix_tokens: Tensor  # [N] indices in the packed step
    prefix_groups: Tensor  # [N]
    prefix_offsets: Tensor  # [N]
    suffix_tokens: Tensor  # [M] indices in the packed step
    suffix_groups: Tensor  # [M]
    suffix_columns: Tensor  # [M]
    suffix_offsets: Tensor  # [M]


@dataclass
class Grid:
    """Rows that feed one token each, among all groups `G` times all columns `C`."""

    tokens: Tensor  # [N] indices in the packed step
    groups: Tensor  # [N]
    columns: Tensor  # [N]
    positions: Tensor  # [G, C] of the query, -1 where no row feeds
    prefix_lengths: Tensor  # [G, 1]
    biases: dict[int | None, Tensor] = field(default_factory=dict)


@dataclass
class FeedBlock:
    """Rows or prefixes that feed several tokens each, padded to `[W, Q]`."""

    tokens: Tensor  # [W, Q] indices in the packed step; 0 where padding
    real: Tensor  # [R] indices into `[W, Q]`, flattened, of what is no padding
    groups: Tensor  # [W]
    columns: Tensor | None  # [W]; None for prefixes, which have no suffix
    positions: Tensor  # [W, Q] of the queries
    prefix_lengths: Tensor  # [W, 1]
    biases: dict[int | None, Tensor] = field(default_factory=dict)


@dataclass
class Frame:
    """What attention needs to know of one packed step; `prefix` and `suffix` are key lengths."""

    buffers: Buffers
    writes: Writes
    grid: Grid | None
    blocks: list[FeedBlock]
    prefix: int
    suffix: int
    layers_seen: int = 0


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    frame: Frame,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of packed tokens: `query` `[1, H, T, D]`, `key` and `value` `[1, K, T, D]`.

    Stores keys and values of layer `module.layer_idx` first; returns `[1, T, H, D]`. H is a
    multiple of K, the number of key/value heads (grouped-query attention).
    """
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    frame.layers_seen += 1
    _store(frame, layer, key[0].transpose(0, 1), value[0].transpose(0, 1))
    queries = query[0].transpose(0, 1) * scaling
    out = torch.empty_like(queries)
    if frame.grid is not None:
        _attend_grid(frame, frame.grid, layer, queries, out, sliding_window, softcap)
    for block in frame.blocks:
        _attend_block(frame, block, layer, queries, out, sliding_window, softcap)
    return out.unsqueeze(0), None


AttentionInterface.register(TREE_ATTENTION, tree_attention)


def mask_bias(
    positions: Tensor,
    prefix_lengths: Tensor,
    prefix: int,
    suffix: int,
    window: int | None,
    dtype: torch.dtype,
) -> Tensor:
    """Returns the additive mask `[*S, prefix + suffix]` of queries at `positions` `[*S]`.

    Key i of a prefix stands at position i, key j of a suffix at `prefix_lengths` + j. Forbidden
    keys get a large finite number: a cell without a row has no allowed key, and must not be NaN.
    """
    at = positions.unsqueeze(-1)
    length = prefix_lengths.unsqueeze(-1)
    first = torch.arange(prefix, device=at.device).expand(*at.shape[:-1], -1)
    second = length + torch.arange(suffix, device=at.device).expand(*at.shape[:-1], -1)
    allowed = torch.cat([(first < length) & (first <= at), second <= at], dim=-1)
    if window is not None:
        allowed &= torch.cat([first, second], dim=-1) > at - window
    lowest = torch.finfo(dtype).min / 2
    return torch.zeros(allowed.shape, dtype=dtype, device=at.device).masked_fill(~allowed, lowest)


def _store(frame: Frame, layer: int, key: Tensor, value: Tensor) -> None:
    buffers, writes = frame.buffers, frame.writes
    if len(writes.prefix_tokens):
        groups, offsets = writes.prefix_groups, writes.prefix_offsets
        buffers.prefix_keys[layer][groups, :, :, offsets] = key[writes.prefix_tokens]
        buffers.prefix_values[layer][groups, :, offsets] = value[writes.prefix_tokens]
    if len(writes.suffix_tokens):
        groups, columns = writes.suffix_groups, writes.suffix_columns
        offsets = writes.suffix_offsets
        buffers.suffix_keys[layer][groups, columns, :, :, offsets] = key[writes.suffix_tokens]
        buffers.suffix_values[layer][groups, columns, :, offsets] = value[writes.suffix_tokens]


def _attend_grid(
    frame: Frame,
    grid: Grid,
    layer: int,
    queries: Tensor,
    out: Tensor,
    window: int | None,
    softcap: float | None,
) -> None:
    """Write the attention of one query a row to `out`; the prefix is read once for all rows of a
    group."""
    buffers, prefix, suffix = frame.buffers, frame.prefix, frame.suffix
    groups, columns = grid.positions.shape
    heads, width = queries.shape[1:]
    shared = buffers.prefix_keys.shape[2]
    repeats = heads // shared
    spread = queries.new_zeros(groups, columns, heads, width)
    spread[grid.groups, grid.columns] = queries[grid.tokens]
    split = (groups, columns, shared, repeats, -1)
    # The rows of a group stand side by side for the product with their prefix.
    joined = spread.view(split).transpose(1, 2).reshape(groups * shared, -1, width)
    keys = buffers.prefix_keys[layer, :groups].flatten(0, 1)[..., :prefix]
    own_keys = buffers.suffix_keys[layer, :groups].flatten(0, 2)[..., :suffix]
    scores = torch.cat(
        [
            torch.bmm(joined, keys).view(groups, shared, columns, repeats, -1).transpose(1, 2),
            torch.bmm(spread.view(-1, repeats, width), own_keys).view(split),
        ],
        dim=-1,
    )
    if window not in grid.biases:
        bias = mask_bias(grid.positions, grid.prefix_lengths, prefix, suffix, window, scores.dtype)
        grid.biases[window] = bias[:, :, None, None]
    chances = _softmax(scores, grid.biases[window], softcap)
    values = buffers.prefix_values[layer, :groups].flatten(0, 1)[:, :prefix]
    own_values = buffers.suffix_values[layer, :groups].flatten(0, 2)[:, :suffix]
    joined = chances[..., :prefix].transpose(1, 2).reshape(groups * shared, -1, prefix)
    read = torch.bmm(joined, values).view(groups, shared, columns, repeats, width).transpose(1, 2)
    own = chances[..., prefix:].reshape(-1, repeats, suffix)
    read = read + torch.bmm(own, own_values).view(split)
    out[grid.tokens] = read.flatten(2, 3)[grid.groups, grid.columns]


def _attend_block(
    frame: Frame,
    block: FeedBlock,
    layer: int,
    queries: Tensor,
    out: Tensor,
    window: int | None,
    softcap: float | None,
) -> None:
    """Write the attention of several queries a row to `out`; the rows' keys and values are gathered
    first."""
    buffers, prefix = frame.buffers, frame.prefix
    suffix = 0 if block.columns is None else frame.suffix
    keys = buffers.prefix_keys[layer].index_select(0, block.groups)[..., :prefix]
    values = buffers.prefix_values[layer].index_select(0, block.groups)[..., :prefix, :]
    if block.columns is not None:
        rows = block.groups * buffers.columns + block.columns
        own_keys = buffers.suffix_keys[layer].flatten(0, 1).index_select(0, rows)
        own_values = buffers.suffix_values[layer].flatten(0, 1).index_select(0, rows)
        keys = torch.cat([keys, own_keys[..., :suffix]], dim=-1)
        values = torch.cat([values, own_values[..., :suffix, :]], dim=-2)
    heads, width = queries.shape[1:]
    count, length = block.tokens.shape
    shared = keys.shape[1]
    asked = queries[block.tokens].transpose(1, 2).reshape(count, shared, -1, width)
    scores = (asked @ keys).view(count, shared, heads // shared, length, -1)
    if window not in block.biases:
        bias = mask_bias(block.positions, block.prefix_lengths, prefix, suffix, window, keys.dtype)
        block.biases[window] = bias[:, None, None]
    chances = _softmax(scores, block.biases[window], softcap)
    read = chances.view(count, shared, -1, prefix + suffix) @ values
    read = read.view(count, heads, length, width).transpose(1, 2).flatten(0, 1)
    out[block.tokens.flatten()[block.real]] = read[block.real]


def _softmax(scores: Tensor, bias: Tensor, softcap: float | None) -> Tensor:
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    return torch.softmax(scores + bias, dim=-1, dtype=torch.float32).to(scores.dtype)
