"""From pairwise preferences to qualities: LLaMA-Berry's enhanced Borda count (Zhang et al. 2024).

Pure functions of log-odds `[n, n]`: entry (i, j) is the log-odds that solution i is better than
solution j, so the matrix is antisymmetric and 0 on its diagonal.
"""

from dataclasses import dataclass

import numpy as np

CERTAIN = 1e-6  # chances are taken to be no nearer to 0 and 1


@dataclass(frozen=True)
class Comparison:
    """A question and two of its solutions: is the first better than the second?"""

    question: str
    first: str
    second: str

    @property
    def turned(self) -> "Comparison":
        """The same comparison with its solutions exchanged."""
        return Comparison(self.question, self.second, self.first)


def value_log_odds(values: np.ndarray) -> np.ndarray:
    """Returns the log-odds `[N]` that the first of two solutions is the better one, from their
    chances `[N, 2]` to be right: logit v1 - logit v2, so that the preference is the sigmoid of the
    difference (the model of Bradley and Terry). Chances are kept off 0 and 1 by 1e-6, or nothing
    could be added."""
    kept = np.clip(values.reshape(-1, 2), CERTAIN, 1 - CERTAIN)
    logits = np.log(kept) - np.log1p(-kept)
    return logits[:, 0] - logits[:, 1]


def preferences(odds: np.ndarray) -> np.ndarray:
    """Returns M `[n, n]`: whether i is at least as good as j, P >= 1/2; nothing beats itself."""
    preferred = odds >= 0
    np.fill_diagonal(preferred, False)
    return preferred


def transitive_closure(relation: np.ndarray) -> np.ndarray:
    """Returns whether j can be reached from i by one step or more of a relation `[n, n]` (Warshall
    1962).

    On a cycle everything reaches everything, itself included.
    """
    closure = relation.copy()
    for middle in range(len(closure)):
        closure |= np.outer(closure[:, middle], closure[middle])
    return closure


def borda_counts(odds: np.ndarray) -> np.ndarray:
    """Returns how many others each solution beats, directly or through others `[n]`.

    A win over oneself, which cycles make, does not count: it would lift a cycle's members to the
    one that beats them all.
    """
    wins = transitive_closure(preferences(odds))
    np.fill_diagonal(wins, False)
    return wins.sum(axis=1)


def ranks(odds: np.ndarray) -> np.ndarray:
    """Returns the rank `[n]` by Borda count, 1 the best: 1 + how many are ahead.

    Equal counts are parted by their own comparisons: the sum of a solution's log-odds against those
    of its count, which for two is their comparison. Equals in both share a rank.
    """
    counts = borda_counts(odds)
    tied = counts[:, None] == counts
    strength = np.where(tied, odds, 0.0).sum(axis=1)
    ahead = (counts > counts[:, None]) | (tied & (strength > strength[:, None]))
    return 1 + ahead.sum(axis=1)


def global_quality(odds: np.ndarray) -> np.ndarray:
    """Returns 1 - (rank - 1) / (n - 1) `[n]`: 1 for the best, 0 for the last; 1 for one alone."""
    return 1 - (ranks(odds) - 1) / max(len(odds) - 1, 1)


def local_quality(odds: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Returns the mean probability `[n]` of being better than one's neighbours in the tree, by a
    mask `[n, n]`; 1/2 without neighbours."""
    chances = np.where(neighbours, 1 / (1 + np.exp(-odds)), 0.0).sum(axis=1)
    counts = neighbours.sum(axis=1)
    return np.where(counts > 0, chances / np.maximum(counts, 1), 0.5)


def blended_quality(odds: np.ndarray, neighbours: np.ndarray, global_weight: float) -> np.ndarray:
    """Returns alpha Q_global + (1 - alpha) Q_local `[n]`, alpha being `global_weight`."""
    local = local_quality(odds, neighbours)
    return global_weight * global_quality(odds) + (1 - global_weight) * local


def tree_neighbours(parents: np.ndarray) -> np.ndarray:
    """Returns the mask `[n, n]` of parents and children; `parents` `[n]` is -1 for a root."""
    children = np.flatnonzero(parents >= 0)
    mask = np.zeros((len(parents), len(parents)), dtype=bool)
    mask[children, parents[children]] = True
    return mask | mask.T
