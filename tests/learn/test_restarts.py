"""Restarts: what is kept of successes, where trees begin along them, and when they are dropped."""

import json

import pytest
from fake_engine import shaped_tree
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.engine.protocol import Thought
from llamao1_cli.learn.restarts import RARE, SURE, Restarts, Success
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem


def solved(name: str, right: int, wrong: int, depth: int = 4) -> Tree:
    """A tree of chains of `depth` thoughts, of which so many end right and wrong."""
    parents, leaves = [], {}
    for chain in range(right + wrong):
        first = chain * depth
        parents += [0, *range(first + 1, first + depth)]
        leaves[first + depth] = chain < right
    tree = shaped_tree(parents, leaves)
    tree.problem = Problem(name, name, "7")
    rectify(tree, 1.0, "failure")
    return tree


def restarted(tree: Tree, depth: int, success: bool) -> Tree:
    """A tree that began behind so many given thoughts, and ended so."""
    path = tree.path(next(leaf for leaf in tree.leaf_nodes() if leaf.outcome))
    given = [node.thought for node in path[1 : depth + 1]]
    again = Tree.plant(tree.problem, 0, 0.5, given)
    again.attach(again.start, [Thought(None, "The answer is \\boxed{7}.")])
    again.nodes[-1].earn(float(success))
    rectify(again, 1.0, "failure")
    return again


def test_rare_successes_are_kept_and_begun_again() -> None:
    restarts = Restarts(10)
    trees = [solved("rare", 1, 9), solved("never", 0, 9), solved("often", 3, 3)]
    metrics = restarts.take_in(trees, 1, seed=0)
    assert metrics["restart_paths"] == len(restarts) == 1
    (start,) = restarts.choose(5)
    assert start.problem.id == "rare"
    assert 1 <= len(start.given) <= 3
    assert [each.text for each in start.given] == ["a step"] * len(start.given)


def test_the_beginning_moves_towards_the_problem_as_success_rises() -> None:
    restarts, tree = Restarts(10), solved("rare", 1, 9)
    for node in tree.nodes:
        node.value = 0.1 + 0.15 * node.depth  # 0.25, 0.40, 0.55 behind one, two, three thoughts
    restarts.take_in([tree], 1, seed=0)
    depths = []
    for iteration in range(2, 30):
        if not len(restarts):
            break
        (start,) = restarts.choose(1)
        depths.append(len(start.given))
        restarts.take_in([restarted(tree, depths[-1], True)], iteration, seed=0)
    assert depths[0] == 3
    assert depths == sorted(depths, reverse=True)
    assert depths[-1] == 1
    assert len(restarts) == 0  # sure from its first thought on


def test_failures_move_it_back() -> None:
    restarts, tree = Restarts(10), solved("rare", 1, 9)
    for node in tree.nodes:
        node.value = 0.5
    restarts.take_in([tree], 1, seed=0)
    assert len(restarts.choose(1)[0].given) == 1  # of equals the nearest to the problem
    for iteration in (2, 3, 4):
        restarts.take_in([restarted(tree, 1, False)], iteration, seed=0)
    assert len(restarts.choose(1)[0].given) == 2


def test_who_has_waited_longest_comes_first_and_the_oldest_go() -> None:
    restarts = Restarts(2)
    for number in range(3):
        restarts.take_in([solved(f"p{number}", 1, 9)], number, seed=0)
    assert [start.problem.id for start in restarts.choose(9)] == ["p1", "p2"]
    restarts.take_in([restarted(solved("p1", 1, 9), 2, False)], 4, seed=0)
    assert [start.problem.id for start in restarts.choose(9)] == ["p2", "p1"]


@given(st.lists(st.floats(0, 1), min_size=3, max_size=8), st.data())
def test_what_is_expected_never_falls_along_a_path(
    values: list[float], data: st.DataObject
) -> None:
    success = Success(Problem("p", "p", "7"), [Thought(None, "a")] * len(values), values, 0)
    depth, outcome = success.depth, data.draw(st.floats(0, 1))
    assert 1 <= depth < len(values)
    before = values[depth]
    success.note(depth, outcome)
    now = success.expected[depth]
    assert min(before, outcome) - 1e-9 <= now <= max(before, outcome) + 1e-9
    assert all(each <= now for each in success.expected[:depth])
    assert all(each >= now for each in success.expected[depth:])


def test_the_state_survives_as_json() -> None:
    restarts, other = Restarts(10), Restarts(10)
    restarts.take_in([solved(f"p{number}", 1, 9) for number in range(3)], 1, seed=0)
    other.restore(json.loads(json.dumps(restarts.state())))
    assert other.choose(9) == restarts.choose(9)
    assert other.state() == restarts.state()
    with pytest.raises(ValueError, match="problem"):
        other.restore([{"thoughts": []}])


def test_bounds_leave_room() -> None:
    assert 0 < RARE < 0.5 < SURE < 1
