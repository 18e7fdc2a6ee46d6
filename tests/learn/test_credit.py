"""Credit against plain recursions, loops over leaves and examples worked by hand."""

import math

import numpy as np
import pytest
from fake_engine import chain_tree, random_tree, shaped_tree
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import LearnConfig
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.learn.algorithms import configured_algorithm
from llamao1_cli.learn.algorithms.expert_iteration import right_paths
from llamao1_cli.learn.algorithms.grpo import group_gain
from llamao1_cli.learn.algorithms.k15 import centred_rewards
from llamao1_cli.learn.algorithms.rlsp import gae, group_quality, quality_gain
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Node, Tree


def by_recursion(tree: Tree, node: Node, discount: float, lam: float) -> float:
    before = tree.nodes[node.parent].value
    if node.answer is not None:
        delta = (1.0 if node.outcome else 0.0) - before
    else:
        delta = discount * node.value - before
    below = [n for n in tree.nodes if n.parent == node.id]
    later = [by_recursion(tree, n, discount, lam) for n in below]
    return delta + (discount * lam * sum(later) / len(later) if later else 0.0)


@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 20),
    discount=st.floats(0, 1),
    lam=st.floats(0, 1),
)
def test_gae_equals_plain_recursion(
    language: MarkedLanguage, seed: int, size: int, discount: float, lam: float
) -> None:
    tree = random_tree(language, seed, size)
    expected = [0.0] + [by_recursion(tree, node, discount, lam) for node in tree.nodes[1:]]
    assert gae(tree, discount, lam).tolist() == pytest.approx(expected)


@given(
    values=st.lists(st.floats(0, 1), min_size=2, max_size=8),
    outcome=st.sampled_from([True, False, None]),
    discount=st.floats(0, 1),
    lam=st.floats(0, 1),
)
def test_gae_on_a_chain_is_the_textbooks_sum(
    values: list[float], outcome: bool | None, discount: float, lam: float
) -> None:
    tree = chain_tree(values, outcome)
    steps = len(values) - 1
    rewards, ahead = [0.0] * steps, values[1:]
    if outcome is not None:
        rewards[-1], ahead = float(outcome), [*values[1:-1], 0.0]
    deltas = [rewards[t] + discount * ahead[t] - values[t] for t in range(steps)]
    expected = [
        sum((discount * lam) ** (k - t) * deltas[k] for k in range(t, steps)) for t in range(steps)
    ]
    assert gae(tree, discount, lam)[1:].tolist() == pytest.approx(expected)


def test_gae_by_hand() -> None:
    # The first thought has credit too, and credit flows from the end to the beginning.
    tree = chain_tree([0.5, 0.6, 0.9], True)
    # d2 = 1 - 0.6 = 0.4, d1 = 0.9 * 0.6 - 0.5 = 0.04, A1 = 0.04 + 0.9 * 0.8 * 0.4
    assert gae(tree, 0.9, 0.8).tolist() == pytest.approx([0.0, 0.328, 0.4])
    tree = chain_tree([0.5, 0.6, 0.9], False)
    assert gae(tree, 0.9, 0.8).tolist() == pytest.approx([0.0, -0.392, -0.6])


def test_quality_gains_by_hand() -> None:
    tree = shaped_tree([0, 0, 1, 1, 1, 2, 2], {3: True, 4: False, 5: True, 6: False, 7: False})
    rectify(tree, 1.0, "failure")
    third = 1 / 3  # Q: root 1/3, node 1 2/3, node 2 0
    assert quality_gain(tree, treerl=False).tolist() == pytest.approx(
        [0, third, -third, third, -2 * third, third, 0, 0]
    )
    assert quality_gain(tree, treerl=True).tolist() == pytest.approx(
        [
            0,
            (third + third) * 3**0.5,
            (-third - third) * 2**0.5,
            third + 2 * third,
            -2 * third - third,
            third + 2 * third,
            -third,
            -third,
        ]
    )


def test_group_quality_by_hand() -> None:
    tree = shaped_tree([0, 0, 1, 1, 1, 2, 2], {3: True, 4: False, 5: True, 6: False, 7: False})
    rectify(tree, 1.0, "failure")
    deviation = math.sqrt(0.4 * 0.6) + 1e-4  # of the leaves 1, 0, 1, 0, 0
    quality = [1 / 3, 2 / 3, 0, 1, 0, 1, 0, 0]
    assert group_quality(tree).tolist() == pytest.approx([(q - 1 / 3) / deviation for q in quality])


@given(outcomes=st.lists(st.booleans(), min_size=2, max_size=8), depth=st.integers(1, 3))
def test_of_chains_alone_group_quality_is_grpos_advantage(outcomes: list[bool], depth: int) -> None:
    tree = flat_tree(outcomes, [4] * len(outcomes), depth)
    expected = group_gain(tree, divide=True)
    assert group_quality(tree).tolist() == pytest.approx(expected.tolist())


def flat_tree(outcomes: list[bool], lengths: list[int], depth: int = 2) -> Tree:
    """Chains of `depth` thoughts from the root; chain i has `lengths[i]` tokens in all."""
    count = len(outcomes)
    parents = [
        0 if level == 0 else 1 + i + (level - 1) * count
        for level in range(depth)
        for i in range(count)
    ]
    leaves = {1 + i + (depth - 1) * count: outcome for i, outcome in enumerate(outcomes)}
    tree = shaped_tree(parents, leaves)
    for i, length in enumerate(lengths):
        nodes = [tree.nodes[1 + i + level * count] for level in range(depth)]
        for place, node in enumerate(nodes):
            size = length - 1 if place == 0 else int(place == 1)
            node.thought.ids, node.thought.logprobs = [5 + i] * size, [-1.0] * size
    rectify(tree, 1.0, "failure")
    return tree


@given(seed=st.integers(0, 10**6), size=st.integers(2, 20), divide=st.booleans())
def test_group_gain_is_the_mean_over_the_leaves_below(
    language: MarkedLanguage, seed: int, size: int, divide: bool
) -> None:
    tree = random_tree(language, seed, size)
    rectify(tree, 1.0, "failure")
    leaves = list(tree.leaf_nodes())
    rewards = [leaf.target for leaf in leaves]
    mean = sum(rewards) / len(rewards)
    spread = math.sqrt(sum((r - mean) ** 2 for r in rewards) / len(rewards))
    got = group_gain(tree, divide=divide)
    for node in tree.nodes[1:]:
        below = [leaf.target for leaf in leaves if node in tree.path(leaf)]
        expected = sum(r - mean for r in below) / len(below)
        scale = spread + 1e-4 if divide else 1.0
        assert got[node.id] == pytest.approx(expected / scale, abs=1e-9)
    assert got[0] == 0.0


def test_group_gain_by_hand() -> None:
    tree = flat_tree([True, False, False, False], [4, 4, 4, 4])
    gains = [0.75, -0.25, -0.25, -0.25]
    assert group_gain(tree, divide=False).tolist() == pytest.approx([0.0, *gains, *gains])
    divided = [gain / (math.sqrt(3) / 4 + 1e-4) for gain in gains]
    assert group_gain(tree, divide=True).tolist() == pytest.approx([0.0, *divided, *divided])


def test_centred_rewards_by_hand() -> None:
    tree = flat_tree([True, True, False, False], [4, 8, 6, 2])
    # l = 1/2 - (n - 2) / 6: 1/6, -1/2, -1/6, 1/2; a wrong one's is at most 0.
    rewards = [1 + 0.6 / 6, 1 - 0.3, -0.6 / 6, 0.0]
    mean = sum(rewards) / 4
    expected = [reward - mean for reward in rewards]
    assert centred_rewards(tree, 0.6).tolist() == pytest.approx([0.0, *expected, *expected])


def test_equals_teach_k15_only_by_their_lengths() -> None:
    assert centred_rewards(flat_tree([True, True], [4, 4]), 0.5) is None
    assert centred_rewards(flat_tree([True, True], [4, 6]), 0.0) is None
    assert centred_rewards(flat_tree([True, True], [4, 6]), 0.5).tolist() == pytest.approx(
        [0.0, 0.25, -0.25, 0.25, -0.25]
    )
    # Wrong ones: min(1/2, 0) and min(-1/2, 0), so the longer one is worth less.
    assert centred_rewards(flat_tree([False, False], [4, 6]), 0.5).tolist() == pytest.approx(
        [0.0, 0.125, -0.125, 0.125, -0.125]
    )


def test_k15_refuses_trees_that_branch_and_names_the_key() -> None:
    tree = shaped_tree([0, 1, 1], {2: True, 3: False})
    rectify(tree, 1.0, "failure")
    with pytest.raises(UserError, match=r"search\.forks: 0"):
        centred_rewards(tree, 0.1)


def test_imitation_takes_what_leads_to_a_right_leaf() -> None:
    tree = shaped_tree([0, 0, 1, 1, 2], {3: True, 4: False, 5: False})
    rectify(tree, 1.0, "failure")
    expected = np.array([0.0, 1.0, np.nan, 1.0, np.nan, np.nan])
    assert np.array_equal(right_paths(tree), expected, equal_nan=True)
    tree.nodes[3].earn(0.0)
    assert right_paths(tree) is None


@pytest.mark.parametrize("algorithm", ["rlsp", "grpo", "k15"])
@pytest.mark.parametrize("outcome", [True, False])
def test_trees_of_equals_teach_no_policy(algorithm: str, outcome: bool) -> None:
    tree = flat_tree([outcome] * 3, [4, 4, 4])
    assert configured_algorithm(LearnConfig(algorithm=algorithm)).advantages(tree, 1.0) is None


def test_expert_iteration_learns_where_all_are_right() -> None:
    config = LearnConfig(algorithm="expert_iteration")
    gains = configured_algorithm(config).advantages(flat_tree([True] * 3, [4, 4, 4]), 1.0)
    assert gains.tolist() == [0.0] + [1.0] * 6
    assert configured_algorithm(config).advantages(flat_tree([False] * 3, [4, 4, 4]), 1.0) is None
