"""Ratios of costs, and their bootstrap, where the answer is known."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.compare.curves import NEVER, WAYS, Curve
from llamao1_cli.compare.ratios import (
    Curves,
    costs_above,
    equal_weights,
    levels,
    log_ratios,
    ratios,
    resampled,
)


def steady(slowness: float, problems: int = 10) -> Curve:
    """From 0 to 1 at a cost of 10 times `slowness`; all problems are right to the same part, so
    that nothing depends on which are drawn."""
    shares = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0])
    costs = slowness * 2.5 * np.arange(8)
    return Curve({"tokens": costs, "seconds": 3 * costs}, np.tile(shares[:, None], (1, problems)))


def seeds_with(ratios: list[float]) -> dict[int, Curves]:
    return {
        seed: {"base": steady(2.0), "fast": steady(2.0 * ratio)}
        for seed, ratio in enumerate(ratios)
    }


def test_without_other_draws_the_interval_is_the_ratio() -> None:
    result = ratios(seeds_with([0.5]), "base")["fast"]
    for cost, way in itertools.product(("tokens", "seconds"), WAYS):
        row = result[cost][way]
        assert row["ratio"] == pytest.approx(0.5)
        assert row["ci95"] == pytest.approx([0.5, 0.5])
        assert (row["never"], row["baseline_never"]) == (0, 0)
    assert ratios(seeds_with([0.5]), "base")["base"]["tokens"]["3/4"]["ratio"] == 1.0


def test_the_interval_over_seeds_is_that_of_all_draws() -> None:
    each = [0.3, 0.5, 0.6, 0.9, 1.4]
    row = ratios(seeds_with(each), "base")["fast"]["tokens"]["3/4"]
    assert row["ratio"] == pytest.approx(math.prod(each) ** (1 / 5))
    draws = [np.mean(draw) for draw in itertools.product(np.log(each), repeat=5)]
    expected = np.exp(np.percentile(draws, [2.5, 97.5]))
    assert row["ci95"] == pytest.approx(expected, rel=0.05)
    drawn = resampled(seeds_with(each), "base", 20_000)["tokens", "fast"][:, 0]
    assert drawn.mean() == pytest.approx(np.mean(draws), abs=0.01)
    assert drawn.std() == pytest.approx(np.std(draws), rel=0.02)


def test_the_interval_over_problems_is_that_of_the_delta_method() -> None:
    """Two curves go straight from 0 to 1, the second through its own share q at half the cost.

    With 2 points after the start the end is their mean. Only the share q of n problems varies, as
    a binomial: sd of log cost = sd(q) times the derivative.
    """
    problems, solved = 400, 240
    first = np.zeros(problems)
    half = (np.arange(problems) < solved).astype(float)
    costs = {"tokens": np.array([0.0, 10.0, 20.0, 30.0, 40.0])}
    costs["seconds"] = costs["tokens"]
    one = np.ones(problems)
    base = Curve(costs, np.stack([first, 0 * one, one, one, one]))
    fast = Curve(costs, np.stack([first, half, one, one, one]))
    drawn = resampled({0: {"base": base, "fast": fast}}, "base", 4000)["tokens", "fast"][:, 0]
    # The height is 1/2: the baseline stays above it from 15 on, the other from 10 / (2 q) on.
    share = solved / problems
    assert drawn.mean() == pytest.approx(math.log(10 / (2 * share) / 15), abs=0.005)
    spread = math.sqrt(share * (1 - share) / problems) / share
    assert drawn.std() == pytest.approx(spread, rel=0.05)


def test_a_height_that_is_never_met_counts_as_the_whole_run() -> None:
    low = Curve(steady(1.0).costs, 0.4 * steady(1.0).right)
    seeds = {0: {"base": steady(1.0), "low": low}, 1: {"base": low, "low": low}}
    seeds[1]["high"] = seeds[0]["high"] = steady(2.0)
    above = costs_above(seeds[0], equal_weights(seeds[0]))
    assert above["tokens", "low"].tolist() == [[NEVER] * 3]
    result = ratios(seeds, "base")
    row = result["low"]["tokens"]["1/2"]
    assert row["ratio"] == pytest.approx(math.sqrt(17.5 / 5.0 * 1.0))
    assert (row["never"], row["baseline_never"]) == (2, 1)
    row = result["high"]["tokens"]["1/2"]
    assert row["ratio"] == pytest.approx(math.sqrt(10 / 5 * 10 / 17.5))
    assert (row["never"], row["baseline_never"]) == (0, 1)


def test_where_nothing_is_gained_nothing_is_met() -> None:
    flat = Curve(steady(1.0).costs, np.full((8, 10), 0.5))
    curves = {"base": flat, "other": Curve(steady(1.0).costs, 0.5 - 0.1 * steady(1.0).right)}
    assert np.isinf(levels(curves, equal_weights(curves))).all()
    row = ratios({0: curves}, "base")["other"]["tokens"]["3/4"]
    assert (row["ratio"], row["never"], row["baseline_never"]) == (1.0, 1, 1)


@given(st.integers(0, 2**32 - 1))
def test_weights_count_problems_as_a_sample_of_them_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    problems, points = 7, (4, 6)
    start = rng.integers(0, 2, problems)
    curves = {}
    for name, count in zip(("base", "other"), points, strict=True):
        costs = np.concatenate([[0.0], np.cumsum(rng.uniform(1, 5, count - 1))])
        right = np.vstack([start, rng.integers(0, 2, (count - 1, problems))])
        curves[name] = Curve({"tokens": costs, "seconds": 2 * costs}, right.astype(float))
    drawn = rng.integers(0, problems, (3, problems))
    weights = np.stack([np.bincount(row, minlength=problems) for row in drawn]) / problems
    found = log_ratios(curves, "base", weights)
    for index, row in enumerate(drawn):
        sample = {name: Curve(own.costs, own.right[:, row]) for name, own in curves.items()}
        expected = log_ratios(sample, "base", equal_weights(sample))
        for key, logs in expected.items():
            np.testing.assert_allclose(found[key][index], logs[0], atol=1e-6)


def test_two_thousand_draws_take_seconds() -> None:
    rng = np.random.default_rng(0)
    costs = {cost: np.arange(14.0) for cost in ("tokens", "seconds")}
    seeds = {
        seed: {
            name: Curve(costs, (rng.random((14, 500)) < np.linspace(0.2, 0.7, 14)[:, None]) * 1.0)
            for name in ("base", "a", "b", "c", "d")
        }
        for seed in range(5)
    }
    begin = time.perf_counter()
    result = ratios(seeds, "base")
    assert time.perf_counter() - begin < 20
    low, high = result["a"]["tokens"]["1/2"]["ci95"]
    assert low < result["a"]["tokens"]["1/2"]["ratio"] < high
