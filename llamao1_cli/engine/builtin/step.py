"""One forward over everything that is fed in a step, packed into one sequence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from llamao1_cli.engine.builtin.attention import Block, Frame, Grid, Writes
from llamao1_cli.engine.builtin.buffers import Buffers
from llamao1_cli.engine.builtin.groups import Group
from llamao1_cli.engine.rows import Row

ALIGN = 16  # key lengths are rounded up to this: whole vectors for the matrix products
BLOCK_SCORES = 2**24  # attention scores of a block at most, so that a long prompt fits in memory


@dataclass(frozen=True)
class Feed:
    """Tokens of a prefix or a row that are read in this step."""

    tokens: list[int]
    start: int  # tokens of the same prefix or suffix that were read before
    group: Group
    column: int | None  # of the row in its group; None: the prefix itself
    row: Row | None
    reads: Sequence[int]  # places in `tokens` whose logits are wanted

    @property
    def position(self) -> int:
        """Position of the first token in its path."""
        return self.start + (0 if self.column is None else len(self.group.tokens))


def run_step(model: PreTrainedModel, buffers: Buffers, feeds: list[Feed]) -> Tensor:
    """Logits `[N, V]` where they are wanted, feed after feed; keys and values go to the buffers."""
    device = buffers.shape.device
    begins = np.cumsum([0, *(len(feed.tokens) for feed in feeds)])
    tokens = [token for feed in feeds for token in feed.tokens]
    positions = np.concatenate(
        [np.arange(feed.position, feed.position + len(feed.tokens)) for feed in feeds]
    )
    reads = [
        int(begin) + place
        for feed, begin in zip(feeds, begins[:-1], strict=True)
        for place in feed.reads
    ]
    frame = _frame(buffers, feeds, begins, positions)
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


def _frame(buffers: Buffers, feeds: list[Feed], begins: np.ndarray, positions: np.ndarray) -> Frame:
    places = list(zip(feeds, begins[:-1].tolist(), strict=True))
    single = [(f, b) for f, b in places if f.column is not None and len(f.tokens) == 1]
    longer = [(f, b) for f, b in places if f.column is not None and len(f.tokens) > 1]
    prefixes = [(f, b) for f, b in places if f.column is None]
    prefix = max(len(feed.group.tokens) for feed in feeds)
    suffix = max((f.start + len(f.tokens) for f in feeds if f.column is not None), default=0)
    prefix, suffix = min(_aligned(prefix), buffers.prefix), min(_aligned(suffix), buffers.suffix)
    return Frame(
        buffers,
        _writes(places, buffers),
        _grid(single, buffers) if single else None,
        [
            *_blocks(longer, positions, prefix + suffix, buffers),
            *_blocks(prefixes, positions, prefix, buffers),
        ],
        prefix,
        suffix,
    )


def _writes(places: list[tuple[Feed, int]], buffers: Buffers) -> Writes:
    prefix: list[tuple[int, int, int]] = []
    suffix: list[tuple[int, int, int, int]] = []
    for feed, begin in places:
        slot = feed.group.slot
        for offset in range(len(feed.tokens)):
            at = feed.start + offset
            if feed.column is None:
                prefix.append((begin + offset, slot, at))
            else:
                suffix.append((begin + offset, slot, feed.column, at))
    device = buffers.shape.device
    first = torch.tensor(prefix, dtype=torch.long, device=device).view(-1, 3).unbind(1)
    second = torch.tensor(suffix, dtype=torch.long, device=device).view(-1, 4).unbind(1)
    return Writes(*first, *second)


def _grid(places: list[tuple[Feed, int]], buffers: Buffers) -> Grid:
    device = buffers.shape.device
    size = max(feed.group.slot for feed, _ in places) + 1
    positions = np.full((size, buffers.columns), -1)
    lengths = np.zeros((size, 1), int)
    for feed, _ in places:
        positions[feed.group.slot, feed.column] = feed.position
        lengths[feed.group.slot] = len(feed.group.tokens)
    table = [(begin, feed.group.slot, feed.column) for feed, begin in places]
    tokens, groups, columns = torch.tensor(table, device=device).unbind(1)
    return Grid(
        tokens,
        groups,
        columns,
        torch.from_numpy(positions).to(device),
        torch.from_numpy(lengths).to(device),
    )


def _blocks(
    places: list[tuple[Feed, int]], positions: np.ndarray, keys: int, buffers: Buffers
) -> list[Block]:
    """Feeds of like length together, no block larger than its scores may be."""
    blocks = []
    ordered = sorted(places, key=lambda place: -len(place[0].tokens))
    while ordered:
        longest = len(ordered[0][0].tokens)
        count = max(BLOCK_SCORES // (longest * keys * buffers.shape.query_heads), 1)
        blocks.append(_block(ordered[:count], positions, buffers))
        ordered = ordered[count:]
    return blocks


def _block(places: list[tuple[Feed, int]], positions: np.ndarray, buffers: Buffers) -> Block:
    device = buffers.shape.device
    lengths = np.array([len(feed.tokens) for feed, _ in places])
    begins = np.array([begin for _, begin in places])
    offsets = np.arange(lengths.max())[None]
    real = offsets < lengths[:, None]
    tokens = np.where(real, begins[:, None] + offsets, 0)
    table = [(feed.group.slot, feed.column or 0, len(feed.group.tokens)) for feed, _ in places]
    groups, columns, prefixes = torch.tensor(table, device=device).unbind(1)
    return Block(
        torch.from_numpy(tokens).to(device),
        torch.from_numpy(np.flatnonzero(real)).to(device),
        groups,
        None if places[0][0].column is None else columns,
        torch.from_numpy(positions[tokens]).to(device),
        prefixes.unsqueeze(1),
    )


def _aligned(length: int) -> int:
    return -(-length // ALIGN) * ALIGN
