"""Token tries packed into one sequence: what a forward reads, and where its losses are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from llamao1_cli.learn.experience import Actions, Experience, Ratings
from llamao1_cli.model.packed_forward import PackedTokens
from llamao1_cli.model.trie_layout import (
    filled,
    layout_of,
    numbers,
    side_by_side,
    whole_paths,
)

Group = TypeVar("Group", Actions, Ratings)
Part = tuple[int, Experience]  # index of the tree in its batch, and the tree or a part of it


@dataclass(frozen=True)
class Packed(PackedTokens):
    """A micro-batch as one sequence of T tokens, with its A actions and M ratings.

    Logits are made at `reads` `[U + R]`: first for U distinct predictions, then for R distinct
    ratings.
    """

    token: torch.Tensor  # [U] the token that is predicted
    role: torch.Tensor  # [U] row of the language's grammar that the token follows
    predicted: torch.Tensor  # [A] prediction that scores the action, in [0, U)
    solution: torch.Tensor  # [A] which of the S solutions it belongs to
    solution_tree: torch.Tensor  # [S] index of the solution's tree in the batch
    logprob: torch.Tensor  # [A] behaviour log-prob
    advantage: torch.Tensor  # [A]
    action_tree: torch.Tensor  # [A] index of the action's tree in the batch
    fresh: torch.Tensor  # [A] bool: sampled by the weights that the iteration began with
    rated: torch.Tensor  # [M] where the rating is read, in [0, R)
    leaves: torch.Tensor  # [M] how many leaves stand below the node
    target: torch.Tensor  # [M]
    rating_tree: torch.Tensor  # [M] index of the rating's tree in the batch


def micro_batches(items: Sequence[Part], limit: int) -> list[list[Part]]:
    """Returns the trees in micro-batches of at most `limit` tokens, the largest first; larger trees
    are split."""
    parts = [(index, part) for index, item in items for part in split(item, limit)]
    sizes = [len(part.ids) for _, part in parts]
    return [[parts[index] for index in batch] for batch in filled(sizes, limit)]


def split(item: Experience, limit: int) -> list[Experience]:
    """Returns a tree in parts of at most `limit` tokens, or of one longer path.

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


def pack(parts: Sequence[Part], iteration: int, device: torch.device) -> Packed:
    """Returns one sequence of all parts; fresh are those that were sampled in `iteration`."""
    forest = _forest([item for _, item in parts])
    actions, ratings = forest.actions, forest.ratings
    # Nodes that say the same share their predictions.
    predictions = np.stack([actions.at, actions.token, actions.role])
    distinct, predicted = np.unique(predictions, axis=1, return_inverse=True)
    read, rated = np.unique(ratings.at, return_inverse=True)
    acted = np.repeat(np.arange(len(parts)), [len(item.actions.at) for _, item in parts])
    owner = np.repeat(np.arange(len(parts)), [len(item.ratings.at) for _, item in parts])
    solved, solution = np.unique(np.stack([acted, actions.path]), axis=1, return_inverse=True)
    trees = np.array([index for index, _ in parts])
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
        role=tensor(distinct[2]),
        predicted=tensor(predicted.reshape(-1)),
        solution=tensor(solution.reshape(-1)),
        solution_tree=tensor(trees[solved[0]]),
        logprob=tensor(actions.logprob, torch.float32),
        advantage=tensor(actions.advantage, torch.float32),
        action_tree=tensor(trees[acted]),
        fresh=tensor(fresh[acted], torch.bool),
        rated=tensor(rated),
        leaves=tensor(ratings.leaves, torch.float32),
        target=tensor(ratings.target, torch.float32),
        rating_tree=tensor(trees[owner]),
    )


def _forest(items: Sequence[Experience]) -> Experience:
    """Returns the tries side by side, as one experience."""
    before, begins = side_by_side([item.before for item in items])
    return replace(
        items[0],
        ids=np.concatenate([item.ids for item in items]),
        before=before,
        actions=_together([item.actions for item in items], begins),
        ratings=_together([item.ratings for item in items], begins),
    )


def _together(groups: Sequence[Group], begins: np.ndarray) -> Group:
    """Returns the actions or ratings of all tries, each trie's tokens counted from its begin."""
    arrays = {name: np.concatenate([vars(g)[name] for g in groups]) for name in vars(groups[0])}
    at = np.concatenate([g.at + begin for g, begin in zip(groups, begins, strict=True)])
    return replace(groups[0], **(arrays | {"at": at}))


def _part(item: Experience, tokens: np.ndarray, acts: np.ndarray, rates: np.ndarray) -> Experience:
    """Returns the trie of `tokens`, with the actions and ratings that `acts` and `rates` mark."""
    number = numbers(tokens, len(item.ids))
    return replace(
        item,
        ids=item.ids[tokens],
        before=number[item.before[tokens]],
        actions=_chosen(item.actions, acts, number),
        ratings=_chosen(item.ratings, rates, number),
    )


def _chosen(group: Group, own: np.ndarray, number: np.ndarray) -> Group:
    """Returns the actions or ratings that the mask `own` keeps, by the part's own token numbers."""
    kept = {name: array[own] for name, array in vars(group).items()}
    return replace(group, **(kept | {"at": number[kept["at"]]}))
