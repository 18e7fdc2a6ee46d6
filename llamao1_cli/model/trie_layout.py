"""Token tries packed into one sequence: parts, positions, and the runs that attend together."""

from collections.abc import Sequence

import numpy as np
import torch

from llamao1_cli.model.packed_attention import Layout, RunBlock

MAX_RUN = 128  # longest run of tokens that attend together: more of a longer one's mask is empty
PATH_ALIGN = 8  # key lengths are rounded up to this: whole vectors for the matrix products
BLOCK_COST = 3000  # attention scores that cost as much as one more block


def filled(sizes: Sequence[int], limit: int) -> list[list[int]]:
    """Returns the indices of the sizes in batches that add up to at most `limit` or hold one; the
    largest first."""
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        if sizes[index] > room:
            batches.append([])
            room = limit
        batches[-1].append(index)
        room -= sizes[index]
    return batches


def whole_paths(before: np.ndarray, limit: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Cut a trie into parts of whole paths, of at most `limit` tokens or of one longer path.

    Returns the tokens of each part, and the first part `[T]` that each token is in.
    """
    first = np.full(len(before), -1)
    kept: list[set[int]] = [set()]
    for leaf in np.setdiff1d(np.arange(len(before)), before).tolist():
        path = _path(before, leaf)
        if kept[-1] and len(kept[-1].union(path)) > limit:
            kept.append(set())
        kept[-1].update(path)
        own = np.array(path)
        first[own[first[own] < 0]] = len(kept) - 1
    return [np.sort(list(tokens)) for tokens in kept], first


def side_by_side(befores: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Join tries, each the index of the token before each token, into one forest.

    Returns that of the forest `[T]`, and the index at which each trie begins.
    """
    begins = np.cumsum([0, *map(len, befores)])[:-1]
    moved = [np.where(b < 0, -1, b + begin) for b, begin in zip(befores, begins, strict=True)]
    return np.concatenate(moved), begins


def _path(before: np.ndarray, token: int) -> list[int]:
    """Returns the tokens from `token` back to the first one of its path."""
    path = []
    while token >= 0:
        path.append(token)
        token = int(before[token])
    return path


def numbers(tokens: np.ndarray, count: int) -> np.ndarray:
    """Returns the index among `tokens` of each of `count` tokens, and of -1, no token, at the end:
    `[count + 1]`; -1 for what is not among them."""
    number = np.full(count + 1, -1, np.int32)
    number[tokens] = np.arange(len(tokens))
    return number


def layout_of(before: np.ndarray, device: torch.device) -> tuple[np.ndarray, Layout]:
    """Returns the position `[T]` of each token on its path, for a trie or several, and their layout
    for the attention."""

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    positions, runs = _runs(before)
    runs.sort(key=lambda run: (len(run), positions[run[-1]]), reverse=True)
    lengths = np.array([len(run) for run in runs])
    paths = np.array([positions[run[-1]] + 1 for run in runs])
    blocks: list[RunBlock] = []
    queries: list[np.ndarray] = []
    keys: list[np.ndarray] = []
    order, start = np.zeros(len(before), int), 0
    for first, stop in _block_bounds(lengths, paths):
        asking = _padded(runs[first:stop])
        read = _padded([_path(before, run[-1])[::-1] for run in runs[first:stop]], PATH_ALIGN)
        real = np.arange(asking.shape[1]) < lengths[first:stop, None]
        order[asking[real]] = start + np.flatnonzero(real)
        start += asking.size
        blocks.append(RunBlock(tensor(np.where(real, positions[asking], 0)), read.shape[1]))
        queries.append(asking.ravel())
        keys.append(read.ravel())
    asked, said = (tensor(np.concatenate(rows)) for rows in (queries, keys))
    return positions, Layout(blocks, asked, said, tensor(order))


def _block_bounds(lengths: np.ndarray, paths: np.ndarray) -> list[tuple[int, int]]:
    """Returns the first and last run, in order of length, of each block, such that the blocks cost
    least.

    A block costs its scores, padding included, and `BLOCK_COST` scores more.
    """
    least, starts = [0.0], [0]  # of the first n runs: their cost, and where their last block starts
    for stop in range(1, len(lengths) + 1):
        widest = np.maximum.accumulate(paths[stop - 1 :: -1])[::-1]
        cost = (
            np.array(least) + BLOCK_COST + np.arange(stop, 0, -1) * lengths[:stop] * widest[:stop]
        )
        starts.append(int(cost.argmin()))
        least.append(float(cost.min()))
    bounds, stop = [], len(lengths)
    while stop:
        bounds.append((starts[stop], stop))
        stop = starts[stop]
    return bounds


def _runs(before: np.ndarray) -> tuple[np.ndarray, list[list[int]]]:
    """Returns the position of each token on its path, and the tokens of each run."""
    positions: list[int] = []
    runs: list[list[int]] = []
    ending: dict[int, list[int]] = {}  # by its last token: a run that the next token may continue
    for token, last in enumerate(before.tolist()):
        positions.append(positions[last] + 1 if last >= 0 else 0)
        run = ending.pop(last, [])
        if not run:
            runs.append(run)
        run.append(token)
        if len(run) < MAX_RUN:
            ending[token] = run
    return np.array(positions), runs


def _padded(rows: Sequence[Sequence[int]], align: int = 1) -> np.ndarray:
    """Returns the rows as one array, filled up with 0 to a multiple of `align`."""
    longest = max(len(row) for row in rows)
    padded = np.zeros((len(rows), -(-longest // align) * align), int)
    for row, tokens in zip(padded, rows, strict=True):
        row[: len(tokens)] = tokens
    return padded
