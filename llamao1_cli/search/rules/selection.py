"""Pure functions that score the children of a node for selection."""

import numpy as np


def shares(amounts: np.ndarray) -> np.ndarray:
    """Returns each amount over their sum; equal shares where the sum is 0."""
    total = amounts.sum()
    return amounts / total if total > 0 else np.full(len(amounts), 1 / len(amounts))


def reference_scores(
    values: np.ndarray,
    visits: np.ndarray,
    priors: np.ndarray,
    varentropies: np.ndarray,
    *,
    exploration: float,
    varentropy_weight: float,
) -> np.ndarray:
    """Returns LLaMA-O1's scores Q + c P sqrt(sum N) / (1 + N) + lambda x share of varentropy.

    All arrays have one entry a child; `priors` are normalised over the siblings.
    """
    explore = exploration * priors * np.sqrt(visits.sum()) / (1 + visits)
    return values + explore + varentropy_weight * shares(varentropies)


def alphazero_scores(
    values: np.ndarray, visits: np.ndarray, priors: np.ndarray, parent_value: float
) -> np.ndarray:
    """Returns the scores of AlphaZero's rule with min-max normalised values, as in mctx.

    Q' + sqrt(N_parent) P [1.25 + ln((N_parent + 19653) / 19652)] / (1 + N). N_parent counts the
    parent's own evaluation, so that the prior acts from the first visit. Q' is normalised over the
    parent's value and the visited children's; an unvisited child gets the lowest.
    """
    seen = np.append(values[visits > 0], parent_value)
    low, high = seen.min(), seen.max()
    normalised = np.where(visits > 0, values - low, 0.0) / max(high - low, 1e-8)
    parent_visits = 1 + visits.sum()
    rate = 1.25 + np.log((parent_visits + 19653) / 19652)
    return normalised + np.sqrt(parent_visits) * priors * rate / (1 + visits)
