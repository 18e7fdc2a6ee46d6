"""How well values foretell outcomes: bins, calibration error and steps against plain loops."""

import math

import numpy as np
import pytest
from fake_engine import random_tree
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.evaluate.calibration import BINS, calibration_error, reliability, step_quality
from llamao1_cli.language.marked_language import MarkedLanguage

ITEMS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


@given(items=ITEMS)
def test_bins_and_calibration_error_equal_a_plain_loop(items: list[tuple[float, bool]]) -> None:
    values, truth = (np.array(column, float) for column in zip(*items, strict=True))
    bins = reliability(values, truth)
    expected, error = [], 0.0
    for number in range(BINS):
        low, high = number / 10, (number + 1) / 10
        inside = [
            (value, right)
            for value, right in items
            if math.floor(value * 10) == number or (number == 9 and value == 1.0)
        ]
        if inside:
            mean = sum(value for value, _ in inside) / len(inside)
            share = sum(right for _, right in inside) / len(inside)
            expected.append((low, high, len(inside), mean, share))
            error += len(inside) / len(items) * abs(mean - share)
    assert [(row["low"], row["high"], row["n"]) for row in bins] == [e[:3] for e in expected]
    assert [(row["value"], row["right"]) for row in bins] == [
        pytest.approx(each[3:]) for each in expected
    ]
    assert calibration_error(bins) == pytest.approx(error)


def test_a_calibrated_judge_has_no_error_and_a_sure_wrong_one_has_all() -> None:
    values = np.array([0.25] * 4 + [0.75] * 4)
    truth = np.array([1, 0, 0, 0, 1, 1, 1, 0], float)
    assert calibration_error(reliability(values, truth)) == pytest.approx(0.0)
    assert calibration_error(reliability(np.ones(5), np.zeros(5))) == 1.0
    assert reliability(np.ones(5), np.zeros(5))[0]["low"] == 0.9
    assert calibration_error([]) is None


@given(seed=st.integers(0, 50))
def test_every_thought_is_held_to_the_outcomes_of_its_samples(
    language: MarkedLanguage, seed: int
) -> None:
    trees = [random_tree(language, seed + offset) for offset in (0, 100)]
    outcomes = [[leaf.outcome is True for leaf in tree.leaf_nodes()] for tree in trees]
    quality = step_quality(trees, outcomes, lambda node: node.value)
    pairs = []
    for tree in trees:
        for leaf in tree.nodes:
            node = leaf
            while not leaf.children and node.parent is not None:
                pairs.append((node.value, leaf.outcome is True))
                node = tree.nodes[node.parent]
    assert quality["n"] == len(pairs)
    assert quality["brier"] == pytest.approx(sum((v - r) ** 2 for v, r in pairs) / len(pairs))
    won = [(a > b) + (a == b) / 2 for a, right in pairs if right for b, wrong in pairs if not wrong]
    assert quality["auc"] == (pytest.approx(sum(won) / len(won)) if won else None)
    values, truth = zip(*pairs, strict=True)
    bins = reliability(np.array(values), np.array(truth, float))
    assert quality["ece"] == pytest.approx(calibration_error(bins))
