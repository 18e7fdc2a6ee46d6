"""Training of the value adapter: its gradient, what it learns, and what it leaves alone."""

import copy
import math
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from naive_update import batch_of, play, updater
from telling_trees import telling_trees
from toy_models import toy_model
from transformers import PreTrainedModel
from value_adapters import adapted, adapter_on, by_peft, opinionated, path_logit

from llamao1_cli.config import ValueAdapterConfig
from llamao1_cli.errors import RunFailedError
from llamao1_cli.evaluate.intervals import auc_within
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.learn.update import trainable_weights
from llamao1_cli.search.tree import Tree
from llamao1_cli.value.adapter import ValueAdapter
from llamao1_cli.value.adapter_training import AdapterTrainer
from llamao1_cli.value.supervision import tree_pairs

PAIR_WEIGHT = 0.7


@pytest.fixture(scope="module")
def toy(language: MarkedLanguage) -> PreTrainedModel:
    return toy_model(language)


@pytest.fixture(scope="module")
def grown(language: MarkedLanguage, toy: PreTrainedModel) -> list[Tree]:
    return play(toy, language, count=3)


def trainer(adapter: ValueAdapter, **changes: object) -> AdapterTrainer:
    config = ValueAdapterConfig(**{"pair_weight": PAIR_WEIGHT, "batch_size": 3, **changes})
    return AdapterTrainer(adapter, config, Accelerator(cpu=True))


def weights_of(adapter: ValueAdapter) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in adapter.weights.items()}


def same_weights(one: ValueAdapter, other: ValueAdapter) -> bool:
    return all((one.weights[name] == weight).all() for name, weight in other.weights.items())


def naive_gradient(
    policy: PreTrainedModel, adapter: ValueAdapter, language: MarkedLanguage, trees: Sequence[Tree]
) -> tuple[dict[str, torch.Tensor], float, float]:
    """The gradient of the losses, one node's own path at a time under peft's LoRA; the losses."""
    wrapped = by_peft(policy, adapter)
    own = {n: w.detach().clone().requires_grad_() for n, w in adapter.weights.items()}
    logits = [
        [path_logit(wrapped, own, language, tree, node) for node in tree.nodes] for tree in trees
    ]
    value = pair = torch.zeros(())
    leaves = pairs = 0
    for tree, row in zip(trees, logits, strict=True):
        for node, logit in zip(tree.nodes, row, strict=True):
            chance = logit.sigmoid()
            right, wrong = node.target * chance.log(), (1 - node.target) * (1 - chance).log()
            value = value - node.leaves * (right + wrong)
            leaves += node.leaves
        for better, worse in tree_pairs(tree).tolist():
            pair = pair - (row[better] - row[worse]).sigmoid().log()
            pairs += 1
    assert pairs > 3
    (value / leaves + PAIR_WEIGHT * pair / pairs).backward()
    for name in own:
        module, _, kind = name.rpartition(".")
        if kind in ("down", "up"):
            layer = wrapped.get_base_model().base_model.get_submodule(module)
            factors = {"down": layer.lora_A, "up": layer.lora_B}
            own[name].grad = factors[kind]["default"].weight.grad
    gradients = {name: weight.grad for name, weight in own.items()}
    return gradients, value.item() / leaves, pair.item() / pairs


@pytest.mark.parametrize("limit", [8192, 100])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "lora", "checkpoints"])
def test_the_gradient_is_that_of_naive_losses_on_single_paths(
    language: MarkedLanguage, grown: list[Tree], kind: str, limit: int
) -> None:
    policy = toy_model(language, "gpt2" if kind == "gpt2" else "llama")
    policy = adapted(policy) if kind == "lora" else policy
    if kind == "checkpoints":
        policy.gradient_checkpointing_enable({"use_reentrant": False})
    adapter = opinionated(policy, language, limit=limit)
    assert (len(adapter.batches(adapter.read(grown))) > 3) == (limit == 100)
    expected, value, pair = naive_gradient(policy, adapter, language, grown)
    before = weights_of(adapter)
    teacher = trainer(adapter, learning_rate=1.0)
    # Plain descent at rate 1 instead of AdamW's steps: a step is the negative gradient.
    teacher._optimizer = torch.optim.SGD(adapter.weights.values())
    losses = teacher.learn(grown, 1)
    norm = float(torch.cat([one.flatten() for one in expected.values()]).norm())
    rate = min(1.0, 1.0 / norm)  # gradients are clipped
    assert norm > 0.1
    for name, one in expected.items():
        taken = (before[name] - adapter.weights[name].detach()) / rate
        assert torch.allclose(taken, one, atol=1e-5, rtol=1e-4), name
    assert losses["value_head_loss"] == pytest.approx(value, rel=1e-5)
    assert losses["value_head_pair_loss"] == pytest.approx(pair, rel=1e-5)


@pytest.mark.parametrize("lora", [False, True])
def test_nothing_of_it_reaches_the_policy_and_nothing_of_the_policy_it(
    language: MarkedLanguage, toy: PreTrainedModel, grown: list[Tree], lora: bool
) -> None:
    policy = adapted(toy) if lora else copy.deepcopy(toy)
    adapter = adapter_on(policy, language)
    untouched = copy.deepcopy(policy.state_dict())
    trains = [parameter.requires_grad for parameter in policy.parameters()]
    teacher = trainer(adapter, epochs=3)
    teacher.learn(grown, 1)
    assert not adapter.untrained
    after = policy.state_dict()
    assert after.keys() == untouched.keys()
    assert all((after[name] == weight).all() for name, weight in untouched.items())
    assert all(parameter.grad is None for parameter in policy.parameters())
    assert [parameter.requires_grad for parameter in policy.parameters()] == trains
    mine, its = weights_of(adapter), trainable_weights(policy)
    update = updater(policy, language, Accelerator(cpu=True))
    update.step(batch_of(grown, language), np.ones(3), 0.1, "a batch")
    assert any((trainable_weights(policy)[name] != weight).any() for name, weight in its.items())
    assert all((adapter.weights[name] == weight).all() for name, weight in mine.items())


def within(adapter: ValueAdapter, trees: Sequence[Tree]) -> float | None:
    adapter.judge()(trees)
    leaves = [list(tree.leaf_nodes()) for tree in trees]
    scores = [[leaf.value for leaf in row] for row in leaves]
    return auc_within(scores, [[leaf.outcome is True for leaf in row] for row in leaves])


def test_log_probs_come_to_tell_right_from_wrong(
    language: MarkedLanguage, toy: PreTrainedModel
) -> None:
    adapter, unseen = adapter_on(toy, language), telling_trees(1000, 20)
    assert within(adapter, unseen) == pytest.approx(0.5, abs=0.1)
    teacher = trainer(adapter, learning_rate=1e-2)
    for number in range(8):
        teacher.learn(telling_trees(100 * number), number)
    assert within(adapter, unseen) > 0.95


def test_two_and_two_iterations_are_four(
    tmp_path: Path, language: MarkedLanguage, toy: PreTrainedModel
) -> None:
    plays = [telling_trees(100 * n, 4) for n in range(4)]
    straight, stopped, resumed, forgetful = (adapter_on(toy, language, s) for s in (0, 0, 1, 1))
    whole, first, second = trainer(straight), trainer(stopped), trainer(resumed)
    for number, trees in enumerate(plays, start=1):
        whole.learn(trees, number)
    for number in (1, 2):
        first.learn(plays[number - 1], number)
    first.save(tmp_path)
    resumed.load(tmp_path / "model")
    forgetful.load(tmp_path / "model")
    second.load(tmp_path)
    for teacher in (second, trainer(forgetful)):
        for number in (3, 4):
            teacher.learn(plays[number - 1], number)
    assert same_weights(straight, resumed)
    assert not same_weights(straight, forgetful)  # what its optimizer remembers matters


class Rank:
    """One of two ranks in one process, which wait for each other to add up."""

    num_processes = 2

    def __init__(self, index: int, board: list[torch.Tensor], barrier: threading.Barrier) -> None:
        self.process_index, self._board, self._barrier = index, board, barrier

    def reduce(self, tensor: torch.Tensor, how: str) -> torch.Tensor:
        assert how == "sum"
        self._board[self.process_index] = tensor.clone()
        self._barrier.wait(60)
        total = self._board[0] + self._board[1]
        self._barrier.wait(60)
        return total


def test_two_ranks_learn_what_one_does_and_stay_alike(
    language: MarkedLanguage, toy: PreTrainedModel
) -> None:
    trees = telling_trees(0, 7)  # the last step has one tree: a rank without a share
    alone, *pair = (adapter_on(copy.deepcopy(toy), language) for _ in range(3))
    config = ValueAdapterConfig(batch_size=2)
    expected = AdapterTrainer(alone, config, Accelerator(cpu=True)).learn(trees, 1)
    board, barrier = [torch.zeros(0)] * 2, threading.Barrier(2)
    results: list[dict[str, float]] = [{}, {}]

    def run(index: int) -> None:
        rank = Rank(index, board, barrier)
        results[index] = AdapterTrainer(pair[index], config, rank).learn(trees, 1)

    ranks = [threading.Thread(target=run, args=(index,)) for index in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert same_weights(*pair)
    assert results[0] == results[1] == pytest.approx(expected, rel=1e-4)
    for name, weight in alone.weights.items():
        assert torch.allclose(pair[0].weights[name], weight, atol=1e-4), name


def test_a_loss_that_is_not_finite_stops_the_run(
    language: MarkedLanguage, toy: PreTrainedModel
) -> None:
    trees = telling_trees(0, 1)
    trees[0].nodes[3].thought.logprobs[0] = math.nan
    adapter = adapter_on(toy, language)
    before = weights_of(adapter)
    with pytest.raises(RunFailedError, match="iteration 5"):
        trainer(adapter).learn(trees, 5)
    assert all((adapter.weights[name] == weight).all() for name, weight in before.items())
