"""Figures of curves, by hand and against slow computations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.compare.curves import (
    NEVER,
    area,
    best_rate,
    end,
    heights,
    mean_curve,
    stays_above,
)

SHARES = st.integers(0, 20).map(lambda count: count / 20)


@st.composite
def curves(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Costs that begin at 0 and grow, and accuracies."""
    steps = draw(st.lists(st.floats(0.1, 50), min_size=1, max_size=8))
    shares = draw(st.lists(SHARES, min_size=len(steps) + 1, max_size=len(steps) + 1))
    return np.cumsum([0.0, *steps]), np.array(shares)


def one(costs: list[float], shares: list[float], *levels: float) -> list[float]:
    return stays_above(np.array(costs), np.array(shares), np.array(levels)).tolist()


def test_where_a_curve_stays_above_a_height() -> None:
    costs, rising = [0.0, 10.0, 20.0, 40.0], [0.2, 0.4, 0.6, 0.7]
    assert one(costs, rising, 0.5, 0.65, 0.4) == pytest.approx([15.0, 30.0, 10.0])
    assert one(costs, rising, 0.7, 0.71) == pytest.approx([40.0, NEVER])
    assert one(costs, rising, 0.1, 0.2, math.inf) == [0.0, 0.0, NEVER]
    dips = [0.2, 0.6, 0.3, 0.9]  # above 0.5 at 7.5 already, but not to stay
    assert one(costs, dips, 0.5, 0.75) == pytest.approx([20 + 20 / 3, 35.0])
    assert one(costs, [0.2, 0.6, 0.8, 0.4], 0.5, 0.4) == pytest.approx([NEVER, 5.0])
    assert one([0.0], [0.3], 0.2, 0.4) == [0.0, NEVER]


def slowly(costs: np.ndarray, shares: np.ndarray, level: float) -> float:
    """Where a curve stays above a height, walked from its end."""
    if shares[-1] < level:
        return NEVER
    for index in range(len(costs) - 2, -1, -1):
        if shares[index] < level:
            part = (level - shares[index]) / (shares[index + 1] - shares[index])
            return float(costs[index] + part * (costs[index + 1] - costs[index]))
    return float(costs[0])


@given(curves(), st.lists(SHARES, min_size=1, max_size=3))
def test_costs_above_heights_are_those_of_a_walk(
    curve: tuple[np.ndarray, np.ndarray], levels: list[float]
) -> None:
    costs, shares = curve
    found = one(costs.tolist(), shares.tolist(), *levels)
    assert found == pytest.approx([slowly(costs, shares, level) for level in levels])
    for cost, level in zip(found, levels, strict=True):
        if cost == NEVER:
            assert shares[-1] < level
        else:
            later = np.linspace(cost, costs[-1], 50)
            assert np.interp(later, costs, shares).min() >= level - 1e-6


@given(st.lists(curves(), min_size=2, max_size=3), st.data())
def test_many_curves_at_once_are_each_of_them(
    each: list[tuple[np.ndarray, np.ndarray]], data: st.DataObject
) -> None:
    shortest = min(len(costs) for costs, _ in each)
    costs, shares = each[0][0][:shortest], np.stack([own[:shortest] for _, own in each])
    levels = np.array(
        data.draw(st.lists(st.lists(SHARES, min_size=2, max_size=2), min_size=len(each)))
    )[: len(each)]
    expected = [stays_above(costs, own, level) for own, level in zip(shares, levels, strict=True)]
    np.testing.assert_allclose(stays_above(costs, shares, levels), expected)


def test_the_end_is_the_mean_of_the_last_three_points_after_the_start() -> None:
    assert end(np.array([0.1, 0.9, 0.5, 0.6, 0.7])) == pytest.approx(0.6)
    assert end(np.array([0.1, 0.5, 0.7])) == pytest.approx(0.6)
    assert end(np.array([0.1])) == pytest.approx(0.1)
    assert end(np.array([[0.0, 0.2, 0.4], [1.0, 0.6, 0.4]])) == pytest.approx([0.3, 0.5])


def test_areas_by_hand() -> None:
    costs, shares = np.array([0.0, 10.0, 30.0]), np.array([0.2, 0.6, 0.8])
    assert area(costs, shares, 30.0) == pytest.approx((10 * 0.4 + 20 * 0.7) / 30)
    assert area(costs, shares, 20.0) == pytest.approx((10 * 0.4 + 10 * 0.65) / 20)  # cut
    assert area(costs, shares, 40.0) == pytest.approx((4 + 14 + 10 * 0.8) / 40)  # goes on
    assert area(costs, shares, 10.0) == pytest.approx(0.4)


@given(curves(), st.floats(1.0, 200.0))
def test_an_area_is_the_mean_height(curve: tuple[np.ndarray, np.ndarray], budget: float) -> None:
    middles = (np.arange(20000) + 0.5) / 20000 * budget
    assert area(*curve, budget) == pytest.approx(np.interp(middles, *curve).mean(), abs=1e-3)


def test_heights_lie_between_the_start_and_the_best_end() -> None:
    found = heights(np.array([0.2, 0.5, 0.5]), np.array([0.6, 0.5, 0.4]))
    assert found[0] == pytest.approx([0.4, 0.5, 0.56])
    assert np.isinf(found[1:]).all()  # nothing was gained


def test_the_best_rate_has_the_largest_area_of_those_that_end_near_the_best() -> None:
    areas = {1e-4: 0.50, 2e-4: 0.55, 4e-4: 0.60}
    assert best_rate(areas, {1e-4: 0.66, 2e-4: 0.64, 4e-4: 0.639}) == 2e-4
    assert best_rate(areas, {1e-4: 0.66, 2e-4: 0.63, 4e-4: 0.50}) == 1e-4
    assert best_rate(areas, {1e-4: 0.60, 2e-4: 0.60, 4e-4: 0.60}) == 4e-4
    assert best_rate({1e-4: 0.5, 2e-4: 0.5}, {1e-4: 0.6, 2e-4: 0.6}) == 1e-4


def test_curves_of_seeds_are_compared_where_any_has_a_point() -> None:
    grid, shares = mean_curve(
        [([0.0, 2.0, 5.0], [0.2, 0.4, 0.7]), ([0.0, 3.0, 4.0], [0, 0.3, 0.5])]
    )
    assert grid.tolist() == [0.0, 2.0, 3.0, 4.0]
    assert shares == pytest.approx(np.array([[0.2, 0.4, 0.5, 0.6], [0.0, 0.2, 0.3, 0.5]]))
