"""Credit for thoughts, and the token arrays that carry it."""

import numpy as np
import pytest
from fake_engine import chain_tree, random_tree, shaped_tree
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.codec import Codec, Place
from llamao1_cli.config import LearnConfig
from llamao1_cli.experience import (
    Experience,
    advantages,
    experiences,
    gae,
    has_signal,
    quality_gain,
)
from llamao1_cli.search.grow import rectify
from llamao1_cli.search.tree import Node, Tree

TREERL = LearnConfig(credit="treerl")


def rectified(codec: Codec, seed: int, size: int = 15) -> Tree:
    tree = random_tree(codec, seed, size)
    rectify(tree, 1.0, "failure")
    return tree


def with_signal(codec: Codec, count: int) -> list[Tree]:
    made = (rectified(codec, seed) for seed in range(100))
    return [tree for tree in made if has_signal(tree)][:count]


def by_recursion(tree: Tree, node: Node, discount: float, lam: float) -> float:
    before = tree.nodes[node.parent].thought.value
    if node.answer is not None:
        delta = (1.0 if node.outcome else 0.0) - before
    else:
        delta = discount * node.thought.value - before
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
    codec: Codec, seed: int, size: int, discount: float, lam: float
) -> None:
    tree = random_tree(codec, seed, size)
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


@pytest.mark.parametrize("outcome", [True, False])
@pytest.mark.parametrize("credit", ["gae", "tree", "treerl"])
def test_a_tree_without_signal_trains_one_path_of_the_value_and_no_policy(
    codec: Codec, outcome: bool, credit: str
) -> None:
    tree = random_tree(codec, 3, 15)
    for leaf in tree.leaf_nodes():
        leaf.outcome = outcome
    rectify(tree, 1.0, "failure")
    config = LearnConfig(credit=credit)
    assert not has_signal(tree)
    assert not advantages(tree, config, 1.0).any()
    (only,) = experiences([tree], codec, config, 1.0)
    assert not only.action.any()
    assert not only.advantage.any()
    path = tree.path(next(tree.leaf_nodes()))
    assert only.ids.tolist() == tree.path_ids(path[-1], codec)
    read = only.rated > 0
    assert only.target[read].tolist() == [float(outcome)] * len(path)
    # The one path speaks for every leaf of the tree.
    assert set(only.rated[read].tolist()) == {float(len(list(tree.leaf_nodes())))}


def test_a_problem_that_grew_nothing_teaches_nothing(codec: Codec) -> None:
    tree = rectified(codec, 0, size=1)
    assert experiences([tree], codec, TREERL, 1.0) == []


def test_every_sampled_token_trains_once_with_its_own_log_prob(codec: Codec) -> None:
    for tree in with_signal(codec, 10):
        made = experiences([tree], codec, TREERL, 1.0)
        trained = [
            (int(token), np.float32(logprob))
            for item in made
            for token, logprob in zip(item.ids[item.action], item.logprob[item.action], strict=True)
        ]
        sampled = [
            (token, np.float32(logprob))
            for node in tree.nodes
            for token, logprob in zip(node.thought.ids, node.thought.logprobs, strict=True)
        ]
        assert sorted(trained) == sorted(sampled)
        assert len({logprob for _, logprob in sampled}) > len(sampled) * 0.99
        assert len(made) == len(list(tree.leaf_nodes()))
        assert {tuple(item.ids.tolist()) for item in made} == {
            tuple(tree.path_ids(leaf, codec)) for leaf in tree.leaf_nodes()
        }


def spans(tree: Tree, leaf: Node, codec: Codec) -> list[tuple[Node, int, int]]:
    """Where each node's sampled tokens lie on the path, counted from the end of the node."""
    found = []
    for node in tree.path(leaf)[1:]:
        stop = len(tree.path_ids(node, codec)) - 3 - (not node.thought.complete)
        found.append((node, stop - len(node.thought.ids), stop))
    return found


def test_arrays_line_up_with_the_tokens(codec: Codec) -> None:
    markers = {codec.rating_start, codec.rating_end, codec.positive, codec.negative}
    for tree in with_signal(codec, 10):
        credit = advantages(tree, TREERL, 1.0)
        credit /= credit[1:].std()
        for leaf, item in zip(
            tree.leaf_nodes(), experiences([tree], codec, TREERL, 1.0), strict=True
        ):
            inside = np.zeros(len(item.ids), bool)
            for node, start, stop in spans(tree, leaf, codec):
                thought = node.thought
                assert item.ids[start:stop].tolist() == thought.ids
                assert item.logprob[start:stop].tolist() == pytest.approx(thought.logprobs)
                assert item.advantage[start:stop].tolist() == pytest.approx(
                    [credit[node.id]] * (stop - start), rel=1e-5
                )
                first = Place.WORDS if thought.forced_meta else Place.FIRST
                places = [first] + [Place.INSIDE] * (stop - start - 1)
                assert item.place[start:stop].tolist() == places
                assert len(set(item.action[start:stop].tolist())) == 1
                assert (item.ids[stop - 1] == codec.thought_end) == thought.complete
                inside[start:stop] = True
            assert not item.action[~inside].any()  # no header, forced meta-action, end or rating
            assert not set(item.ids[item.action].tolist()) & markers


def test_the_value_is_trained_once_a_node_where_the_engine_reads_it(codec: Codec) -> None:
    for tree in with_signal(codec, 10):
        trained = [
            (
                item.ids[: place + 1].tolist(),
                pytest.approx(float(item.target[place])),
                float(item.rated[place]),
            )
            for item in experiences([tree], codec, TREERL, 1.0)
            for place in np.flatnonzero(item.rated)
        ]
        # Engine: the path up to its ended thought, then the start of the rating.
        read = [
            ([*tree.path_ids(node, codec)[:-3], codec.rating_start], node.target, node.leaves)
            for node in tree.nodes
        ]
        assert len(trained) == len(read)
        assert all(pair in trained for pair in read)


def actions(made: list[Experience]) -> np.ndarray:
    """Advantages of the trained tokens."""
    return np.concatenate([item.advantage[item.action] for item in made])


@pytest.mark.parametrize("credit", ["gae", "tree", "treerl"])
def test_advantages_are_scaled_by_the_batch_and_never_by_a_tree(codec: Codec, credit: str) -> None:
    config = LearnConfig(credit=credit)
    trees = with_signal(codec, 4)
    silent = random_tree(codec, 5, 8)
    for leaf in silent.leaf_nodes():
        leaf.outcome = False
    rectify(silent, 1.0, "failure")
    rows = [advantages(tree, config, 1.0) for tree in trees]
    thoughts = np.concatenate([row[1:] for row in rows])
    scale = np.sqrt(np.mean((thoughts - thoughts.mean()) ** 2))
    expected = [
        row[node.id] / scale
        for tree, row in zip(trees, rows, strict=True)
        for node in tree.nodes
        for _ in node.thought.ids
    ]
    made = experiences([*trees, silent], codec, config, 1.0)
    assert sorted(actions(made)) == pytest.approx(sorted(expected), rel=1e-4, abs=1e-6)


def test_a_tree_of_near_equals_stays_quiet_in_a_batch(codec: Codec) -> None:
    loud, quiet = with_signal(codec, 2)
    for leaf in quiet.leaf_nodes():
        leaf.outcome, leaf.thought.value = None, 0.5 + leaf.id * 1e-5
    rectify(quiet, 1.0, "rating")
    config = LearnConfig(credit="tree")
    assert has_signal(quiet)
    made = experiences([loud, quiet], codec, config, 1.0)
    own = len(list(loud.leaf_nodes()))
    assert np.abs(actions(made[:own])).max() > 0.5
    assert np.abs(actions(made[own:])).max() < 1e-3


def test_iterations_are_kept_and_unrectified_trees_refused(codec: Codec) -> None:
    tree = with_signal(codec, 1)[0]
    tree.iteration = 7
    assert {item.iteration for item in experiences([tree], codec, TREERL, 1.0)} == {7}
    with pytest.raises(ValueError, match="rectified"):
        experiences([random_tree(codec, 0)], codec, TREERL, 1.0)
