"""Sampling without replacement, against the list of all solutions of a small model."""

import math
from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest
from chance_engine import ChanceEngine, Solution
from fake_engine import BY_EQUALITY
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import SearchConfig
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.coverage import covered, duplicate_tokens
from llamao1_cli.search.frontier import NEVER
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.pending import TokenBudget
from llamao1_cli.search.rules.beam import Beam
from llamao1_cli.search.rules.improvement import Improvement
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.search.weights import set_weights
from llamao1_cli.tasks.problem import Problem

PROBLEM = Problem("p", "How many?", "7")
Said = tuple[tuple[int, ...], ...]


def trees_of(
    language: MarkedLanguage, engine: ChanceEngine, seeds: range, **search: object
) -> list[Tree]:
    """A tree a seed, of distinct solutions unless told otherwise."""
    config = SearchConfig(**{"algorithm": "distinct", "max_depth": 2, **search})
    request = SearchRequest([PROBLEM] * len(seeds), config, [*seeds], rewards=BY_EQUALITY)
    return grow(request, engine, language)


def said(tree: Tree, leaf: Node) -> Said:
    """The sampled tokens of a solution."""
    return tuple(tuple(node.thought.ids) for node in tree.path(leaf)[1:])


def in_order(tree: Tree) -> list[Said]:
    """The solutions of a tree in the order of their draws."""
    leaves = sorted(tree.leaf_nodes(), key=lambda leaf: leaf.drawn or math.inf)
    return [said(tree, leaf) for leaf in leaves]


def chi_square(seen: Counter, expected: dict, count: int) -> float:
    """How far counts are from what is expected, in standard deviations of their chi-square."""
    rare = sum(p for p in expected.values() if p * count < 5)
    kept = {key: p for key, p in expected.items() if p * count >= 5}
    table = [(seen[key], p * count) for key, p in kept.items()]
    if rare * count >= 5:
        table.append((count - sum(n for n, _ in table), rare * count))
    statistic = sum((n - e) ** 2 / e for n, e in table)
    return (statistic - (len(table) - 1)) / math.sqrt(2 * (len(table) - 1))


@pytest.mark.parametrize("at_once", [1, 3])
def test_pairs_follow_the_distribution_without_replacement(
    language: MarkedLanguage, at_once: int
) -> None:
    """The first two of each tree: p_i p_j / (1 - p_i), whatever else grows beside them."""
    engine = ChanceEngine(language, seed=4)
    chances = {each.thoughts: each.probability for each in engine.solutions()}
    assert len(chances) == 36
    trees = trees_of(language, engine, range(4000), solutions=2 * at_once, branches_at_once=at_once)
    seen = Counter(tuple(in_order(tree)[:2]) for tree in trees)
    expected = {
        (first, second): p * q / (1 - p)
        for first, p in chances.items()
        for second, q in chances.items()
        if first != second
    }
    assert sum(expected.values()) == pytest.approx(1)
    assert abs(chi_square(seen, expected, len(trees))) < 4


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))
def test_a_tree_ends_with_every_solution_once(
    language: MarkedLanguage, seed: int, width: int, length: int, at_once: int
) -> None:
    engine = ChanceEngine(language, seed=seed, width=width, length=length)
    chances = {each.thoughts: each.probability for each in engine.solutions()}
    search = {"solutions": 10_000, "branches_at_once": at_once}
    (tree,) = trees_of(language, engine, range(seed, seed + 1), **search)
    found = {said(tree, leaf): leaf for leaf in tree.leaf_nodes()}
    assert len(found) == len([*tree.leaf_nodes()])
    # A solution that is all but impossible may be left out.
    assert sum(p for s, p in chances.items() if s not in found) < 1e-4
    assert {s: tree.probability(leaf) for s, leaf in found.items()} == pytest.approx(
        {s: chances[s] for s in found}
    )
    assert tree.clock == NEVER
    assert covered(tree) == pytest.approx(1, abs=1e-4)
    assert tree.root.mass == pytest.approx(1, abs=1e-4)
    assert duplicate_tokens(tree) == 0
    ends = {s[: i + 1] for s in found for i in range(2)}
    steps = {(e[:-1], e[-1][: j + 1]) for e in ends for j in range(len(e[-1]))}
    assert tree.generated_tokens == len(steps)
    right = sum(each.probability for each in engine.solutions() if each.right)
    assert tree.root.target == pytest.approx(right, abs=2e-4)


@pytest.mark.parametrize("weights", ["set", "clock"])
@pytest.mark.parametrize(("count", "at_once"), [(1, 1), (4, 1), (5, 3)])
def test_weights_estimate_without_bias(
    language: MarkedLanguage, count: int, at_once: int, weights: str
) -> None:
    """The sum of w f over a tree has the mean of f, whatever f is."""
    engine = ChanceEngine(language, seed=9)
    solutions = {each.thoughts: each for each in engine.solutions()}
    worth = {s: i % 5 + each.right for i, (s, each) in enumerate(solutions.items())}
    true = sum(each.probability * worth[s] for s, each in solutions.items())
    search = {"solutions": count, "branches_at_once": at_once, "weights": weights}
    trees = trees_of(language, engine, range(3000), **search)
    estimates, totals = [], []
    for tree in trees:
        leaves = [*tree.leaf_nodes()]
        estimates.append(sum((leaf.mass or 0) * worth[said(tree, leaf)] for leaf in leaves))
        totals.append(tree.root.mass)
    for sample, mean in ((estimates, true), (totals, 1.0)):
        error = np.std(sample) / math.sqrt(len(sample))
        assert abs(np.mean(sample) - mean) < 4 * error + 1e-9
    assert weights == "clock" or np.std(totals) < 1e-9


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6), st.integers(1, 4))
def test_set_weights_are_those_of_all_orders(sizes: list[float], count: int) -> None:
    """p R of Kool, van Hoof and Welling (2020): the probability that a draw was the first."""
    chances = [size / sum(sizes) for size in sizes]
    chosen = chances[: min(count, len(chances) - 1)]
    first = dict.fromkeys(range(len(chosen)), 0.0)
    for order in permutations(range(len(chosen))):
        left, together = 1.0, 1.0
        for index in order:
            together *= chosen[index] / left
            left -= chosen[index]
        first[order[0]] += together
    expected = np.array([*first.values()]) / sum(first.values())
    assert set_weights(chosen) == pytest.approx(expected, rel=1e-3)


def test_set_weights_of_everything_are_the_probabilities() -> None:
    assert set_weights([0.5, 0.3, 0.2]) == pytest.approx([0.5, 0.3, 0.2])
    assert set_weights([]).size == 0


def test_weights_of_what_came_too_early_are_zero(language: MarkedLanguage) -> None:
    trees = trees_of(language, ChanceEngine(language), range(40), solutions=8, branches_at_once=4)
    late = [leaf for tree in trees for leaf in tree.leaf_nodes() if leaf.drawn > tree.clock]
    assert late
    assert {leaf.mass for leaf in late} == {0.0}


def test_a_tree_is_the_same_whatever_else_is_in_flight(language: MarkedLanguage) -> None:
    engine = ChanceEngine(language, seed=2, width=3, length=3)
    together = trees_of(language, engine, range(6), solutions=7, branches_at_once=2)
    for seed, tree in enumerate(together):
        (alone,) = trees_of(
            language, engine, range(seed, seed + 1), solutions=7, branches_at_once=2
        )
        assert alone == tree


def test_draws_stop_at_a_mass_or_at_a_number_of_tokens(language: MarkedLanguage) -> None:
    engine = ChanceEngine(language, seed=5, width=3, length=3)
    search = {"solutions": 999, "branches_at_once": 1}
    for tree in trees_of(language, engine, range(20), covered_mass=0.8, **search):
        shares = [tree.probability(leaf) for leaf in tree.leaf_nodes()]
        assert sum(shares[:-1]) < 0.8 <= sum(shares) + 1e-9
    for tree in trees_of(language, engine, range(20), tree_tokens=20, **search):
        sizes = [
            sum(n.thought.generated for n in tree.nodes[: leaf.id + 1])
            for leaf in tree.leaf_nodes()
        ]
        assert 20 <= sizes[-1] == tree.generated_tokens
        assert sizes[-2] < 20


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_a_new_child_is_never_a_copy(language: MarkedLanguage, seed: int, candidates: int) -> None:
    """MCTS whose expansions are drawn without replacement."""
    engine = ChanceEngine(language, seed=seed, width=2, length=3, depth=3)
    search = {"algorithm": "mcts", "replacement": False, "simulations": 12, "max_depth": 3}
    (tree,) = trees_of(
        language, engine, range(seed, seed + 1), candidates=candidates, max_children=6, **search
    )
    for node in tree.nodes:
        children = [tuple(child.thought.ids) for child in tree.children(node)]
        assert len(children) == len({*children})
    assert duplicate_tokens(tree) == 0


@given(st.integers(0, 10**6), st.sampled_from(["beam", "improvement", "forks"]))
def test_no_search_draws_a_child_twice(language: MarkedLanguage, seed: int, name: str) -> None:
    engine = ChanceEngine(language, seed=seed, width=2, length=3, depth=3)
    config = SearchConfig(algorithm="forks", replacement=False, max_depth=3, chains=5, forks=2)
    rules = {"beam": Beam(3, 2, 3, budget=200), "improvement": Improvement(9, 3), "forks": None}
    budget = TokenBudget(200)
    request = SearchRequest(
        [PROBLEM], config, [seed], rule=rules[name], rewards=BY_EQUALITY, budget=budget
    )
    (tree,) = grow(request, engine, language)
    assert len(tree.nodes) > 3
    for node in tree.nodes:
        children = [tuple(child.thought.ids) for child in tree.children(node)]
        assert len(children) == len({*children})
    assert tree.root.target == pytest.approx(
        sum(c.mass * c.target for c in tree.children(tree.root))
        / sum(c.mass for c in tree.children(tree.root))
    )


def test_children_are_drawn_as_their_distribution_says(language: MarkedLanguage) -> None:
    """The first two children of the root: p_i p_j / (1 - p_i)."""
    engine = ChanceEngine(language, seed=7)
    first: dict[tuple[int, ...], float] = {}
    for each in engine.solutions():
        first[each.thoughts[0]] = first.get(each.thoughts[0], 0.0) + each.probability
    trees = trees_of(
        language, engine, range(3000), algorithm="forks", chains=2, forks=0, replacement=False
    )
    seen = Counter(tuple(tuple(c.thought.ids) for c in tree.children(tree.root)) for tree in trees)
    expected = {
        (a, b): p * q / (1 - p) for a, p in first.items() for b, q in first.items() if a != b
    }
    assert abs(chi_square(seen, expected, len(trees))) < 4
    right = sum(each.probability for each in engine.solutions() if each.right)
    targets = [tree.root.target for tree in trees]
    assert abs(np.mean(targets) - right) < 0.02  # normalised weights: a little biased


def test_all_children_make_the_mean_exact(language: MarkedLanguage) -> None:
    engine = ChanceEngine(language, seed=3, depth=1)
    search = {"algorithm": "forks", "chains": 99, "forks": 0, "max_depth": 1, "replacement": False}
    (tree,) = trees_of(language, engine, range(1), **search)
    right = sum(each.probability for each in engine.solutions() if each.right)
    assert tree.root.closed
    assert tree.root.clock == NEVER
    assert tree.root.target == pytest.approx(right)


def test_draws_come_in_the_order_of_their_times(language: MarkedLanguage) -> None:
    (tree,) = trees_of(
        language,
        ChanceEngine(language, width=3, length=3),
        range(1),
        solutions=30,
        branches_at_once=1,
    )
    times = [leaf.drawn for leaf in tree.leaf_nodes()]
    assert all(first < second for first, second in pairwise(times))
    assert times[-1] < tree.clock


def test_solution_listing_adds_up(language: MarkedLanguage) -> None:
    listed: list[Solution] = ChanceEngine(language, seed=1, width=3, length=3).solutions()
    assert sum(each.probability for each in listed) == pytest.approx(1)


def test_a_node_with_nothing_left_does_not_end_its_tree(language: MarkedLanguage) -> None:
    """A roll-out whose every token was sure leaves its nodes no other child: the search goes on
    elsewhere."""

    class Sure(ChanceEngine):
        def next_tokens(
            self, done: tuple[tuple[int, ...], ...], begun: tuple[int, ...]
        ) -> dict[int, float]:
            chances = super().next_tokens(done, begun)
            first = next(iter(chances))
            return {first: 1.0} if len(done) == 1 else chances

    engine = Sure(language, seed=1, width=3, length=2, depth=2)
    for seed in range(20):
        config = SearchConfig(
            algorithm="mcts", replacement=False, simulations=9, max_children=9, max_depth=2
        )
        (tree,) = grow(SearchRequest([PROBLEM], config, [seed]), engine, language)
        assert tree.simulations == 9
        assert len(tree.root.children) > 2


@given(st.integers(0, 99))
def test_few_children_of_a_node_grow_at_once(language: MarkedLanguage, seed: int) -> None:
    engine = ChanceEngine(language, seed=seed, width=3, length=3, depth=1)
    search = {"algorithm": "forks", "chains": 6, "forks": 0, "max_depth": 1, "replacement": False}
    (tree,) = trees_of(language, engine, range(seed, seed + 1), branches_at_once=1, **search)
    children = tree.children(tree.root)
    assert [child.drawn for child in children] == sorted(child.drawn for child in children)
    assert all(child.mass for child in children)


def test_weights_survive_probabilities_that_no_float_holds() -> None:
    assert set_weights([0.0, 0.0, 0.0]) == pytest.approx([1 / 3] * 3, rel=1e-2)
    assert set_weights([0.0, 0.5]) == pytest.approx(set_weights([1e-12, 0.5]), rel=1e-6)
    many = set_weights([1e-9] * 200)
    assert many == pytest.approx(np.full(200, 1 / 200))
