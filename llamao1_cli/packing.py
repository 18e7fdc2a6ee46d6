"""Token tries packed into one sequence: what a forward reads, and where its losses are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from llamao1_cli.experience import Actions, Experience, Ratings
from llamao1_cli.packed_attention import Block, Layout

RUN = 256  # longest run of tokens that attend together: more of a longer one's mask is empty
ALIGN = 8  # key lengths are rounded up to this: whole vectors for the matrix products
SPREAD = 0.5  # a run shorter than this share of its block's longest starts another block

Group = TypeVar("Group", Actions, Ratings)
Part = tuple[int, Experience]  # place of the tree in its batch, and the tree or a part of it


@dataclass(frozen=True)
class Packed:
    """A micro-batch as one sequence of T tokens, with its A actions and M ratings.

    Logits are made at `reads`: first for U distinct predictions, then for R distinct ratings.
    """

    ids: torch.Tensor  # [T]
    positions: torch.Tensor  # [T] of each token on its path
    layout: Layout
    reads: torch.Tensor  # [U + R] tokens of the sequence
    token: torch.Tensor  # [U] the token that is predicted
    place: torch.Tensor  # [U] `Place` of that token
    predicted: torch.Tensor  # [A] prediction that scores the action, in [0, U)
    logprob: torch.Tensor  # [A] behaviour log-prob
    advantage: torch.Tensor  # [A]
    acted: torch.Tensor  # [A] place of the action's tree in the batch
    fresh: torch.Tensor  # [A] bool: sampled by the weights that the iteration began with
    rated: torch.Tensor  # [M] where the value is read, in [0, R)
    leaves: torch.Tensor  # [M] how many leaves the rating speaks for
    target: torch.Tensor  # [M]
    owner: torch.Tensor  # [M] place of the rating's tree in the batch


def micro_batches(items: Sequence[Part], limit: int) -> list[list[Part]]:
    """The trees in micro-batches of at most `limit` tokens, the largest first; larger trees are
    split."""
    parts = [(place, part) for place, item in items for part in split(item, limit)]
    batches: list[list[Part]] = []
    room = 0
    for place, part in sorted(parts, key=lambda pair: -len(pair[1].ids)):
        if len(part.ids) > room:
            batches.append([])
            room = limit
        batches[-1].append((place, part))
        room -= len(part.ids)
    return batches


def split(item: Experience, limit: int) -> list[Experience]:
    """A tree in parts of at most `limit` tokens, or of one longer path.

    Each part is a trie of whole paths. What paths of several parts share is in all of them; its
    actions and ratings are in the first.
    """
    if len(item.ids) <= limit:
        return [item]
    first = np.full(len(item.ids), -1)  # part that has the token's actions and ratings
    kept: list[set[int]] = [set()]
    for leaf in np.setdiff1d(np.arange(len(item.ids)), item.before).tolist():
        path = _path(item.before, leaf)
        if kept[-1] and len(kept[-1].union(path)) > limit:
            kept.append(set())
        kept[-1].update(path)
        own = np.array(path)
        first[own[first[own] < 0]] = len(kept) - 1
    return [_part(item, np.sort(list(tokens)), first == n) for n, tokens in enumerate(kept)]


def pack(parts: Sequence[Part], iteration: int, device: torch.device) -> Packed:
    """One sequence of all parts; fresh are those that were sampled in `iteration`."""
    items = [item for _, item in parts]
    begins = np.cumsum([0, *(len(item.ids) for item in items)])[:-1].tolist()
    before = _joined([np.where(i.before < 0, -1, i.before + b) for i, b in zip(items, begins)])
    actions = [
        replace(i.actions, at=i.actions.at + begin) for i, begin in zip(items, begins, strict=True)
    ]
    at, token, place, logprob, advantage = (
        _joined([getattr(a, name) for a in actions])
        for name in ("at", "token", "place", "logprob", "advantage")
    )
    predictions, predicted = np.unique(np.stack([at, token, place]), axis=1, return_inverse=True)
    rated_at = _joined([i.ratings.at + begin for i, begin in zip(items, begins, strict=True)])
    read, rated = np.unique(rated_at, return_inverse=True)
    acted = np.repeat([p for p, _ in parts], [len(i.actions.at) for i in items])
    owner = np.repeat([p for p, _ in parts], [len(i.ratings.at) for i in items])
    fresh = np.repeat([i.iteration == iteration for i in items], [len(i.actions.at) for i in items])
    positions, layout = _layout(before, device)

    def tensor(array: np.ndarray, dtype: torch.dtype = torch.long) -> torch.Tensor:
        return torch.from_numpy(array).to(device, dtype)

    return Packed(
        ids=tensor(_joined([item.ids for item in items])),
        positions=tensor(positions),
        layout=layout,
        reads=tensor(np.concatenate([predictions[0], read])),
        token=tensor(predictions[1]),
        place=tensor(predictions[2]),
        predicted=tensor(predicted.reshape(-1)),
        logprob=tensor(logprob, torch.float32),
        advantage=tensor(advantage, torch.float32),
        acted=tensor(acted),
        fresh=tensor(fresh, torch.bool),
        rated=tensor(rated),
        leaves=tensor(_joined([i.ratings.leaves for i in items]), torch.float32),
        target=tensor(_joined([i.ratings.target for i in items]), torch.float32),
        owner=tensor(owner),
    )


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays)


def _path(before: np.ndarray, token: int) -> list[int]:
    """The tokens from the first one to `token`, backwards."""
    path = []
    while token >= 0:
        path.append(token)
        token = int(before[token])
    return path


def _part(item: Experience, tokens: np.ndarray, own: np.ndarray) -> Experience:
    """The trie of `tokens`, with the actions and ratings at those of them that are its own."""
    number = np.full(len(item.ids) + 1, -1, np.int32)  # the last one is that of no token
    number[tokens] = np.arange(len(tokens))
    return replace(
        item,
        ids=item.ids[tokens],
        before=number[item.before[tokens]],
        actions=_chosen(item.actions, own, number),
        ratings=_chosen(item.ratings, own, number),
    )


def _chosen(group: Group, own: np.ndarray, number: np.ndarray) -> Group:
    """What stands at the part's own tokens, by their numbers in the part."""
    kept = {name: array[own[group.at]] for name, array in vars(group).items()}
    return replace(group, **(kept | {"at": number[kept["at"]]}))


def _layout(before: np.ndarray, device: torch.device) -> tuple[np.ndarray, Layout]:
    """The position of each token on its path, and the runs in blocks."""
    positions, runs = _runs(before)
    runs.sort(key=len, reverse=True)
    blocks, order, start = [], np.zeros(len(before), int), 0
    while runs:
        count = sum(len(run) >= SPREAD * len(runs[0]) for run in runs)
        queries = _padded(runs[:count])
        keys = _padded([_path(before, run[-1])[::-1] for run in runs[:count]], ALIGN)
        real = np.arange(queries.shape[1]) < np.array([[len(run)] for run in runs[:count]])
        order[queries[real]] = start + np.flatnonzero(real)
        at = np.where(real, positions[queries], 0)
        blocks.append(Block(*(torch.from_numpy(a).to(device) for a in (queries, at, keys))))
        start, runs = start + queries.size, runs[count:]
    return positions, Layout(blocks, torch.from_numpy(order).to(device))


def _runs(before: np.ndarray) -> tuple[np.ndarray, list[list[int]]]:
    """The position of each token on its path, and the tokens of each run."""
    positions: list[int] = []
    runs: list[list[int]] = []
    ending: dict[int, list[int]] = {}  # by its last token: a run that the next token may continue
    for token, last in enumerate(before.tolist()):
        positions.append(positions[last] + 1 if last >= 0 else 0)
        run = ending.pop(last, [])
        if not run:
            runs.append(run)
        run.append(token)
        if len(run) < RUN:
            ending[token] = run
    return np.array(positions), runs


def _padded(rows: Sequence[Sequence[int]], align: int = 1) -> np.ndarray:
    """Rows side by side, filled up with 0 to a multiple of `align`."""
    longest = max(len(row) for row in rows)
    padded = np.zeros((len(rows), -(-longest // align) * align), int)
    for row, tokens in zip(padded, rows, strict=True):
        row[: len(tokens)] = tokens
    return padded
