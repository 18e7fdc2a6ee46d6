"""The update on packed trees against naive losses, one node's own path at a time."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from naive_update import (
    batch_of,
    flat_trees,
    gradient,
    logprob,
    naive_loss,
    play,
    shifted,
    updater,
    wild_trees,
)
from peft import LoraConfig, get_peft_model
from toy_models import KINDS, toy_model
from transformers import PreTrainedModel

from llamao1_cli.config import LearnConfig, SearchConfig
from llamao1_cli.engine.builtin.engine import TreeEngine
from llamao1_cli.errors import RunFailedError
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.language.sampling import Sampling
from llamao1_cli.learn.algorithms import configured_algorithm
from llamao1_cli.learn.experience import experiences
from llamao1_cli.learn.update import trainable_weights
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem

WEIGHTS = np.array([1.0, 0.5, 0.25, 2.0, 0.1])


@pytest.fixture(scope="module")
def toy(language: MarkedLanguage) -> PreTrainedModel:
    return toy_model(language)


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture(scope="module")
def grown(language: MarkedLanguage, toy: PreTrainedModel) -> list[Tree]:
    return play(toy, language)


def adapted(model: PreTrainedModel) -> PreTrainedModel:
    """The model with LoRA whose adapters do something."""
    torch.manual_seed(0)
    adapter = LoraConfig(r=4, lora_dropout=0.5, target_modules=["q_proj", "v_proj"])
    model = get_peft_model(model, adapter)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def assert_naive_gradient(
    model: PreTrainedModel,
    language: MarkedLanguage,
    accelerator: Accelerator,
    trees: list[Tree],
    reference: PreTrainedModel | None = None,
    temperature: float = 1.0,
    **changes: object,
) -> None:
    """The update's gradient, losses and TD errors are those of `naive_loss`."""
    config, weights = LearnConfig(**changes), WEIGHTS[: len(trees)]
    naive = copy.deepcopy(model).eval()
    loss, errors = naive_loss(naive, language, trees, weights, temperature, config, reference)
    loss.backward()
    update = updater(model, language, accelerator, Sampling(temperature=temperature), **changes)
    update.reference = trainable_weights(reference) if reference else None
    batch, result = batch_of(trees, language, **changes), []
    taken = gradient(model, lambda: result.extend(update.step(batch, weights, 1.0, "a batch")))
    expected = {n: p.grad for n, p in naive.named_parameters() if p.requires_grad}
    assert taken.keys() == expected.keys()
    for name, one in expected.items():
        assert torch.allclose(taken[name], one, atol=1e-5), name
    metrics, got = result
    assert got.tolist() == pytest.approx(errors, abs=1e-5)
    assert len({round(error, 6) for error in errors}) == len(trees)  # one for all would be seen
    parts = metrics["policy_loss"] + config.value_weight * metrics["value_loss"]
    parts += config.kl_weight * metrics.get("kl_reference", 0.0)
    assert parts == pytest.approx(loss.item(), rel=1e-5, abs=1e-5)
    norm = torch.cat([one.flatten() for one in expected.values()]).norm()
    assert float(norm) > 0.01
    assert metrics["grad_norm"] == pytest.approx(float(norm), rel=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("kl_weight", [0.0, 0.3])
def test_the_gradient_is_that_of_naive_losses_on_single_paths(
    language: MarkedLanguage,
    accelerator: Accelerator,
    toy: PreTrainedModel,
    grown: list[Tree],
    temperature: float,
    kl_weight: float,
) -> None:
    reference = toy_model(language, seed=1) if kl_weight else None
    model = copy.deepcopy(toy)
    trees = shifted(grown)
    changes = {"kl_weight": kl_weight, "micro_batch_tokens": 300}
    assert_naive_gradient(model, language, accelerator, trees, reference, temperature, **changes)
    update = updater(copy.deepcopy(toy), language, accelerator)
    metrics, _ = update.step(batch_of(trees, language), WEIGHTS[:4], 0.0, "a batch")
    assert 0 < metrics["clip_fraction"] < 1


@pytest.mark.parametrize("limit", [8192, 60])
@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "grpo"},
        {"algorithm": "grpo", "group_std": False, "clip": 0.1, "clip_high": 0.3},
        {"algorithm": "k15"},
        {"algorithm": "k15", "mirror_weight": 0.02, "length_weight": 0.5},
        {"algorithm": "expert_iteration"},
    ],
    ids=str,
)
def test_every_algorithm_learns_as_its_naive_loss_does(
    language: MarkedLanguage,
    accelerator: Accelerator,
    toy: PreTrainedModel,
    changes: dict,
    limit: int,
) -> None:
    """Also where the limit splits the trees between solutions that begin alike."""
    trees = shifted(flat_trees(language, 3))
    model, changes = copy.deepcopy(toy), changes | {"micro_batch_tokens": limit}
    assert_naive_gradient(model, language, accelerator, trees, **changes)


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_learns_from_packed_trees(
    language: MarkedLanguage, accelerator: Accelerator, kind: str
) -> None:
    trees, model = wild_trees(language, 3), toy_model(language, kind)
    before = model.config.to_dict(), model.config._attn_implementation
    assert_naive_gradient(model, language, accelerator, trees, micro_batch_tokens=400)
    assert (model.config.to_dict(), model.config._attn_implementation) == before


@pytest.mark.parametrize("changes", [{}, {"checkpoint_activations": True}], ids=str)
@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_adapters_learn_from_packed_trees(
    language: MarkedLanguage, accelerator: Accelerator, kind: str, changes: dict
) -> None:
    model = adapted(toy_model(language, kind))
    assert_naive_gradient(model, language, accelerator, wild_trees(language, 3), **changes)


def test_accumulation_changes_nothing(
    language: MarkedLanguage, accelerator: Accelerator, toy: PreTrainedModel
) -> None:
    """Neither do trees that are split between their branches: the last limit is below a path."""
    batch, results, gradients = batch_of(wild_trees(language, 5, 16), language), [], []
    sizes = [len(item.ids) for item in batch]
    assert min(sizes) > 20
    assert max(sizes) > 120
    for limit in (8192, 400, 120, 20):
        model = copy.deepcopy(toy)
        update = updater(model, language, accelerator, micro_batch_tokens=limit)
        gradients.append(
            gradient(model, lambda u=update: results.append(u.step(batch, WEIGHTS, 1.0, "a batch")))
        )
    for other, (metrics, errors) in zip(gradients[1:], results[1:], strict=True):
        for name, whole in gradients[0].items():
            assert torch.allclose(other[name], whole, atol=1e-6), name
        assert errors.tolist() == pytest.approx(results[0][1].tolist(), abs=1e-6)
        assert metrics == pytest.approx(results[0][0], abs=1e-5)


SEARCHES = [
    {},
    {"temperature": 0.7},
    {"temperature": 1.6},
    {"meta_actions": "matrix"},
    {"meta_actions": "matrix", "hints": "answer"},
    {"algorithm": "forks"},
    {"rollout": False},
    {"min_thought_tokens": 3},
    {"top_k": 4},
    {"top_p": 0.6, "temperature": 1.3},
]


def test_checkpointed_activations_change_no_gradient(
    language: MarkedLanguage, accelerator: Accelerator, toy: PreTrainedModel
) -> None:
    batch = batch_of(play(toy, language), language)
    taken, kept = [], []
    for checkpointed in (False, True):
        model = copy.deepcopy(toy)
        update = updater(model, language, accelerator, checkpoint_activations=checkpointed)
        saved = [0]

        def count(tensor: torch.Tensor, saved: list[int] = saved) -> torch.Tensor:
            saved[0] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            step = partial(update.step, batch, np.ones(len(batch)), 1.0, "a batch")
            taken.append(gradient(model, step))
        kept.append(saved[0])
        assert not any(m.training for m in model.modules() if isinstance(m, torch.nn.Dropout))
    for name, expected in taken[0].items():
        assert torch.allclose(taken[1][name], expected, atol=1e-6), name
    assert kept[1] < 0.7 * kept[0]


@pytest.mark.parametrize("changes", SEARCHES, ids=str)
def test_before_any_step_the_ratio_is_one(
    language: MarkedLanguage, accelerator: Accelerator, toy: PreTrainedModel, changes: dict
) -> None:
    model = copy.deepcopy(toy)
    search = SearchConfig(**changes)
    batch = batch_of(play(model, language, **changes), language, search.min_thought_tokens)
    update = updater(model, language, accelerator, search.sampling)
    metrics, errors = update.step(batch, np.ones(len(batch)), 0.0, "a batch")
    assert metrics["log_ratio_max"] < 1e-4
    assert metrics["logprob_gap"] < 1e-4
    assert abs(metrics["kl_behaviour"]) < 1e-6
    assert metrics["clip_fraction"] == 0.0
    assert metrics["tokens"] == sum(len(item.actions.at) for item in batch) > 50
    assert len(errors) == len(batch)


def test_the_wrong_temperature_would_show(
    language: MarkedLanguage, accelerator: Accelerator, toy: PreTrainedModel
) -> None:
    model = copy.deepcopy(toy)
    batch = batch_of(play(model, language, temperature=0.7), language)
    metrics, _ = updater(model, language, accelerator).step(batch, np.ones(len(batch)), 0.0, "it")
    assert metrics["log_ratio_max"] > 0.1


def test_the_trained_value_is_the_one_the_engine_read(
    language: MarkedLanguage, accelerator: Accelerator, toy: PreTrainedModel
) -> None:
    problems = [Problem("p", "How many?", "7")]
    engine = TreeEngine(toy, language, dtype=torch.float32, rows=16, memory=2**28, max_length=256)
    search = SearchConfig(simulations=1, candidates=1, max_depth=4, max_thought_tokens=6)
    (tree,) = grow(SearchRequest(problems, search, [5]), engine, language)
    rectify(tree, 1.0, "rating")
    for node in tree.nodes:
        node.target = node.thought.rating  # so that the error is the distance of the two values
    (item,) = experiences([tree], language, LearnConfig(), 1.0)
    assert len(item.ratings.at) == len(tree.nodes) >= 3
    _, errors = updater(copy.deepcopy(toy), language, accelerator).step(
        [item], np.ones(1), 0.0, "a batch"
    )
    assert errors[0] < 1e-5


@pytest.mark.parametrize("lora", [False, True])
def test_after_a_step_the_ratio_and_the_reference_kl_move(
    language: MarkedLanguage, accelerator: Accelerator, toy: PreTrainedModel, lora: bool
) -> None:
    model = copy.deepcopy(toy)
    if lora:
        model = adapted(model)  # the reference has an adapter too
        model.train()
    batch = batch_of(play(model, language), language)
    update = updater(model, language, accelerator, kl_weight=0.1)
    update.reference = trainable_weights(model)
    kept = {name: weight.clone() for name, weight in update.reference.items()}
    ones = np.ones(len(batch))
    first, _ = update.step(batch, ones, 0.02, "a batch")
    second, _ = update.step(batch, ones, 0.02, "a batch")
    third, _ = update.step(batch, ones, 0.02, "a batch")
    assert first["log_ratio_max"] < 1e-4  # dropout would show here
    assert abs(first["kl_reference"]) < 1e-6
    assert second["log_ratio_max"] > 1e-3
    assert second["kl_reference"] > 1e-5
    assert third["kl_reference"] > 1e-5
    assert second["kl_behaviour"] > 1e-5
    assert all(torch.equal(update.reference[name], weight) for name, weight in kept.items())
    assert any(
        not torch.equal(weight, kept[name]) for name, weight in trainable_weights(model).items()
    )


def test_a_step_raises_what_was_good_and_lowers_what_was_bad(
    language: MarkedLanguage, accelerator: Accelerator, toy: PreTrainedModel, grown: list[Tree]
) -> None:
    model, batch = copy.deepcopy(toy), batch_of(grown, language)
    update = updater(model, language, accelerator, value_weight=0.0)
    update.step(batch, np.ones(len(batch)), 0.02, "a batch")
    gains = []
    for tree in grown:
        credit = configured_algorithm(LearnConfig()).advantages(tree, 0.9)
        for node in tree.nodes[1:]:
            with torch.no_grad():
                logits = model(torch.tensor([tree.path_ids(node, language)])).logits[0]
            for index, sampled in enumerate(node.thought.logprobs):
                move = float(logprob(logits, node, index, language, 1.0)) - sampled
                gains.append((credit[node.id], move))
    credits, moves = np.array(gains).T
    assert moves[credits > 0.5].mean() > 0 > moves[credits < -0.5].mean()


@pytest.mark.parametrize("broken", ["logprob", "advantage", "target"])
def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_weights(
    language: MarkedLanguage,
    accelerator: Accelerator,
    toy: PreTrainedModel,
    grown: list[Tree],
    broken: str,
) -> None:
    model, fresh = copy.deepcopy(toy), batch_of(grown, language)
    group = "ratings" if broken == "target" else "actions"
    arrays = getattr(fresh[2], group)
    bad = replace(arrays, **{broken: np.full_like(getattr(arrays, broken), np.nan)})
    batch = [*fresh[:2], replace(fresh[2], **{group: bad}), *fresh[3:]]
    before, weights = trainable_weights(model), WEIGHTS[: len(batch)]
    update = updater(model, language, accelerator, micro_batch_tokens=300)
    with pytest.raises(RunFailedError, match="iteration 3, trees"):
        update.step(batch, weights, 1.0, "iteration 3, trees [0, 1]")
    for name, weight in trainable_weights(model).items():
        assert torch.equal(weight, before[name])
    update.step(fresh, weights, 1.0, "a batch")  # nothing of it is left in the gradients
    assert all(torch.isfinite(weight).all() for weight in trainable_weights(model).values())


def test_gradients_are_clipped_to_the_configured_norm(
    language: MarkedLanguage, accelerator: Accelerator, toy: PreTrainedModel, grown: list[Tree]
) -> None:
    model, rate, batch = copy.deepcopy(toy), 0.5, batch_of(grown, language)
    update = updater(model, language, accelerator, max_grad_norm=1e-3)
    taken = gradient(model, lambda: update.step(batch, WEIGHTS[:4], rate, "a batch"))
    norm = torch.cat([change.flatten() for change in taken.values()]).norm()
    assert float(norm) == pytest.approx(rate * 1e-3, rel=0.02)
