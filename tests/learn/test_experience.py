"""Credit for thoughts, and the token tries that carry it."""

import copy

import numpy as np
import pytest
from fake_engine import random_tree
from hypothesis import assume, given
from hypothesis import strategies as st

from llamao1_cli.config import LearnConfig
from llamao1_cli.language.marked_language import MarkedLanguage, Role
from llamao1_cli.learn.algorithms import configured_algorithm
from llamao1_cli.learn.credit import has_signal
from llamao1_cli.learn.experience import Experience, experiences
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Node, Tree

TREERL = LearnConfig(credit="treerl")


def rectified(language: MarkedLanguage, seed: int, size: int = 15) -> Tree:
    tree = random_tree(language, seed, size)
    rectify(tree, 1.0, "failure")
    return tree


def with_signal(language: MarkedLanguage, count: int) -> list[Tree]:
    made = (rectified(language, seed) for seed in range(100))
    return [tree for tree in made if has_signal(tree)][:count]


@pytest.mark.parametrize("outcome", [True, False])
@pytest.mark.parametrize("credit", ["gae", "tree", "treerl", "group"])
def test_a_tree_without_signal_trains_one_path_of_the_value_and_no_policy(
    language: MarkedLanguage, outcome: bool, credit: str
) -> None:
    tree = random_tree(language, 3, 15)
    for leaf in tree.leaf_nodes():
        leaf.earn(float(outcome))
    rectify(tree, 1.0, "failure")
    config = LearnConfig(credit=credit)
    assert not has_signal(tree)
    assert configured_algorithm(config).advantages(tree, 1.0) is None
    (only,) = experiences([tree], language, config, 1.0)
    assert not len(only.actions.at)
    path = tree.path(next(tree.leaf_nodes()))
    assert only.ids.tolist() == tree.path_ids(path[-1], language)[:-2]
    assert only.before.tolist() == list(range(-1, len(only.ids) - 1))
    assert only.ratings.target.tolist() == [float(outcome)] * len(path)
    # The one path speaks for every leaf of the tree.
    assert set(only.ratings.leaves.tolist()) == {float(len(list(tree.leaf_nodes())))}


def test_a_problem_that_grew_nothing_teaches_nothing(language: MarkedLanguage) -> None:
    tree = rectified(language, 0, size=1)
    assert experiences([tree], language, TREERL, 1.0) == []


def prefix(item: Experience, token: int) -> tuple[int, ...]:
    """The tokens of the trie from the first one to `token`."""
    path = []
    while token >= 0:
        path.append(int(item.ids[token]))
        assert item.before[token] < token
        token = int(item.before[token])
    return tuple(reversed(path))


def twins(tree: Tree, language: MarkedLanguage) -> Tree:
    """The tree with a second child beside each child of the root that says the same."""
    for child in tree.children(tree.root):
        twin = copy.deepcopy(child.thought)
        twin.logprobs = [logprob - 0.5 for logprob in twin.logprobs]
        tree.attach(tree.root, [twin])
    rectify(tree, 1.0, "failure")
    return tree


@given(seed=st.integers(0, 10**6), size=st.integers(3, 20))
def test_the_paths_of_the_trie_are_those_of_the_tree(
    language: MarkedLanguage, seed: int, size: int
) -> None:
    tree = twins(random_tree(language, seed, size), language)
    assume(has_signal(tree))
    (item,) = experiences([tree], language, TREERL, 1.0)
    prefixes = [prefix(item, token) for token in range(len(item.ids))]
    assert len(set(prefixes)) == len(prefixes)  # every one once
    ends = [tuple(tree.path_ids(leaf, language)[:-2]) for leaf in tree.leaf_nodes()]
    assert set(prefixes) == {path[: n + 1] for path in ends for n in range(len(path))}


def sampled(tree: Tree, language: MarkedLanguage) -> list[tuple[Node, int, tuple[int, ...]]]:
    """Each sampled token's node, its number there, and all tokens before it."""
    found = []
    for node in tree.nodes[1:]:
        path = tree.path_ids(node, language)
        start = len(path) - 3 - (not node.thought.complete) - len(node.thought.ids)
        found += [(node, n, tuple(path[: start + n])) for n in range(len(node.thought.ids))]
    return found


@given(seed=st.integers(0, 10**6), size=st.integers(3, 20), least=st.integers(1, 4))
def test_every_sampled_token_trains_once_with_its_own_figures(
    language: MarkedLanguage, seed: int, size: int, least: int
) -> None:
    tree = twins(random_tree(language, seed, size), language)
    assume(has_signal(tree))
    credit = configured_algorithm(TREERL).advantages(tree, 1.0)
    credit /= credit[1:].std()
    expected = [
        (
            before,
            node.thought.ids[n],
            (Role.WORDS if node.thought.forced_meta else Role.FIRST)
            if n == 0
            else (Role.WORDS if n < least else Role.INSIDE),
            np.float32(node.thought.logprobs[n]),
            np.float32(credit[node.id]),
        )
        for node, n, before in sampled(tree, language)
    ]
    (item,) = experiences([tree], language, TREERL, 1.0, min_tokens=least)
    trained = [
        (prefix(item, at), token, place, np.float32(logprob), np.float32(advantage))
        for at, token, _, place, logprob, advantage in zip(
            *(column.tolist() for column in vars(item.actions).values()), strict=True
        )
    ]
    assert len(trained) == len(expected)
    for one, other in zip(sorted(trained), sorted(expected), strict=True):
        assert one[:4] == other[:4]
        assert one[4] == pytest.approx(other[4], rel=1e-5, abs=1e-6)
    markers = {language.rating_start, language.rating_end, language.positive, language.negative}
    assert not set(item.actions.token.tolist()) & markers


def test_thoughts_of_a_solution_have_one_number(language: MarkedLanguage) -> None:
    for tree in with_signal(language, 10):
        (item,) = experiences([tree], language, TREERL, 1.0)
        firsts = {}  # of each node: the leaf reached by always going to the first child
        for node in tree.nodes:
            leaf = node
            while leaf.children:
                leaf = tree.nodes[leaf.children[0]]
            firsts[node.id] = leaf.id
        expected = sorted((before, firsts[node.id]) for node, _, before in sampled(tree, language))
        pairs = zip(item.actions.at.tolist(), item.actions.path.tolist(), strict=True)
        assert sorted((prefix(item, at), path) for at, path in pairs) == expected


def test_nodes_that_say_the_same_share_tokens_and_keep_their_actions(
    language: MarkedLanguage,
) -> None:
    for tree in with_signal(language, 10):
        (alone,) = experiences([tree], language, TREERL, 1.0)
        added = sum(len(child.thought.ids) for child in tree.children(tree.root))
        (item,) = experiences([twins(tree, language)], language, TREERL, 1.0)
        assert len(item.actions.at) == len(alone.actions.at) + added
        assert len(item.ids) == len(alone.ids)


def test_the_value_is_trained_once_a_node_where_the_engine_reads_it(
    language: MarkedLanguage,
) -> None:
    for tree in map(twins, with_signal(language, 10), [language] * 10):
        (item,) = experiences([tree], language, TREERL, 1.0)
        ratings = zip(*(c.tolist() for c in vars(item.ratings).values()), strict=True)
        trained = [(prefix(item, at), leaves, target) for at, leaves, target in ratings]
        # Engine: the path up to its ended thought, then the start of the rating.
        read = [
            (
                (*tree.path_ids(node, language)[:-3], language.rating_start),
                float(node.leaves),
                float(np.float32(node.target)),
            )
            for node in tree.nodes
        ]
        assert sorted(trained) == sorted(read)


def actions(made: list[Experience]) -> np.ndarray:
    """Advantages of the trained tokens."""
    return np.concatenate([item.actions.advantage for item in made])


@pytest.mark.parametrize("credit", ["gae", "tree", "treerl", "group"])
def test_advantages_are_scaled_by_the_batch_and_never_by_a_tree(
    language: MarkedLanguage, credit: str
) -> None:
    config = LearnConfig(credit=credit)
    trees = with_signal(language, 4)
    silent = random_tree(language, 5, 8)
    for leaf in silent.leaf_nodes():
        leaf.earn(0.0)
    rectify(silent, 1.0, "failure")
    rows = [configured_algorithm(config).advantages(tree, 1.0) for tree in trees]
    thoughts = np.concatenate([row[1:] for row in rows])
    scale = np.sqrt(np.mean((thoughts - thoughts.mean()) ** 2))
    expected = [
        row[node.id] / scale
        for tree, row in zip(trees, rows, strict=True)
        for node in tree.nodes
        for _ in node.thought.ids
    ]
    made = experiences([*trees, silent], language, config, 1.0)
    assert sorted(actions(made)) == pytest.approx(sorted(expected), rel=1e-4, abs=1e-6)


def test_a_tree_of_near_equals_stays_quiet_in_a_batch(language: MarkedLanguage) -> None:
    loud, quiet = with_signal(language, 2)
    for leaf in quiet.leaf_nodes():
        leaf.reward, leaf.outcome, leaf.value = None, None, 0.5 + leaf.id * 1e-5
    rectify(quiet, 1.0, "rating")
    config = LearnConfig(credit="tree")
    assert has_signal(quiet)
    made = experiences([loud, quiet], language, config, 1.0)
    assert np.abs(actions(made[:1])).max() > 0.5
    assert np.abs(actions(made[1:])).max() < 1e-3


def test_iterations_are_kept_and_unrectified_trees_refused(language: MarkedLanguage) -> None:
    tree = with_signal(language, 1)[0]
    tree.iteration = 7
    assert {item.iteration for item in experiences([tree], language, TREERL, 1.0)} == {7}
    with pytest.raises(ValueError, match="rectified"):
        experiences([random_tree(language, 0)], language, TREERL, 1.0)
