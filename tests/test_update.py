"""The update against naive losses, one path at a time and without padding."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from naive_update import gradient, logprob, naive_loss, play, updater
from peft import LoraConfig, get_peft_model
from toy_models import toy_model
from transformers import PreTrainedModel

from llamao1_cli.codec import Codec
from llamao1_cli.config import LearnConfig, SearchConfig
from llamao1_cli.engine.protocol import Sampling
from llamao1_cli.engine.tree import TreeEngine
from llamao1_cli.errors import RunFailedError
from llamao1_cli.experience import Experience, experiences
from llamao1_cli.search.grow import grow, rectify
from llamao1_cli.tasks.problem import Problem
from llamao1_cli.update import trainable_weights

WEIGHTS = np.array([1.0, 0.5, 0.25, 2.0, 0.1, 1.0, 0.7, 0.3])


@pytest.fixture(scope="module")
def toy(codec: Codec) -> PreTrainedModel:
    return toy_model(codec)


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture(scope="module")
def fresh(codec: Codec, toy: PreTrainedModel) -> list[Experience]:
    return play(toy, codec)


def shifted(batch: list[Experience]) -> list[Experience]:
    """As if other weights had sampled the batch, so that some ratios are clipped."""
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 0.3, len(item.ids)).astype(np.float32) for item in batch]
    return [
        replace(e, logprob=np.where(e.action, e.logprob + n, 0).astype(np.float32))
        for e, n in zip(batch, noise, strict=True)
    ]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("kl_weight", [0.0, 0.3])
def test_the_gradient_is_that_of_naive_losses_without_padding(
    codec: Codec,
    accelerator: Accelerator,
    toy: PreTrainedModel,
    fresh: list[Experience],
    temperature: float,
    kl_weight: float,
) -> None:
    batch, changes = shifted(fresh[:8]), {"kl_weight": kl_weight, "micro_batch_size": 3}
    reference = toy_model(codec, seed=1) if kl_weight else None
    naive, model = copy.deepcopy(toy), copy.deepcopy(toy)
    config = LearnConfig(**changes)
    loss, errors = naive_loss(naive, codec, batch, WEIGHTS, temperature, config, reference)
    loss.backward()
    update = updater(model, codec, accelerator, Sampling(temperature=temperature), **changes)
    update.reference = trainable_weights(reference) if reference else None
    result = []
    taken = gradient(model, lambda: result.extend(update.step(batch, WEIGHTS, 1.0, "a batch")))
    for name, parameter in naive.named_parameters():
        assert torch.allclose(taken[name], parameter.grad, atol=1e-5), name
    metrics, got = result
    assert got.tolist() == pytest.approx(errors, abs=1e-5)
    assert len(set(errors)) > 4  # one error for all would be seen
    parts = metrics["policy_loss"] + 0.25 * metrics["value_loss"]
    parts += kl_weight * metrics.get("kl_reference", 0.0)
    assert parts == pytest.approx(loss.item(), abs=1e-4)
    assert 0 < metrics["clip_fraction"] < 1
    norm = torch.cat([p.grad.flatten() for p in naive.parameters()]).norm()
    assert metrics["grad_norm"] == pytest.approx(float(norm), rel=1e-4)


def test_accumulation_changes_nothing(
    codec: Codec, accelerator: Accelerator, toy: PreTrainedModel, fresh: list[Experience]
) -> None:
    batch, results, gradients = shifted(fresh[:8]), [], []
    for size in (8, 2, 1):
        model = copy.deepcopy(toy)
        update = updater(model, codec, accelerator, micro_batch_size=size)
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
    codec: Codec, accelerator: Accelerator, toy: PreTrainedModel
) -> None:
    batch = play(toy, codec)
    taken, kept = [], []
    for checkpointed in (False, True):
        model = copy.deepcopy(toy)
        update = updater(model, codec, accelerator, checkpoint_activations=checkpointed)
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
    codec: Codec, accelerator: Accelerator, toy: PreTrainedModel, changes: dict
) -> None:
    model = copy.deepcopy(toy)
    batch = play(model, codec, **changes)
    update = updater(model, codec, accelerator, SearchConfig(**changes).sampling)
    metrics, errors = update.step(batch, np.ones(len(batch)), 0.0, "a batch")
    assert metrics["log_ratio_max"] < 1e-4
    assert metrics["logprob_gap"] < 1e-4
    assert abs(metrics["kl_behaviour"]) < 1e-6
    assert metrics["clip_fraction"] == 0.0
    assert metrics["tokens"] == sum(item.action.sum() for item in batch)
    assert len(errors) == len(batch)


def test_the_wrong_temperature_would_show(
    codec: Codec, accelerator: Accelerator, toy: PreTrainedModel
) -> None:
    model = copy.deepcopy(toy)
    batch = play(model, codec, temperature=0.7)
    metrics, _ = updater(model, codec, accelerator).step(batch, np.ones(len(batch)), 0.0, "it")
    assert metrics["log_ratio_max"] > 0.1


def test_the_trained_value_is_the_one_the_engine_read(
    codec: Codec, accelerator: Accelerator, toy: PreTrainedModel
) -> None:
    problems = [Problem("p", "How many?", "7")]
    engine = TreeEngine(toy, codec, dtype=torch.float32, rows=16, memory=2**28, max_length=256)
    search = SearchConfig(simulations=1, candidates=1, max_depth=4, max_thought_tokens=6)
    (tree,) = grow(problems, [5], engine, codec, search, grade=None)
    rectify(tree, 1.0, "rating")
    for node in tree.nodes:
        node.target = node.thought.value  # so that the error is the distance of the two values
    (item,) = experiences([tree], codec, LearnConfig(), 1.0)
    assert np.count_nonzero(item.rated) == len(tree.nodes) >= 3
    _, errors = updater(copy.deepcopy(toy), codec, accelerator).step(
        [item], np.ones(1), 0.0, "a batch"
    )
    assert errors[0] < 1e-5


@pytest.mark.parametrize("lora", [False, True])
def test_after_a_step_the_ratio_and_the_reference_kl_move(
    codec: Codec, accelerator: Accelerator, toy: PreTrainedModel, lora: bool
) -> None:
    model = copy.deepcopy(toy)
    if lora:
        torch.manual_seed(0)
        adapter = LoraConfig(r=4, lora_dropout=0.5, target_modules=["q_proj", "v_proj"])
        model = get_peft_model(model, adapter)
        model.train()
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)  # the reference has an adapter too
    batch = play(model, codec)
    update = updater(model, codec, accelerator, kl_weight=0.1)
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
    codec: Codec, accelerator: Accelerator, toy: PreTrainedModel, fresh: list[Experience]
) -> None:
    model = copy.deepcopy(toy)
    updater(model, codec, accelerator, value_weight=0.0).step(
        fresh, np.ones(len(fresh)), 0.02, "a batch"
    )
    gains = []
    for item in fresh:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor(item.ids[None].astype(np.int64))).logits[0]
        gains += [
            (
                float(item.advantage[t]),
                float(logprob(logits, item, t, codec, 1.0)) - item.logprob[t],
            )
            for t in np.flatnonzero(item.action)
        ]
    advantages, moves = np.array(gains).T
    assert moves[advantages > 0.5].mean() > 0 > moves[advantages < -0.5].mean()


@pytest.mark.parametrize("broken", ["logprob", "advantage", "target"])
def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_weights(
    codec: Codec,
    accelerator: Accelerator,
    toy: PreTrainedModel,
    fresh: list[Experience],
    broken: str,
) -> None:
    model = copy.deepcopy(toy)
    array = np.full(len(fresh[2].ids), np.nan, np.float32)
    batch = [*fresh[:2], replace(fresh[2], **{broken: array}), *fresh[3:8]]
    before = trainable_weights(model)
    update = updater(model, codec, accelerator, micro_batch_size=2)
    with pytest.raises(RunFailedError, match="iteration 3, experiences"):
        update.step(batch, WEIGHTS, 1.0, "iteration 3, experiences [0, 1]")
    for name, weight in trainable_weights(model).items():
        assert torch.equal(weight, before[name])
    update.step(fresh[:8], WEIGHTS, 1.0, "a batch")  # nothing of it is left in the gradients
    assert all(torch.isfinite(weight).all() for weight in trainable_weights(model).values())


def test_gradients_are_clipped_to_the_configured_norm(
    codec: Codec, accelerator: Accelerator, toy: PreTrainedModel, fresh: list[Experience]
) -> None:
    model, rate = copy.deepcopy(toy), 0.5
    update = updater(model, codec, accelerator, max_grad_norm=1e-3)
    taken = gradient(model, lambda: update.step(fresh[:8], WEIGHTS, rate, "a batch"))
    norm = torch.cat([change.flatten() for change in taken.values()]).norm()
    assert float(norm) == pytest.approx(rate * 1e-3, rel=0.02)
