"""The two selection rules against hand-worked numbers and a plain re-implementation."""

import math

import numpy as np
import pytest
from fake_engine import random_tree
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.rules.mcts import Mcts, back_up, root_noise
from llamao1_cli.search.rules.selection import alphazero_scores, reference_scores, shares
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import Problem


def reference_by_hand(tree: Tree, node: Node, c: float, weight: float) -> list[float]:
    """Q + c P sqrt(sum N) / (1 + N) + lambda V / sum V, one child at a time."""
    children = [tree.nodes[i] for i in node.children]
    chances = [math.exp(np.mean(child.thought.logprobs)) for child in children]
    spreads = [float(np.mean(child.thought.varentropy)) for child in children]
    total = sum(child.visits for child in children)
    scores = []
    for child, chance, spread in zip(children, chances, spreads, strict=True):
        explore = c * chance / sum(chances) * math.sqrt(total) / (1 + child.visits)
        scores.append(child.value_sum / child.visits + explore + weight * spread / sum(spreads))
    return scores


def alphazero_by_hand(tree: Tree, node: Node) -> list[float]:
    """mctx: min-max normalised Q + sqrt(N) P [1.25 + ln((N + 19653) / 19652)] / (1 + n)."""
    children = [tree.nodes[i] for i in node.children]
    chances = [math.exp(np.mean(child.thought.logprobs)) for child in children]
    quality = [child.value_sum / child.visits for child in children]
    low = min([node.value, *quality])
    high = max([node.value, *quality])
    visits = sum(child.visits for child in children) + 1
    rate = math.sqrt(visits) * (1.25 + math.log((visits + 19652 + 1) / 19652))
    return [
        (q - low) / (high - low) + rate * chance / sum(chances) / (child.visits + 1)
        for child, q, chance in zip(children, quality, chances, strict=True)
    ]


def test_reference_rule_by_hand() -> None:
    scores = reference_scores(
        np.array([0.5, 0.25, 0.0]),
        np.array([3, 1, 0]),
        np.array([0.5, 0.3, 0.2]),
        np.array([1.0, 3.0, 4.0]),
        exploration=2.0,
        varentropy_weight=0.8,
    )
    # sqrt(4) = 2: 0.5 + 2 * 0.5 * 2 / 4 + 0.8 / 8, ...
    assert scores.tolist() == pytest.approx([1.1, 0.25 + 0.6 + 0.3, 0.0 + 0.8 + 0.4])


def test_alphazero_rule_by_hand() -> None:
    scores = alphazero_scores(
        np.array([0.75, 0.25, 0.9]), np.array([2, 1, 0]), np.array([0.2, 0.3, 0.5]), 0.35
    )
    rate = 2 * (1.25 + math.log(19657 / 19652))  # N_parent = 1 + 3
    expected = [1.0 + 0.2 * rate / 3, 0.0 + 0.3 * rate / 2, 0.0 + 0.5 * rate]
    assert scores.tolist() == pytest.approx(expected)


def test_alphazero_prior_acts_before_any_visit_and_equal_values_do_not_divide_by_zero() -> None:
    scores = alphazero_scores(np.array([0.5, 0.5]), np.zeros(2, int), np.array([0.1, 0.9]), 0.5)
    assert np.isfinite(scores).all()
    assert scores[1] == pytest.approx(9 * scores[0])


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=6))
def test_shares_sum_to_one(amounts: list[float]) -> None:
    assert shares(np.array(amounts)).sum() == pytest.approx(1.0)


def test_nothing_to_share_is_shared_evenly() -> None:
    assert shares(np.zeros(4)).tolist() == [0.25] * 4


def test_prior_is_normalised_from_log_probs() -> None:
    # exp(mean) of the log-probs, 0.9 and 0.3; a softmax of these numbers would give 0.65.
    tree = _two_children([math.log(0.9)] * 3, [math.log(0.45), math.log(0.2)])
    assert [child.likelihood for child in tree.children(tree.root)] == pytest.approx([0.9, 0.3])
    scores = Mcts(SearchConfig(exploration=1.0, varentropy_weight=0.0))._scores(
        tree, tree.root, np.random.default_rng(0)
    )
    assert scores.tolist() == pytest.approx([0.75 * math.sqrt(2) / 2, 0.25 * math.sqrt(2) / 2])


@pytest.mark.parametrize("rule", ["reference", "alphazero"])
def test_pick_descends_to_the_best_child_as_recomputed(language: MarkedLanguage, rule: str) -> None:
    config = SearchConfig(
        max_children=2, max_depth=9, selection=rule, exploration=0.7, varentropy_weight=0.4
    )
    depths = set()
    for seed in range(60):
        tree = _visited_tree(language, seed)
        node = tree.root
        while len(node.children) >= 2:
            scores = (
                reference_by_hand(tree, node, 0.7, 0.4)
                if rule == "reference"
                else alphazero_by_hand(tree, node)
            )
            node = tree.nodes[node.children[scores.index(max(scores))]]
        if not node.terminal:
            assert Mcts(config).pick([tree]) == [Pick(tree, node, min(2, 2 - len(node.children)))]
            depths.add(node.depth)
    assert len(depths) >= 3


def test_noise_multiplies_within_its_range(language: MarkedLanguage) -> None:
    tree = _visited_tree(language, 1)
    plain = Mcts(SearchConfig())._scores(tree, tree.root, np.random.default_rng(0))
    mcts = Mcts(SearchConfig(selection_noise=0.2))
    rng = np.random.default_rng(0)
    ratios = np.array([mcts._scores(tree, tree.root, rng) / plain for _ in range(200)])
    assert 0.8 <= ratios.min() < 0.85
    assert 1.15 < ratios.max() <= 1.2


def test_noise_is_the_trees_own_and_new_in_each_simulation(language: MarkedLanguage) -> None:
    mcts = Mcts(SearchConfig(selection_noise=1.0, max_children=2, simulations=99))
    picked = []
    for seed, simulation in [
        (0, 0),
        (0, 0),
        *[(s, 0) for s in range(9)],
        *[(0, n) for n in range(9)],
    ]:
        tree = _visited_tree(language, 1)
        tree.seed, tree.simulations = seed, simulation
        picked.append(mcts.pick([tree])[0].node.id)
    assert picked[0] == picked[1]
    assert len(set(picked[2:11])) > 1
    assert len(set(picked[11:])) > 1


def test_root_noise_mixes_into_the_prior_of_the_root_alone(language: MarkedLanguage) -> None:
    tree = _visited_tree(language, 4)
    noisy = Mcts(SearchConfig(selection="alphazero", root_noise=0.25))
    inner = next(node for node in tree.nodes[1:] if len(node.children) > 1)
    rng = np.random.default_rng(0)
    assert noisy._scores(tree, inner, rng).tolist() == pytest.approx(alphazero_by_hand(tree, inner))
    draws = []
    for seed in range(2000):
        tree.seed = seed
        draws.append(noisy._scores(tree, tree.root, rng))
        # One search keeps its noise, and a child that comes later leaves the others' shares alone.
        assert np.array_equal(draws[-1], noisy._scores(tree, tree.root, rng))
    fewer, more = root_noise(7, 9, 3), root_noise(7, 9, 8)
    assert (more[:3] / more[:3].sum()).tolist() == pytest.approx(fewer.tolist())
    draws = np.array(draws)
    assert draws.std(axis=0).min() > 0
    children = tree.children(tree.root)
    visits = np.array([child.visits for child in children])
    n = 1 + visits.sum()
    rate = math.sqrt(n) * (1.25 + math.log((n + 19653) / 19652)) / (1 + visits)
    plain = np.array(alphazero_by_hand(tree, tree.root))
    prior = shares(np.array([child.likelihood for child in children]))
    mixed = plain + rate * 0.25 * (1 / len(children) - prior)  # the noise is even on average
    assert draws.mean(axis=0).tolist() == pytest.approx(mixed.tolist(), abs=0.05)


def _two_children(*logprobs: list[float]) -> Tree:
    tree = Tree.plant(Problem("p", "How many?", "7"), 0, 0.5)
    for figures in logprobs:
        tree.attach(tree.root, [Thought(None, "a step", logprobs=figures, varentropy=figures)])
    for child in tree.children(tree.root):
        back_up(tree, child, 0.0, 1.0)
    return tree


def _visited_tree(language: MarkedLanguage, seed: int) -> Tree:
    """A tree of two children a node, visited as a search would: every node, some again."""
    rng = np.random.default_rng(seed)
    tree = random_tree(language, seed, 24)
    for node in tree.nodes:
        node.visits, node.value_sum = 0, 0.0
        node.children = node.children[:2] if node.id else node.children
    reachable = [tree.root]
    for node in reachable:
        reachable += tree.children(node)
    for node in reachable[1:]:
        for _ in range(rng.integers(1, 4)):
            back_up(tree, node, float(rng.random()), 0.9)
    return tree
