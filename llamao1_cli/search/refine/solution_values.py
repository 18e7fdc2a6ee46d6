"""Values of whole solutions in a tree of rewritings, after LLaMA-Berry (Zhang et al. 2024).

Pure functions. `parents` `[n]` are the indices of the solutions' parents, -1 where there is none;
parents stand before their children.
"""

from collections.abc import Sequence

import numpy as np

ENOUGH_CHILDREN = 3  # rewritings before a solution may be closed


def berry_back_up(
    qualities: np.ndarray, parents: Sequence[int], leaf: int, gamma: float
) -> np.ndarray:
    """Returns the qualities `[n]` once a leaf's is carried up as in LLaMA-Berry.

    On every ancestor in turn, Q(parent) = (1 - gamma) Q(parent) + gamma Q(child), the child being
    the one on the way.
    """
    result, child = qualities.copy(), leaf
    for above in ancestors(parents, leaf):
        result[above] = (1 - gamma) * result[above] + gamma * result[child]
        child = above
    return result


def uct(quality: float, visits: int, parent_visits: int, exploration: float = 1.4) -> float:
    """Returns LLaMA-Berry's Q + c sqrt(ln N_parent / N); infinite if it was never visited."""
    if not visits:
        return float("inf")
    return float(quality + exploration * np.sqrt(np.log(max(parent_visits, 1)) / visits))


def closed(quality: float, child_qualities: Sequence[float]) -> bool:
    """Returns whether a solution is no longer rewritten: it has `ENOUGH_CHILDREN`, and one of them
    is as good."""
    return len(child_qualities) >= ENOUGH_CHILDREN and max(child_qualities) >= quality


def ancestors(parents: Sequence[int], solution: int) -> list[int]:
    """Returns the solutions above one, from its parent up to the first."""
    way = []
    while (solution := parents[solution]) >= 0:
        way.append(solution)
    return way
