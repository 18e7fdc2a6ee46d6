"""Features of paths against a computation that reads every path from its start."""

import math

import numpy as np
import pytest
from fake_engine import chain_tree, random_tree
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.value.features import (
    FEATURES,
    UNRATED_FEATURES,
    PathStats,
    extend_paths,
    feature_rows,
    logit,
)


def features(tree: Tree) -> np.ndarray:
    paths: list[PathStats] = []
    extend_paths(paths, tree.nodes)
    return feature_rows(paths)


def by_path(tree: Tree, node: Node) -> list[float]:
    """The features of one node, in the order of the names."""
    path = tree.path(node)
    ratings = [math.log(step.thought.rating) - math.log(1 - step.thought.rating) for step in path]
    logprobs = sorted(p for step in path for p in step.thought.logprobs)
    named = {
        "rating": ratings[-1],
        "lowest_rating": min(ratings),
        "mean_rating": sum(ratings) / len(ratings),
        "logprob": sum(logprobs),
        "lowest_logprob": logprobs[0] if logprobs else 0.0,
        "second_logprob": logprobs[1] if len(logprobs) > 1 else 0.0,
        "steps": len(path) - 1,
        "finished": 1.0 if "boxed" in node.thought.text else 0.0,
    }
    return [named[name] for name in FEATURES]


@given(seed=st.integers(0, 10**6), size=st.integers(1, 25))
def test_features_equal_those_of_every_path_read_alone(
    language: MarkedLanguage, seed: int, size: int
) -> None:
    tree = random_tree(language, seed, size)
    rows = features(tree)
    assert rows.shape == (size, len(FEATURES))
    assert rows.dtype == np.float32
    for node, row in zip(tree.nodes, rows, strict=True):
        assert row.tolist() == pytest.approx(by_path(tree, node), rel=1e-5, abs=1e-5)


@given(seed=st.integers(0, 10**6), cut=st.integers(1, 19))
def test_a_tree_read_in_two_parts_has_the_same_features(
    language: MarkedLanguage, seed: int, cut: int
) -> None:
    tree, paths = random_tree(language, seed, 20), list[PathStats]()
    extend_paths(paths, tree.nodes[:cut])
    assert len(paths) == cut
    extend_paths(paths, tree.nodes[cut:])
    assert (feature_rows(paths) == features(tree)).all()


def test_features_by_hand() -> None:
    tree = chain_tree([0.5, 0.75, 0.2], True)
    tree.nodes[1].thought.logprobs = [-0.5]
    tree.nodes[2].thought.logprobs = [-0.25, -2.0, -0.75]
    high, low = math.log(3), -math.log(4)
    assert features(tree).tolist() == [
        pytest.approx([0, 0, 0, 0, 0, 0, 0, 0]),
        pytest.approx([high, 0, high / 2, -0.5, -0.5, 0, 1, 0]),
        pytest.approx([low, low, (high + low) / 3, -3.5, -2.0, -0.75, 2, 1]),
    ]


def test_a_rating_without_doubt_stays_finite() -> None:
    assert [logit(value) for value in (0.0, 1e-30, 0.5, 1.0)] == [-16.0, -16.0, 0.0, 16.0]
    assert features(chain_tree([0.0, 1.0, 0.0], False)).max() == 16.0


@given(seed=st.integers(0, 10**6), size=st.integers(1, 25))
def test_without_ratings_length_and_mean_stand_in_their_place(
    language: MarkedLanguage, seed: int, size: int
) -> None:
    tree, paths = random_tree(language, seed, size), list[PathStats]()
    extend_paths(paths, tree.nodes)
    rated = feature_rows(paths)[:, 3:]
    for node in tree.nodes:
        node.thought.rating = None
    unrated = list[PathStats]()
    extend_paths(unrated, tree.nodes)
    rows = feature_rows(unrated, UNRATED_FEATURES)
    assert (rows[:, :-2] == rated).all()
    for node, (tokens, mean) in zip(tree.nodes, rows[:, -2:], strict=True):
        logprobs = [p for step in tree.path(node) for p in step.thought.logprobs]
        assert tokens == len(logprobs)
        assert mean == pytest.approx(sum(logprobs) / max(len(logprobs), 1), rel=1e-5)
