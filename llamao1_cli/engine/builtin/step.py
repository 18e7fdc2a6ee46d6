"""One forward over everything that is fed in a step, packed into one sequence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from llamao1_cli.engine.builtin.attention import FeedBlock, Frame, Grid, Writes
from llamao1_cli.engine.builtin.buffers import Buffers
from llamao1_cli.engine.builtin.groups import Group
from llamao1_cli.engine.rows import Row

KEY_ALIGN = 16  # key lengths are rounded up to this: whole vectors for the matrix products
BLOCK_SCORES = 2**24  # attention scores of a block at most, so that a long prompt fits in memory


@dataclass(frozen=True)
class Feed:
    """Tokens of a prefix or a row that are read in this step."""

    tokens: list[int]
    start: int  # tokens of the same prefix or suffix that were read before
    group: Group
    column: int | None  # of the row in its group; None: the prefix itself
    row: Row | None
    reads: Sequence[int]  # indices in `tokens` behind which the logits are wanted

    @property
    def position(self) -> int:
        """Position of the first token in its path."""
        return self.start + (0 if self.column is None else len(self.group.tokens))


PackedFeed = tuple[Feed, int]  # a feed, and the index of its first token in the packed step


def run_step(model: PreTrainedModel, buffers: Buffers, feeds: list[Feed]) -> Tensor:
    """Returns the logits `[N, V]` that are wanted, feed after feed; keys and values go to the
    buffers."""
    device = buffers.shape.device
    begins = np.cumsum([0, *(len(feed.tokens) for feed in feeds)])
    packed = list(zip(feeds, begins[:-1].tolist(), strict=True))
    tokens = [token for feed in feeds for token in feed.tokens]
    positions = np.concatenate(
        [np.arange(feed.position, feed.position + len(feed.tokens)) for feed in feeds]
    )
    reads = [begin + index for feed, begin in packed for index in feed.reads]
    frame = _frame(buffers, packed, positions)
    logits: Tensor = model(
        input_ids=torch.tensor([tokens], device=device),
        position_ids=torch.from_numpy(positions).to(device).unsqueeze(0),
        use_cache=False,
        logits_to_keep=torch.tensor(reads, device=device, dtype=torch.long),
        frame=frame,
    ).logits
    if frame.layers_seen != buffers.shape.layers:
        raise RuntimeError("its layers do not all go through AttentionInterface")
    return logits[0]


def _frame(buffers: Buffers, packed: list[PackedFeed], positions: np.ndarray) -> Frame:
    single = [(f, b) for f, b in packed if f.column is not None and len(f.tokens) == 1]
    longer = [(f, b) for f, b in packed if f.column is not None and len(f.tokens) > 1]
    prefixes = [(f, b) for f, b in packed if f.column is None]
    prefix = max(len(f.group.tokens) for f, _ in packed)
    suffix = max((f.start + len(f.tokens) for f, _ in packed if f.column is not None), default=0)
    prefix, suffix = min(_aligned(prefix), buffers.prefix), min(_aligned(suffix), buffers.suffix)
    return Frame(
        buffers,
        _writes(packed, buffers),
        _grid(single, buffers) if single else None,
        [
            *_blocks(longer, positions, prefix + suffix, buffers),
            *_blocks(prefixes, positions, prefix, buffers),
        ],
        prefix,
        suffix,
    )


def _writes(packed: list[PackedFeed], buffers: Buffers) -> Writes:
    prefix: list[tuple[int, int, int]] = []
    suffix: list[tuple[int, int, int, int]] = []
    for feed, begin in packed:
        slot = feed.group.slot
        for index in range(len(feed.tokens)):
            offset = feed.start + index
            if feed.column is None:
                prefix.append((begin + index, slot, offset))
            else:
                suffix.append((begin + index, slot, feed.column, offset))
    device = buffers.shape.device
    first = torch.tensor(prefix, dtype=torch.long, device=device).view(-1, 3).unbind(1)
    second = torch.tensor(suffix, dtype=torch.long, device=device).view(-1, 4).unbind(1)
    return Writes(*first, *second)


def _grid(packed: list[PackedFeed], buffers: Buffers) -> Grid:
    device = buffers.shape.device
    size = max(feed.group.slot for feed, _ in packed) + 1
    positions = np.full((size, buffers.columns), -1)
    lengths = np.zeros((size, 1), int)
    for feed, _ in packed:
        positions[feed.group.slot, feed.column] = feed.position
        lengths[feed.group.slot] = len(feed.group.tokens)
    table = [(begin, feed.group.slot, feed.column) for feed, begin in packed]
    tokens, groups, columns = torch.tensor(table, device=device).unbind(1)
    return Grid(
        tokens,
        groups,
        columns,
        torch.from_numpy(positions).to(device),
        torch.from_numpy(lengths).to(device),
    )


def _blocks(
    packed: list[PackedFeed], positions: np.ndarray, keys: int, buffers: Buffers
) -> list[FeedBlock]:
    """Returns feeds of like length together, no block with more scores than it may have."""
    blocks = []
    ordered = sorted(packed, key=lambda each: -len(each[0].tokens))
    while ordered:
        longest = len(ordered[0][0].tokens)
        count = max(BLOCK_SCORES // (longest * keys * buffers.shape.query_heads), 1)
        blocks.append(_block(ordered[:count], positions, buffers))
        ordered = ordered[count:]
    return blocks


def _block(packed: list[PackedFeed], positions: np.ndarray, buffers: Buffers) -> FeedBlock:
    device = buffers.shape.device
    lengths = np.array([len(feed.tokens) for feed, _ in packed])
    begins = np.array([begin for _, begin in packed])
    offsets = np.arange(lengths.max())[None]
    real = offsets < lengths[:, None]
    tokens = np.where(real, begins[:, None] + offsets, 0)
    table = [(feed.group.slot, feed.column or 0, len(feed.group.tokens)) for feed, _ in packed]
    groups, columns, prefixes = torch.tensor(table, device=device).unbind(1)
    return FeedBlock(
        torch.from_numpy(tokens).to(device),
        torch.from_numpy(np.flatnonzero(real)).to(device),
        groups,
        None if packed[0][0].column is None else columns,
        torch.from_numpy(positions[tokens]).to(device),
        prefixes.unsqueeze(1),
    )


def _aligned(length: int) -> int:
    return -(-length // KEY_ALIGN) * KEY_ALIGN
