"""What is told of many trees, against trees worked out by hand and a small model's distribution."""

import math
import statistics
from collections.abc import Sequence

import pytest
from chance_engine import ChanceEngine
from fake_engine import BY_EQUALITY, random_tree
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.forest import forest_metrics, solution_nats
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem

PROBLEM = Problem("p", "How many?", "7")

# A thought: its parent, its tokens, the probability of each, how many of them were known, and the
# answer if it states one.
Said = tuple[int, list[int], list[float], int, str | None]


def tree_of(thoughts: Sequence[Said], **drawn: float) -> Tree:
    """A rectified tree; with a clock its solutions were drawn without replacement, at time 0."""
    tree = Tree.plant(PROBLEM, 0, 0.5)
    tree.clock = drawn.get("clock")
    for parent, ids, chances, known, answer in thoughts:
        figures = [0.0] * len(ids)
        text = "a step" if answer is None else f"The answer is \\boxed{{{answer}}}."
        logprobs = [math.log(chance) for chance in chances]
        new = Thought(None, text, ids, logprobs, figures, figures, known)
        (node,) = tree.attach(tree.nodes[parent], [new])
        if answer is not None:
            node.earn(float(answer == PROBLEM.answer))
            node.drawn = 0.0 if drawn else None
    rectify(tree, 1.0, "failure")
    return tree


def test_what_independent_samples_repeat_is_counted() -> None:
    """Of three chains the second repeats the first, and the third its first token."""
    same: Said = (0, [1, 2, 3], [0.5, 0.5, 0.8], 0, "7")
    tree = tree_of([same, same, (0, [1, 4, 3], [0.5, 0.25, 1.0], 0, "8")])
    told = forest_metrics([tree])
    assert told["generated_tokens"] == 9
    assert told["duplicate_tokens"] == pytest.approx(4 / 9)
    assert told["duplicate_solutions"] == pytest.approx(1 / 3)
    assert told["covered"] == pytest.approx(0.2 + 0.125)  # each solution once
    assert told["nats"] == pytest.approx(-(2 * math.log(0.2) + math.log(0.125)) / 3)
    assert told["success"] == told["solved_leaves"] == pytest.approx(2 / 3)


def test_distinct_solutions_count_by_their_mass() -> None:
    """Two solutions of probabilities 1/2 and 1/4; the second begins with the token 1 of the first,
    which is not generated again. By hand, for the set of two: the first of them with probability
    1/2 is followed by the second with 1/4 / (1 - 1/2), and so on, so that P(set) = 1/4 + 1/6; given
    that one is the first, the set has 1/2 or 2/3, and w = p P(set | first) / P(set) = 3/5, 2/5."""
    tree = tree_of(
        [(0, [1, 2], [1.0, 0.5], 0, "7"), (0, [1, 3], [1.0, 0.25], 1, "8")], clock=math.inf
    )
    told = forest_metrics([tree])
    assert told["generated_tokens"] == 3
    assert told["duplicate_tokens"] == told["duplicate_solutions"] == 0
    assert told["covered"] == pytest.approx(0.75)
    assert told["solved_leaves"] == 0.5
    assert told["success"] == pytest.approx(0.6, abs=1e-3)
    assert told["nats"] == pytest.approx(0.6 * math.log(2) + 0.4 * math.log(4), abs=1e-3)


def test_means_over_trees_are_over_trees_and_shares_over_all() -> None:
    one = tree_of([(0, [1, 2], [0.5, 0.5], 0, "7")])
    other = tree_of([(0, [1, 2], [0.5, 0.2], 0, "8")] * 3)
    told = forest_metrics([one, other])
    assert told["success"] == 0.5
    assert told["solved_leaves"] == 0.25
    assert told["covered"] == pytest.approx((0.25 + 0.1) / 2)
    assert told["duplicate_solutions"] == 0.5
    assert told["duplicate_tokens"] == 0.5
    assert told["nats"] == pytest.approx((math.log(4) + math.log(10)) / 2)


def test_trees_that_did_not_grow_have_no_nats() -> None:
    bare = tree_of([])
    told = forest_metrics([bare, tree_of([(0, [1], [0.5], 0, "7")])])
    assert told["nats"] == pytest.approx(math.log(2))
    assert told["success"] == told["solved_trees"] == 1.0  # what was not played was not failed
    assert told["unplayed_problems"] == 1.0
    assert all(math.isfinite(value) for value in forest_metrics([bare]).values())
    assert all(value == 0 for value in forest_metrics([]).values())


def test_what_a_search_began_behind_is_not_counted() -> None:
    """The given thought is none of its tokens, nor are they part of the probability; and what comes
    of it tells nothing of the policy at the problem."""
    figures = ([math.log(0.125)] * 2, [3.0] * 2, [0.0] * 2)
    tree = Tree.plant(PROBLEM, 0, 0.5, [Thought(None, "given", [5, 6], *figures)])
    said = Thought(None, "The answer is \\boxed{7}.", [1], [math.log(0.5)], [1.0], [0.0])
    (leaf,) = tree.attach(tree.start, [said])
    leaf.earn(1.0)
    rectify(tree, 1.0, "failure")
    told = forest_metrics([tree])
    assert (told["nodes"], told["generated_tokens"], told["mean_entropy"]) == (1, 1, 1)
    assert tree.probability(leaf) == pytest.approx(0.5)
    assert solution_nats(tree) == pytest.approx(math.log(2))
    assert {told[name] for name in ("covered", "nats", "success", "solved_leaves")} == {0}
    whole = tree_of([(0, [1], [0.5], 0, "8"), (0, [2], [0.5], 0, "7")])
    assert forest_metrics([tree, whole])["success"] == 0.5


@given(st.integers(0, 10**6), st.integers(1, 40))
def test_shares_are_shares_for_any_tree(language: MarkedLanguage, seed: int, size: int) -> None:
    tree = random_tree(language, seed, size)
    rectify(tree, 1.0, "failure")
    told = forest_metrics([tree])
    for name in ("duplicate_tokens", "duplicate_solutions", "covered", "success"):
        assert 0 <= told[name] <= 1
    assert told["nats"] >= 0


def grown(language: MarkedLanguage, engine: ChanceEngine, count: int, solutions: int) -> list[Tree]:
    """Trees of distinct solutions, a seed each."""
    config = SearchConfig(algorithm="distinct", max_depth=2, solutions=solutions)
    request = SearchRequest([PROBLEM] * count, config, [*range(count)], rewards=BY_EQUALITY)
    return grow(request, engine, language)


def test_a_tree_of_all_solutions_has_the_figures_of_the_model(language: MarkedLanguage) -> None:
    engine = ChanceEngine(language, seed=4)
    solutions = engine.solutions()
    told = forest_metrics(grown(language, engine, 3, 10_000))
    assert told["covered"] == pytest.approx(1)
    assert told["success"] == pytest.approx(sum(s.probability for s in solutions if s.right))
    entropy = -sum(s.probability * math.log(s.probability) for s in solutions)
    assert told["nats"] == pytest.approx(entropy)
    assert told["duplicate_tokens"] == told["duplicate_solutions"] == 0


def test_a_few_solutions_estimate_the_entropy_without_bias(language: MarkedLanguage) -> None:
    engine = ChanceEngine(language, seed=4)
    entropy = -sum(s.probability * math.log(s.probability) for s in engine.solutions())
    estimates = [solution_nats(tree) for tree in grown(language, engine, 1500, 4)]
    error = statistics.stdev(estimates) / math.sqrt(len(estimates))
    assert statistics.mean(estimates) == pytest.approx(entropy, abs=4 * error)
    assert error < 0.02
