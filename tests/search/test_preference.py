"""Closure, Borda count, qualities and backups against brute force and by hand."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.search.refine.preference import (
    blended_quality,
    borda_counts,
    global_quality,
    local_quality,
    preferences,
    ranks,
    transitive_closure,
    tree_neighbours,
    value_log_odds,
)
from llamao1_cli.search.refine.solution_values import (
    ancestors,
    berry_back_up,
    closed,
    uct,
)


@st.composite
def log_odds(draw: st.DrawFn, most: int = 6) -> np.ndarray:
    """Antisymmetric, with ties: quarters add up without rounding."""
    size = draw(st.integers(1, most))
    odds = np.zeros((size, size))
    for i in range(size):
        for j in range(i):
            odds[i, j] = draw(st.integers(-8, 8)) / 4
            odds[j, i] = -odds[i, j]
    return odds


@st.composite
def shapes(draw: st.DrawFn, most: int = 8) -> list[int]:
    """Parents of a random tree."""
    size = draw(st.integers(1, most))
    return [-1] + [draw(st.integers(0, i - 1)) for i in range(1, size)]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=5))
def test_a_preference_by_values_is_the_chance_that_only_the_first_is_right(
    pairs: list[tuple[float, float]],
) -> None:
    """Given that just one of two independent solutions is right."""
    odds = value_log_odds(np.array(pairs))
    assert odds.shape == (len(pairs),)
    for (one, other), value in zip(pairs, odds, strict=True):
        p, q = (min(max(chance, 1e-6), 1 - 1e-6) for chance in (one, other))
        expected = p * (1 - q) / (p * (1 - q) + q * (1 - p))
        assert 1 / (1 + math.exp(-value)) == pytest.approx(expected)


def chain_exists(relation: np.ndarray, start: int, end: int) -> bool:
    """Whether some sequence of distinct solutions between the two is a chain of the relation."""
    others = [k for k in range(len(relation)) if k not in (start, end)]
    return any(
        all(relation[a, b] for a, b in zip((start, *way), (*way, end), strict=True))
        for length in range(len(others) + 1)
        for way in permutations(others, length)
    )


relations = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.booleans(), min_size=n * n, max_size=n * n).map(
        lambda cells: np.array(cells).reshape(n, n)
    )
)


@given(relations)
def test_closure_is_the_existence_of_a_chain(relation: np.ndarray) -> None:
    before = relation.copy()
    closure = transitive_closure(relation)
    size = range(len(relation))
    expected = [
        [
            chain_exists(relation, i, j)
            if i != j
            else any(relation[i, k] and (k == i or chain_exists(relation, k, i)) for k in size)
            for j in size
        ]
        for i in size
    ]
    assert closure.tolist() == expected
    assert (relation == before).all()


@given(log_odds(5))
def test_borda_counts_and_ranks_by_brute_force(odds: np.ndarray) -> None:
    size = range(len(odds))
    beats = np.array(
        [[i != j and 1 / (1 + math.exp(-odds[i, j])) >= 0.5 for j in size] for i in size]
    )
    assert (preferences(odds) == beats).all()
    counts = [sum(i != j and chain_exists(beats, i, j) for j in size) for i in size]
    assert borda_counts(odds).tolist() == counts
    keys = [(counts[i], sum(odds[i, j] for j in size if counts[j] == counts[i])) for i in size]
    expected = [1 + sum(other > key for other in keys) for key in keys]
    assert ranks(odds).tolist() == expected
    quality = [1 - (r - 1) / (len(odds) - 1) if len(odds) > 1 else 1.0 for r in expected]
    assert global_quality(odds).tolist() == pytest.approx(quality)


@given(log_odds(), st.permutations(range(6)))
def test_ranks_do_not_depend_on_the_order(odds: np.ndarray, shuffle: list[int]) -> None:
    order = [i for i in shuffle if i < len(odds)]
    assert (ranks(odds[np.ix_(order, order)]) == ranks(odds)[order]).all()


def matrix(size: int, wins: dict[tuple[int, int], float]) -> np.ndarray:
    odds = np.zeros((size, size))
    for (i, j), value in wins.items():
        odds[i, j], odds[j, i] = value, -value
    return odds


def test_a_cycle_stays_below_the_one_that_beats_it() -> None:
    # 0 beats all; 1 > 2 > 3 > 1 is a cycle, in which 2 wins clearest.
    odds = matrix(4, {(0, 1): 1, (0, 2): 1, (0, 3): 1, (1, 2): 0.5, (2, 3): 2.0, (3, 1): 0.75})
    assert borda_counts(odds).tolist() == [3, 2, 2, 2]
    # within the cycle 1: 0.5 - 0.75, 2: 2 - 0.5, 3: 0.75 - 2
    assert ranks(odds).tolist() == [1, 3, 2, 4]
    assert global_quality(odds).tolist() == pytest.approx([1, 1 / 3, 2 / 3, 0])


def test_more_wins_rank_higher_and_equals_share_a_rank() -> None:
    odds = matrix(3, {(0, 1): -1, (0, 2): 0.0, (1, 2): 1})
    assert borda_counts(odds).tolist() == [1, 2, 1]
    assert ranks(odds).tolist() == [2, 1, 2]
    assert global_quality(np.zeros((1, 1))).tolist() == [1.0]


@given(shapes(), st.data(), st.sampled_from([0.0, 0.25, 1.0]))
def test_local_and_blended_quality_by_brute_force(
    parents: list[int], data: st.DataObject, alpha: float
) -> None:
    size = len(parents)
    odds = matrix(
        size,
        {(i, j): data.draw(st.floats(-4, 4)) for i in range(size) for j in range(i)},
    )
    neighbours = tree_neighbours(np.array(parents))
    local = []
    for i in range(size):
        near = [j for j in range(size) if parents[i] == j or parents[j] == i]
        chances = [math.exp(odds[i, j]) / (1 + math.exp(odds[i, j])) for j in near]
        local.append(sum(chances) / len(near) if near else 0.5)
        assert neighbours[i].nonzero()[0].tolist() == near
    assert local_quality(odds, neighbours).tolist() == pytest.approx(local)
    whole = global_quality(odds)
    expected = [alpha * whole[i] + (1 - alpha) * local[i] for i in range(size)]
    assert blended_quality(odds, neighbours, alpha).tolist() == pytest.approx(expected)


def carried(node: int, parents: list[int], values: list[float], leaf: int, gamma: float):
    """What a node is worth after the backup of a leaf, from the definition, top down."""
    below = leaf  # the child of `node` on the way, if the leaf is below
    while parents[below] not in (node, -1):
        below = parents[below]
    if node == leaf or parents[below] != node:
        return values[node]
    return (1 - gamma) * values[node] + gamma * carried(below, parents, values, leaf, gamma)


@given(shapes(), st.data())
def test_backups_by_their_definitions(parents: list[int], data: st.DataObject) -> None:
    values = [data.draw(st.floats(0, 1)) for _ in parents]
    leaf = data.draw(st.integers(0, len(parents) - 1))
    gamma = data.draw(st.floats(0, 1))
    size = range(len(parents))
    before = np.array(values)
    berry = [carried(i, parents, values, leaf, gamma) for i in size]
    assert berry_back_up(before, parents, leaf, gamma).tolist() == pytest.approx(berry)
    assert before.tolist() == values


def test_backups_by_hand() -> None:
    # 0 - 1 - 2 and 0 - 3; the leaf is 2.
    values, parents = np.array([0.2, 0.4, 0.8, 0.9]), [-1, 0, 1, 0]
    # 1: 0.3 * 0.4 + 0.7 * 0.8 = 0.68; 0: 0.3 * 0.2 + 0.7 * 0.68
    assert berry_back_up(values, parents, 2, 0.7).tolist() == pytest.approx([0.536, 0.68, 0.8, 0.9])
    assert ancestors(parents, 2) == [1, 0]


def test_bounds_by_hand() -> None:
    assert uct(0.5, 4, 9, 2.0) == pytest.approx(0.5 + 2 * math.sqrt(math.log(9) / 4))
    assert uct(0.0, 0, 3) == math.inf


@pytest.mark.parametrize(
    ("children", "expected"),
    [([], False), ([0.9, 0.9], False), ([0.1, 0.2, 0.4], False), ([0.1, 0.2, 0.5], True)],
)
def test_a_solution_closes_with_three_children_of_which_one_is_as_good(
    children: list[float], expected: bool
) -> None:
    assert closed(0.5, children) is expected
