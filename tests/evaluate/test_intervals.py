"""Intervals, pass@k and areas under curves against known values and enumeration."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.evaluate.intervals import (
    auc,
    auc_within,
    mean_interval,
    paired_difference,
    pass_at_k,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Newcombe 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_against_published_intervals(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson_interval(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


@given(st.integers(1, 500), st.data())
def test_wilson_bounds_solve_the_score_equation(trials: int, data: st.DataObject) -> None:
    share = data.draw(st.integers(0, trials)) / trials
    for bound in wilson_interval(share * trials, trials):
        error = (share - bound) ** 2 - 1.959964**2 * bound * (1 - bound) / trials
        assert error == pytest.approx(0.0, abs=1e-6)


def test_intervals_without_data() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert mean_interval([1.0]) == (0.0, 1.0)


def test_mean_interval_by_hand() -> None:
    # mean 0.5, s = 1 / sqrt(3) with n - 1, n = 4
    spread = 1.959964 * math.sqrt(1 / 3) / 2
    assert mean_interval([0, 1, 0, 1]) == pytest.approx((0.0, 1.0))
    assert mean_interval([0, 1] * 50)[0] == pytest.approx(0.5 - 1.959964 * math.sqrt(25 / 99) / 10)
    assert 0.5 - spread < 0  # so that the bound above is a cut one


@given(
    st.integers(1, 3).flatmap(
        lambda seeds: st.lists(
            st.lists(st.tuples(st.booleans(), st.booleans()), min_size=seeds, max_size=seeds),
            min_size=1,
            max_size=40,
        )
    )
)
def test_paired_difference_equals_the_mean_of_weighted_items(
    items: list[list[tuple[bool, bool]]],
) -> None:
    # Two items more, 0 and half of 1 and of -1; then the normal interval of the mean difference.
    gaps = [np.mean([float(a) - float(b) for a, b in item]) for item in items]
    weights = np.array([1.0] * len(gaps) + [1.0, 0.5, 0.5])
    mean = np.average([*gaps, 0, 1, -1], weights=weights)
    variance = np.average((np.array([*gaps, 0, 1, -1]) - mean) ** 2, weights=weights)
    spread = 1.959964 * math.sqrt(variance / weights.sum())
    first, second = (
        [[pair[side] for pair in row] for row in zip(*items, strict=True)] for side in (0, 1)
    )
    row = paired_difference(first, second)
    assert row["ci95"] == pytest.approx(
        [max(-1.0, mean - spread), min(1.0, mean + spread)], abs=1e-6
    )
    assert row["difference"] == pytest.approx(np.mean(first) - np.mean(second))
    assert row["ci95"][0] <= row["difference"] <= row["ci95"][1]
    assert row["n"] == len(items)
    assert paired_difference(first[0], second[0]) == paired_difference(first[:1], second[:1])


@pytest.mark.parametrize(
    ("gains", "losses"), [(0.1, 0.1), (0.3, 0.1), (0.05, 0.01), (0.5, 0.3), (0.02, 0.2)]
)
def test_paired_difference_covers_as_often_as_it_says(gains: float, losses: float) -> None:
    # Every outcome of 40 problems, with its multinomial probability.
    n, covered = 40, 0.0
    for won in range(n + 1):
        for lost in range(n + 1 - won):
            ways = math.comb(n, won) * math.comb(n - won, lost)
            chance = ways * gains**won * losses**lost * (1 - gains - losses) ** (n - won - lost)
            first = [True] * won + [False] * (n - won)
            second = [False] * won + [True] * lost + [False] * (n - won - lost)
            low, high = paired_difference(first, second)["ci95"]
            covered += chance * (low <= gains - losses <= high)
    assert 0.94 < covered < 0.999


@pytest.mark.parametrize("samples", range(1, 8))
def test_pass_at_k_equals_enumeration(samples: int) -> None:
    for correct in range(samples + 1):
        labels = [i < correct for i in range(samples)]
        for k in range(1, samples + 1):
            draws = [any(draw) for draw in combinations(labels, k)]
            assert pass_at_k(samples, correct, k) == pytest.approx(sum(draws) / len(draws))


@pytest.mark.parametrize("k", [0, 5])
def test_pass_at_k_refuses_what_it_cannot_estimate(k: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k}"):
        pass_at_k(4, 1, k)


def by_pairs(scores: list[float], labels: list[bool]) -> float | None:
    wins = [
        1.0 if right > wrong else 0.5 if right == wrong else 0.0
        for right, is_right in zip(scores, labels, strict=True)
        if is_right
        for wrong, is_wrong in zip(scores, labels, strict=True)
        if not is_wrong
    ]
    return sum(wins) / len(wins) if wins else None


ROWS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.booleans()), min_size=1)


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_auc_equals_pair_counting(rows: list[list[tuple[float, bool]]]) -> None:
    scores = [[score for score, _ in row] for row in rows]
    labels = [[label for _, label in row] for row in rows]
    areas = [by_pairs(s, truth) for s, truth in zip(scores, labels, strict=True)]
    for s, truth, area in zip(scores, labels, areas, strict=True):
        assert auc(np.array(s), np.array(truth, float)) == pytest.approx(area)
    known = [area for area in areas if area is not None]
    assert auc_within(scores, labels) == pytest.approx(np.mean(known) if known else None)
