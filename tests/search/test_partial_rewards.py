"""Rewards between 0 and 1: what searches, targets and algorithms make of them."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from fake_engine import FakeEngine, random_tree, shaped_tree
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import LearnConfig, SearchConfig
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.language.marked import Meta
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.learn.algorithms import configured_algorithm
from llamao1_cli.learn.credit import has_signal
from llamao1_cli.search.forest import forest_metrics
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.rules.omega import Omega, label
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import Problem, Solution
from llamao1_cli.tasks.rewards import Rewards

PROBLEM = Problem("p", "How many?", "7")
EARNED = {"7": 0.75, "8": 0.25}  # what the two answers of the script earn


def half_right(solved: Sequence[tuple[Problem, Solution]]) -> list[float]:
    return [EARNED[said.answer] for _, said in solved]


def grown(language: MarkedLanguage, rewards: Rewards, **changes: object) -> Tree:
    config = SearchConfig(**{"simulations": 12, **changes})
    return grow(
        SearchRequest([PROBLEM], config, [3], rewards=rewards), FakeEngine(language), language
    )[0]


def with_rewards(language: MarkedLanguage, seed: int) -> Tree:
    tree, rng = random_tree(language, seed, 20), np.random.default_rng(seed)
    for node in tree.nodes:
        if node.terminal:
            node.earn(float(rng.choice([0.0, 0.3, 0.5, 1.0])), 0.5)
    return tree


@pytest.mark.parametrize("algorithm", ["mcts", "forks", "distinct"])
@pytest.mark.parametrize("solved_at", [1.0, 0.75, 0.2])
def test_a_tree_keeps_rewards_and_whether_they_solve_the_problem(
    language: MarkedLanguage, algorithm: str, solved_at: float
) -> None:
    tree = grown(language, Rewards(half_right, solved_at), algorithm=algorithm)
    ends = [node for node in tree.nodes if node.terminal]
    assert {node.answer for node in ends} == {"7", "8"}
    for node in ends:
        assert node.reward == EARNED[node.answer or ""]
        assert node.outcome is (node.reward >= solved_at)
    assert all(node.reward is node.outcome is None for node in tree.nodes if not node.terminal)
    assert all(leaf.target == (leaf.reward or 0.0) for leaf in tree.leaf_nodes())
    assert Tree.from_json(tree.to_json()) == tree


def test_mcts_backs_partial_rewards_up(language: MarkedLanguage) -> None:
    tree = grown(language, Rewards(half_right))
    for node in tree.nodes:
        if node.terminal:
            assert node.mean_value == pytest.approx(EARNED[node.answer or ""])
    assert 0.0 < tree.root.mean_value < 0.75
    # Patience waits for solutions that solve the problem, not for parts of them.
    patient = grown(language, Rewards(half_right), patience=1, simulations=12)
    hasty = grown(language, Rewards(half_right, 0.75), patience=1, simulations=12)
    assert patient.simulations == 12 > hasty.simulations


def test_a_reward_that_failed_earns_nothing_and_is_counted(language: MarkedLanguage) -> None:
    tree = grown(
        language, Rewards(lambda solved: [None if s.answer == "7" else 1.0 for _, s in solved])
    )
    failed = [node for node in tree.nodes if node.answer == "7"]
    assert {(node.reward, node.outcome) for node in failed} == {(0.0, False)}
    assert forest_metrics([tree])["failed_rewards"] == tree.failed_rewards == len(failed) > 0


def test_a_reward_sees_the_whole_solution(language: MarkedLanguage) -> None:
    seen: list[tuple[Problem, Solution]] = []

    def note(solved: Sequence[tuple[Problem, Solution]]) -> list[float]:
        seen.extend(solved)
        return [1.0] * len(solved)

    tree = grown(language, Rewards(note))
    said = [
        "\n".join(step.thought.text for step in tree.path(node)[1:])
        for node in tree.nodes
        if node.terminal
    ]
    assert sorted(each.text for _, each in seen) == sorted(said)
    assert {problem for problem, _ in seen} == {PROBLEM}


def test_a_rewriting_is_a_solution_of_its_own() -> None:
    tree = Tree.plant(PROBLEM, 0, 0.5)
    said = [(None, "Guess."), (Meta.CONCLUSION, "\\boxed{8}"), (Meta.CRITIC, "Wrong."),
            (Meta.REFINE, "3 + 4 = 7"), (Meta.CONCLUSION, "\\boxed{7}")]  # fmt: skip
    tree.attach(tree.root, [Thought(meta, text) for meta, text in said])
    assert tree.solution(tree.nodes[1]) is None
    assert tree.solution(tree.nodes[2]) == Solution("Guess.\n\\boxed{8}", "8")
    assert tree.solution(tree.nodes[5]) == Solution("3 + 4 = 7\n\\boxed{7}", "7")


@given(seed=st.integers(0, 10**6), discount=st.sampled_from([0.5, 1.0]))
def test_targets_are_means_of_rewards(language: MarkedLanguage, seed: int, discount: float) -> None:
    tree = with_rewards(language, seed)
    rectify(tree, discount, "failure")

    def worth(node: Node) -> float:
        below = tree.children(node)
        return discount * math.fsum(map(worth, below)) / len(below) if below else node.reward or 0.0

    assert [node.target for node in tree.nodes] == pytest.approx([*map(worth, tree.nodes)])
    rewards = {leaf.reward or 0.0 for leaf in tree.leaf_nodes()}
    assert has_signal(tree) == (len(rewards) > 1)


@pytest.mark.parametrize("credit", ["gae", "tree", "treerl", "group"])
def test_partial_rewards_are_a_signal(credit: str) -> None:
    tree = shaped_tree([0, 0], {1: False, 2: False})
    tree.nodes[2].earn(0.25)
    rectify(tree, 1.0, "failure")
    algorithm = configured_algorithm(LearnConfig(credit=credit))
    advantages = algorithm.advantages(tree, 1.0)
    assert advantages is not None
    assert advantages[2] > advantages[1]
    (scaled,) = (advantages / algorithm.scale([advantages]),)
    assert np.isfinite(scaled).all()


def test_the_algorithms_that_ask_for_right_solutions_take_the_outcome() -> None:
    tree = shaped_tree([0, 0, 0], {1: False, 2: True, 3: True})
    tree.nodes[1].earn(0.6, 1.0)
    tree.nodes[2].earn(0.4, 0.4)
    rectify(tree, 1.0, "failure")
    imitated = configured_algorithm(LearnConfig(algorithm="expert_iteration")).advantages(tree, 1.0)
    assert imitated is not None
    assert np.isnan(imitated).tolist() == [False, True, False, False]
    for node, size in zip(tree.nodes[1:], (1, 1, 3), strict=True):
        node.thought.ids = [0] * size
    short = configured_algorithm(LearnConfig(algorithm="k15", length_weight=0.2))
    centred = short.advantages(tree, 1.0)
    assert centred is not None
    # Brevity, 0.1 for the short ones, is for right solutions alone: 0.6, 0.4 + 0.1, 1 - 0.1.
    rewards = np.array([0.6, 0.5, 0.9])
    assert centred[1:] == pytest.approx(rewards - rewards.mean())


def test_omega_measures_the_mean_reward_of_completions(language: MarkedLanguage) -> None:
    rule = Omega(completions=6, searches=2, max_depth=4)
    rewards, config = Rewards(half_right, 0.75), SearchConfig(max_depth=4)
    request = SearchRequest([PROBLEM], config, [1], rewards=rewards, rule=rule)
    (tree,) = grow(request, FakeEngine(language), language)
    label(tree)
    measured = [node for node in tree.nodes if node.visits]
    assert measured[0] is tree.root
    for prefix in measured:
        assert prefix.visits == 6
        assert prefix.target == pytest.approx(prefix.value_sum / 6)
    first = [node for node in tree.nodes[1:] if node.parent == 0][:6]
    ends = [_end(tree, node) for node in first]
    assert tree.root.value_sum == pytest.approx(math.fsum(end.reward or 0.0 for end in ends))
    assert 0 < tree.root.value_sum < 6 * 0.75


def _end(tree: Tree, node: Node) -> Node:
    """Where the first completion through a node ended."""
    while node.children:
        node = tree.nodes[node.children[0]]
    return node
