"""Token tries packed into one sequence: what a forward reads, and where its losses are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from llamao1_cli.experience import Actions, Experience, Ratings
from llamao1_cli.packed_attention import Block, Layout

RUN = 128  # longest run of tokens that attend together: more of a longer one's mask is empty
ALIGN = 8  # key lengths are rounded up to this: whole vectors for the matrix products
BLOCK = 3000  # attention scores whose cost is that of one more block

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
    solution: torch.Tensor  # [A] which of the S solutions it belongs to
    solvers: torch.Tensor  # [S] place of the solution's tree in the batch
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
    sizes = [len(part.ids) for _, part in parts]
    return [[parts[index] for index in batch] for batch in filled(sizes, limit)]


def filled(sizes: Sequence[int], limit: int) -> list[list[int]]:
    """Things of these sizes, by their index, in batches of at most `limit` together or of one; the
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


def split(item: Experience, limit: int) -> list[Experience]:
    """A tree in parts of at most `limit` tokens, or of one longer path.

    Each part is a trie of whole paths. What paths of several parts share is in all of them; its
    ratings are in the first, and all actions of a solution in the part that has its last.
    """
    if len(item.ids) <= limit:
        return [item]
    kept, first = whole_paths(item.before, limit)
    last = np.zeros(item.actions.path.max(initial=-1) + 1, int)
    np.maximum.at(last, item.actions.path, item.actions.at)  # a path's tokens stand in order
    acts, rates = first[last[item.actions.path]], first[item.ratings.at]
    return [_part(item, tokens, acts == n, rates == n) for n, tokens in enumerate(kept)]


def whole_paths(before: np.ndarray, limit: int) -> tuple[list[np.ndarray], np.ndarray]:
    """The tokens of each part when a trie is cut into parts of whole paths, of at most `limit`
    tokens or of one longer path, and the first part `[T]` that each token is in."""
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


def pack(parts: Sequence[Part], iteration: int, device: torch.device) -> Packed:
    """One sequence of all parts; fresh are those that were sampled in `iteration`."""
    forest = _forest([item for _, item in parts])
    actions, ratings = forest.actions, forest.ratings
    # Nodes that say the same share their predictions.
    predictions = np.stack([actions.at, actions.token, actions.place])
    distinct, predicted = np.unique(predictions, axis=1, return_inverse=True)
    read, rated = np.unique(ratings.at, return_inverse=True)
    acted = np.repeat(np.arange(len(parts)), [len(item.actions.at) for _, item in parts])
    owner = np.repeat(np.arange(len(parts)), [len(item.ratings.at) for _, item in parts])
    solved, solution = np.unique(np.stack([acted, actions.path]), axis=1, return_inverse=True)
    places = np.array([place for place, _ in parts])
    fresh = np.array([item.iteration == iteration for _, item in parts])
    positions, layout = layout_of(forest.before, device)

    def tensor(array: np.ndarray, dtype: torch.dtype = torch.long) -> torch.Tensor:
        return torch.from_numpy(array).to(device, dtype)

    return Packed(
        ids=tensor(forest.ids),
        positions=tensor(positions),
        layout=layout,
        reads=tensor(np.concatenate([distinct[0], read])),
        token=tensor(distinct[1]),
        place=tensor(distinct[2]),
        predicted=tensor(predicted.reshape(-1)),
        solution=tensor(solution.reshape(-1)),
        solvers=tensor(places[solved[0]]),
        logprob=tensor(actions.logprob, torch.float32),
        advantage=tensor(actions.advantage, torch.float32),
        acted=tensor(places[acted]),
        fresh=tensor(fresh[acted], torch.bool),
        rated=tensor(rated),
        leaves=tensor(ratings.leaves, torch.float32),
        target=tensor(ratings.target, torch.float32),
        owner=tensor(places[owner]),
    )


def _forest(items: Sequence[Experience]) -> Experience:
    """The tries side by side."""
    before, begins = side_by_side([item.before for item in items])
    return replace(
        items[0],
        ids=np.concatenate([item.ids for item in items]),
        before=before,
        actions=_together([item.actions for item in items], begins),
        ratings=_together([item.ratings for item in items], begins),
    )


def side_by_side(befores: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The tokens before those of several tries as one forest `[T]`, and where each trie begins."""
    begins = np.cumsum([0, *map(len, befores)])[:-1]
    moved = [np.where(b < 0, -1, b + begin) for b, begin in zip(befores, begins, strict=True)]
    return np.concatenate(moved), begins


def _together(groups: Sequence[Group], begins: np.ndarray) -> Group:
    """What stands in tries that begin there in their forest."""
    arrays = {name: np.concatenate([vars(g)[name] for g in groups]) for name in vars(groups[0])}
    at = np.concatenate([g.at + begin for g, begin in zip(groups, begins, strict=True)])
    return replace(groups[0], **(arrays | {"at": at}))


def _path(before: np.ndarray, token: int) -> list[int]:
    """The tokens from the first one to `token`, backwards."""
    path = []
    while token >= 0:
        path.append(token)
        token = int(before[token])
    return path


def _part(item: Experience, tokens: np.ndarray, acts: np.ndarray, rates: np.ndarray) -> Experience:
    """The trie of `tokens`, with the actions and ratings that `acts` and `rates` mark."""
    number = numbers(tokens, len(item.ids))
    return replace(
        item,
        ids=item.ids[tokens],
        before=number[item.before[tokens]],
        actions=_chosen(item.actions, acts, number),
        ratings=_chosen(item.ratings, rates, number),
    )


def numbers(tokens: np.ndarray, count: int) -> np.ndarray:
    """What each of `count` tokens is called among `tokens` `[count + 1]`; -1, no token, is -1."""
    number = np.full(count + 1, -1, np.int32)
    number[tokens] = np.arange(len(tokens))
    return number


def _chosen(group: Group, own: np.ndarray, number: np.ndarray) -> Group:
    """What is the part's own, by the numbers of its tokens in the part."""
    kept = {name: array[own] for name, array in vars(group).items()}
    return replace(group, **(kept | {"at": number[kept["at"]]}))


def layout_of(before: np.ndarray, device: torch.device) -> tuple[np.ndarray, Layout]:
    """The position `[T]` of each token of a trie, or of several, on its path, and the runs in
    blocks."""

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    positions, runs = _runs(before)
    runs.sort(key=lambda run: (len(run), positions[run[-1]]), reverse=True)
    lengths = np.array([len(run) for run in runs])
    paths = np.array([positions[run[-1]] + 1 for run in runs])
    blocks: list[Block] = []
    queries: list[np.ndarray] = []
    keys: list[np.ndarray] = []
    order, start = np.zeros(len(before), int), 0
    for first, stop in _groups(lengths, paths):
        asking = _padded(runs[first:stop])
        read = _padded([_path(before, run[-1])[::-1] for run in runs[first:stop]], ALIGN)
        real = np.arange(asking.shape[1]) < lengths[first:stop, None]
        order[asking[real]] = start + np.flatnonzero(real)
        start += asking.size
        blocks.append(Block(tensor(np.where(real, positions[asking], 0)), read.shape[1]))
        queries.append(asking.ravel())
        keys.append(read.ravel())
    asked, said = (tensor(np.concatenate(rows)) for rows in (queries, keys))
    return positions, Layout(blocks, asked, said, tensor(order))


def _groups(lengths: np.ndarray, paths: np.ndarray) -> list[tuple[int, int]]:
    """Where to cut runs in order of length into blocks, such that the blocks cost least.

    A block costs its scores, padding included, and `BLOCK` scores more.
    """
    least, cuts = [0.0], [0]  # of the first runs: their cost, and where their last block starts
    for stop in range(1, len(lengths) + 1):
        widest = np.maximum.accumulate(paths[stop - 1 :: -1])[::-1]
        cost = np.array(least) + BLOCK + np.arange(stop, 0, -1) * lengths[:stop] * widest[:stop]
        cuts.append(int(cost.argmin()))
        least.append(float(cost.min()))
    groups, stop = [], len(lengths)
    while stop:
        groups.append((cuts[stop], stop))
        stop = cuts[stop]
    return groups


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
