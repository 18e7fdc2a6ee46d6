"""Values of whole solutions in a tree of rewritings, after LLaMA-Berry (Zhang et al. 2024).

Pure functions. `parents` `[n]` gives each solution's parent, -1 for the first; parents stand before
their children.
"""

from collections.abc import Sequence

import numpy as np

ENOUGH_CHILDREN = 3  # of a solution that one of its rewritings may close


def mctsr_back_up(qualities: np.ndarray, parents: Sequence[int], leaf: int) -> np.ndarray:
    """Returns qualities `[n]` once a new leaf's is carried up to the root.

    On every ancestor in turn, Q' = (Q + the highest Q of its children) / 2.
    """
    result = qualities.copy()
    for place in ancestors(parents, leaf):
        best = max(result[i] for i, parent in enumerate(parents) if parent == place)
        result[place] = (result[place] + best) / 2
    return result


def berry_back_up(
    qualities: np.ndarray, parents: Sequence[int], leaf: int, gamma: float
) -> np.ndarray:
    """Returns qualities `[n]` once a leaf's is carried up as in LLaMA-Berry.

    On every ancestor in turn, Q(parent) = (1 - gamma) Q(parent) + gamma Q(child), the child being
    the one on the way.
    """
    result, child = qualities.copy(), leaf
    for place in ancestors(parents, leaf):
        result[place] = (1 - gamma) * result[place] + gamma * result[child]
        child = place
    return result


def ucb(quality: float, visits: int, parent_visits: int, exploration: float = 1.4) -> float:
    """MCTSr: Q + c sqrt(ln(N_parent + 1) / (N + 1e-5))."""
    return float(
        quality + exploration * np.sqrt(np.log(parent_visits + 1) / (visits + VISIT_FLOOR))
    )


def uct(quality: float, visits: int, parent_visits: int, exploration: float = 1.4) -> float:
    """LLaMA-Berry: Q + c sqrt(ln N_parent / N); infinite for one that was never visited."""
    if not visits:
        return float("inf")
    return float(quality + exploration * np.sqrt(np.log(max(parent_visits, 1)) / visits))


def closed(quality: float, child_qualities: Sequence[float]) -> bool:
    """Returns whether a solution is rewritten no more: it has `ENOUGH_CHILDREN`, and one is as
    good."""
    return len(child_qualities) >= ENOUGH_CHILDREN and max(child_qualities) >= quality


def ancestors(parents: Sequence[int], place: int) -> list[int]:
    """Returns the way from a solution's parent up to the first one."""
    way = []
    while (place := parents[place]) >= 0:
        way.append(place)
    return way
