"""Training of the value head: what it is taught, what it learns, and that it goes on exactly."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_engine import random_tree, shaped_tree
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from telling_trees import telling_trees

from llamao1_cli.config import ValueHeadConfig
from llamao1_cli.errors import RunFailedError
from llamao1_cli.evaluate.intervals import auc_within
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.learn.losses import pair_loss
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Tree
from llamao1_cli.value.head import PathJudge, ValueHead
from llamao1_cli.value.head_training import EXAMPLES_FILE, HeadTrainer, examples_of
from llamao1_cli.value.supervision import MARGIN, tree_pairs


def within(head: ValueHead, trees: Sequence[Tree]) -> float | None:
    PathJudge(head)(trees)
    leaves = [list(tree.leaf_nodes()) for tree in trees]
    scores = [[leaf.value for leaf in row] for row in leaves]
    return auc_within(scores, [[leaf.outcome is True for leaf in row] for row in leaves])


def test_log_probs_come_to_tell_right_from_wrong() -> None:
    head, unseen = ValueHead(32, 0), telling_trees(1000, 30)
    assert within(head, unseen) == pytest.approx(0.5, abs=0.1)
    trainer = HeadTrainer(head, ValueHeadConfig())
    for number in range(5):
        trainer.learn(telling_trees(100 * number), number)
    assert within(head, unseen) > 0.99
    errors = [(leaf.value - leaf.target) ** 2 for tree in unseen for leaf in tree.leaf_nodes()]
    assert np.mean(errors) < 0.05
    steps = [node for tree in unseen for node in tree.nodes if node.depth == 1]
    assert np.mean([node.value for node in steps]) == pytest.approx(0.5, abs=0.1)


@given(seed=st.integers(0, 10**6), size=st.integers(1, 25))
def test_pairs_are_leaves_and_siblings_that_differ(
    language: MarkedLanguage, seed: int, size: int
) -> None:
    tree = random_tree(language, seed, size)
    rectify(tree, 0.9, "rating")
    expected = [
        [a.id, b.id]
        for a in tree.nodes
        for b in tree.nodes
        if (a.parent == b.parent or (not a.children and not b.children))
        and a.target > b.target + MARGIN
    ]
    assert tree_pairs(tree).tolist() == expected


def test_pairs_by_hand() -> None:
    #      0          targets: 1: 2/3, 2: 0, leaves 3, 5 right, 4, 6, 7 wrong
    #   1     2
    # 3 4 5  6 7
    tree = shaped_tree([0, 0, 1, 1, 1, 2, 2], {3: True, 4: False, 5: True, 6: False, 7: False})
    rectify(tree, 1.0, "failure")
    assert tree_pairs(tree).tolist() == [[1, 2], [3, 4], [3, 6], [3, 7], [5, 4], [5, 6], [5, 7]]


def test_pair_loss_by_hand() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5])
    loss = pair_loss(logits, torch.tensor([[0, 1], [1, 2]]))
    expected = math.log(1 + math.exp(-3.0)) + math.log(1 + math.exp(1.5))
    assert float(loss) == pytest.approx(expected)
    assert float(pair_loss(logits, torch.empty((0, 2), dtype=torch.int64))) == 0.0


def test_pairs_of_many_trees_name_their_own_nodes(language: MarkedLanguage) -> None:
    trees = [random_tree(language, seed, 12) for seed in range(6)]
    for tree in trees:
        rectify(tree, 1.0, "failure")
    whole, alone = examples_of(trees), [examples_of([tree]) for tree in trees]
    assert len(whole.supervision.targets) == sum(len(tree.nodes) for tree in trees)
    ends = [part.features[part.supervision.pairs] for part in alone]
    assert sum(map(len, ends)) > 10
    assert (whole.features[whole.supervision.pairs] == np.concatenate(ends)).all()


def test_the_first_losses_are_those_of_the_ratings() -> None:
    trees = telling_trees(0, 3)
    config = ValueHeadConfig(steps=1, learning_rate=0.1)
    losses = HeadTrainer(ValueHead(8, 0), config).learn(trees, 1)
    nodes = [node for tree in trees for node in tree.nodes]
    entropies = [
        -n.leaves
        * (n.target * math.log(n.thought.rating) + (1 - n.target) * math.log(1 - n.thought.rating))
        for n in nodes
    ]
    expected = sum(entropies) / sum(node.leaves for node in nodes)
    assert losses["value_head_loss"] == pytest.approx(expected, rel=1e-5)
    odds = [
        tree.nodes[node].thought.rating / (1 - tree.nodes[node].thought.rating)
        for tree in trees
        for node in tree_pairs(tree).ravel()
    ]
    terms = [
        math.log(1 + worse / better) for better, worse in zip(odds[::2], odds[1::2], strict=True)
    ]
    assert losses["value_head_pair_loss"] == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_the_pair_weight_tells_pairs_apart() -> None:
    ends = {}
    for weight in (0.0, 10.0):
        trainer = HeadTrainer(ValueHead(8, 0), ValueHeadConfig(pair_weight=weight, steps=20))
        ends[weight] = trainer.learn(telling_trees(0), 1)
    assert ends[10.0]["value_head_pair_loss"] < ends[0.0]["value_head_pair_loss"]
    assert ends[10.0]["value_head_loss"] > ends[0.0]["value_head_loss"]


def same_weights(one: ValueHead, other: ValueHead) -> bool:
    states = one.state_dict(), other.state_dict()
    return all((states[0][name] == states[1][name]).all() for name in states[0])


def test_two_and_two_iterations_are_four(tmp_path: Path) -> None:
    config, plays = ValueHeadConfig(steps=10), [telling_trees(100 * n, 2) for n in range(4)]
    straight, stopped, resumed = (ValueHead(8, seed) for seed in (0, 0, 1))
    whole, first, second = (HeadTrainer(h, config) for h in (straight, stopped, resumed))
    for number, trees in enumerate(plays, start=1):
        whole.learn(trees, number)
    for number in (1, 2):
        first.learn(plays[number - 1], number)
    first.save(tmp_path)
    resumed.load(tmp_path / "model")
    forgetful = ValueHead(8, 1)
    forgetful.load(tmp_path / "model")
    second.load(tmp_path)
    for trainer in (second, HeadTrainer(forgetful, config)):
        for number in (3, 4):
            trainer.learn(plays[number - 1], number)
    assert same_weights(straight, resumed)
    assert not same_weights(straight, forgetful)  # what it had learned from matters


def test_old_iterations_are_forgotten(tmp_path: Path) -> None:
    trainer = HeadTrainer(ValueHead(8, 0), ValueHeadConfig(steps=1))
    for number in range(1, 7):
        trainer.learn(telling_trees(100 * number, number), number)
    trainer.save(tmp_path)
    arrays = load_file(tmp_path / EXAMPLES_FILE)
    sizes = [len(arrays[f"{index}.targets"]) for index in range(len(arrays) // 4)]
    assert sizes == [25 * number for number in (3, 4, 5, 6)]


def test_trees_that_travelled_teach_every_rank_the_same() -> None:
    heads = [ValueHead(8, 0), ValueHead(8, 0)]
    trees = telling_trees(0)
    travelled = [Tree.from_json(json.loads(json.dumps(tree.to_json()))) for tree in trees]
    before = torch.get_rng_state()
    for head, mine in zip(heads, (trees, travelled), strict=True):
        HeadTrainer(head, ValueHeadConfig(steps=5)).learn(mine, 1)
    assert same_weights(*heads)
    assert (torch.get_rng_state() == before).all()


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    trees = telling_trees(0, 1)
    trees[0].nodes[3].thought.logprobs[0] = -math.inf
    with pytest.raises(RunFailedError, match="iteration 5"):
        HeadTrainer(ValueHead(8, 0), ValueHeadConfig(steps=2)).learn(trees, 5)
