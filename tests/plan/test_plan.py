"""The plan's arithmetic against worked examples, its bytes against real tensors."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_engine import shaped_tree
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from llamao1_cli.cli.main import app
from llamao1_cli.config import LearnConfig
from llamao1_cli.config.file import load_config
from llamao1_cli.distributed.optimizer_state import optimizer_tensors
from llamao1_cli.distributed.optimizer_step import make_optimizer
from llamao1_cli.errors import UserError
from llamao1_cli.files.manifest import write_manifest
from llamao1_cli.learn.credit import has_signal
from llamao1_cli.model.load import load_model
from llamao1_cli.plan.measure import rates_from_runs
from llamao1_cli.plan.memory import ModelShape, activation_bytes, memory, paths_held, replay_trees
from llamao1_cli.plan.model_shape import model_shape
from llamao1_cli.plan.prediction import (
    Layout,
    Rates,
    Work,
    affine,
    all_reduce,
    layouts,
    predict,
    rates_of_run,
)
from llamao1_cli.run import commands
from llamao1_cli.run.assembly import assemble
from llamao1_cli.run.tree_source import lacking
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.load import load_task

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"
RATES = Rates(start=2.0, each=0.5, update=0.25, rest=1.0, tokens=100.0, tree_bytes=1000.0)
# 10 steps of 4 trees; 1 GB of gradients a step, 1 GB to each actor.
WORK = Work(
    problems=40, draws=1.0, batch_size=4, gradient_bytes=10**9, weight_bytes=10**9, bandwidth=1e10
)


def tree(*outcomes: bool) -> Tree:
    """A tree whose leaves, all below the root, are right or wrong."""
    made = shaped_tree([0] * len(outcomes), dict(enumerate(outcomes, start=1)))
    rectify(made, 1.0, "failure")
    return made


MIXED, WRONG = tree(True, False), tree(False, False)


def test_one_process() -> None:
    plan = predict(RATES, WORK, Layout("one", 1))
    # 2 + 40 / 2 to play, 40 / 4 to learn, 1 for the rest, nothing to send
    assert (plan.rollout, plan.update, plan.sending, plan.iteration) == (22.0, 10.0, 0.0, 33.0)
    assert plan.tokens_per_second == pytest.approx(4000 / 33)
    assert plan.bottleneck == "rollout"


def test_ranks_share_rollout_and_update_and_sum_gradients() -> None:
    plan = predict(RATES, WORK, Layout("four", 4))
    # 2 + 10 / 2 to play, 10 / 4 to learn, 10 steps of 2 * 3/4 * 0.1 s
    assert (plan.rollout, plan.update) == (7.0, 2.5)
    assert plan.sending == pytest.approx(1.5)
    assert plan.iteration == pytest.approx(12.0)


def test_actors_in_turn_and_ahead() -> None:
    turn = predict(RATES, WORK, Layout("turn", 1, 3))
    # 14 of 40 problems for the busiest of three actors: 2 + 7; 3 actors get 0.1 s of weights each
    assert (turn.rollout, turn.update) == (9.0, 10.0)
    assert turn.sending == pytest.approx(0.3)
    assert turn.iteration == pytest.approx(20.3)
    ahead = predict(RATES, WORK, Layout("ahead", 1, 3, ahead=True))
    assert ahead.iteration == pytest.approx(11.3)
    assert ahead.bottleneck == "update"
    slow = predict(RATES, WORK, Layout("ahead", 1, 1, ahead=True))
    assert slow.iteration == 22.0
    assert slow.bottleneck == "rollout"


def test_problems_without_a_signal_are_replaced_round_by_round() -> None:
    work = replace(WORK, resample_limit=4)
    assert WORK.rounds(0.5) == [40]
    assert WORK.taught(0.5) == 40  # whatever they are worth
    assert work.rounds(1.0) == [40]
    assert work.rounds(0.5) == [40, 20, 10, 5, 2, 1, 1]
    assert (work.rounds(0.0), work.taught(0.0)) == ([40, 40, 40, 40], 0)
    assert (work.rounds(0.1), work.taught(0.1)) == ([40, 36, 32, 29, 23], 16)
    assert replace(work, resample_limit=1).taught(0.5) == 20


@given(
    problems=st.integers(1, 200),
    limit=st.integers(1, 6),
    signal=st.floats(0, 1),
    seed=st.integers(),
)
def test_rounds_are_those_that_an_iteration_plays(
    problems: int, limit: int, signal: float, seed: int
) -> None:
    """With as many signals as expected: see run/tree_source.py."""
    work = replace(WORK, problems=problems, resample_limit=limit)
    learn = LearnConfig(problems=problems, resample=True, resample_limit=limit)
    trees: list[Tree] = []
    for size in work.rounds(signal):
        found = math.floor(signal * (len(trees) + size) + 0.5) - sum(map(has_signal, trees))
        trees += [MIXED] * found + [WRONG] * (size - found)
    assert lacking(trees, learn) == 0
    assert len(trees) == sum(work.rounds(signal)) <= problems * limit
    assert sum(map(has_signal, trees)) == work.taught(signal) <= problems


def test_what_is_replaced_costs_a_rollout_of_its_own() -> None:
    plan = predict(replace(RATES, signal=0.5), replace(WORK, resample_limit=2), Layout("two", 2))
    # 40, 20, 10, 5, 2, 1, 1 problems, two at a time, each round 2 s and half a second a problem
    assert plan.played == 79
    assert plan.rollout == 7 * 2.0 + (20 + 10 + 5 + 3 + 1 + 1 + 1) * 0.5
    assert plan.update == 40 * 0.25 / 2
    alone = predict(replace(RATES, signal=0.5), WORK, Layout("two", 2))
    assert (alone.played, alone.rollout, alone.update) == (40, 12.0, 5.0)


@given(ranks=st.integers(1, 9))
def test_a_ring_sums_what_every_rank_has(ranks: int) -> None:
    """Counted link by link: the ring passes N - 1 parts on twice, each 1/N of the whole."""
    sent = sum(1 / ranks for _ in range(2) for _ in range(ranks - 1))
    assert all_reduce(100, ranks, 10.0) == pytest.approx(10 * sent)


@given(
    start=st.floats(0, 10), each=st.floats(0.01, 10), few=st.integers(1, 9), more=st.integers(1, 50)
)
def test_a_line_is_found_again(start: float, each: float, few: int, more: int) -> None:
    many = few + more
    found = affine((few, start + few * each), (many, start + many * each))
    assert found == pytest.approx((start, each), abs=1e-6)


@given(quick=st.floats(0.1, 10), slow=st.floats(0.1, 10))
def test_a_line_has_no_negative_part(quick: float, slow: float) -> None:
    start, each = affine((2, quick), (8, slow))
    assert min(start, each) >= 0
    assert start + 8 * each == pytest.approx(slow)


def test_one_size_has_no_start() -> None:
    assert affine((1, 3.0), (1, 2.0)) == (0.0, 2.0)


@given(gpus=st.integers(1, 64))
def test_layouts_use_all_gpus(gpus: int) -> None:
    found = layouts(gpus)
    assert all(layout.gpus == gpus and layout.ranks >= 1 for layout in found)
    assert len({layout.name for layout in found}) == len(found)


def test_rates_are_medians_without_the_first_iteration() -> None:
    times = [(9.0, 9.0), (4.0, 1.0), (6.0, 1.5), (8.0, 2.0)]
    rows = [
        {
            "generated_tokens": 800.0,
            "played_problems": 8.0,
            "signal_problems": 6.0,
            "experiences": 7.0,
            "seconds": {"rollout": r, "grading": 0.4, "update": u, "iteration": r + u + 1.0},
        }
        for r, u in times
    ]
    rates = rates_of_run(rows, draws=2.0, tree_bytes=5.0)
    assert rates.each == pytest.approx(6.4 / 8)
    assert rates.update == pytest.approx(1.5 / 14)
    assert rates.signal == 0.75
    assert rates.rest == pytest.approx(0.6)
    assert (rates.start, rates.tokens, rates.tree_bytes) == (0.0, 100.0, 5.0)


SHAPE = ModelShape(
    parameters=1000, trainable=100, layers=2, hidden=8, heads=2, head_width=4, vocabulary=10,
    itemsize=2, trained_itemsize=2, rollout_itemsize=4,
)  # fmt: skip


def test_memory_by_hand() -> None:
    found = memory(
        SHAPE, reference=True, micro_batch_tokens=3, checkpointed=False, cache=5000, trees=7,
        tree_bytes=11.0,
    )  # fmt: skip
    assert (found.weights, found.gradients, found.optimizer, found.reference) == (
        2000,
        400,  # 4 bytes each: gradients, two moments, a copy
        1200,
        200,
    )
    # a token: 2 layers of 34 * 8 bytes at 16 bits, and logits and gradient of 10 words in fp32
    assert found.activations == 3 * (2 * 34 * 8 + 80)
    assert (found.rollout_copy, found.cache, found.replay) == (4000, 5000, 77)
    assert found.learner == 3800 + found.activations + 9000
    assert found.sharded(4) == 950 + found.activations + 9000
    assert found.actor == 11_000
    # keys and values: 2 kinds * 2 layers * 2 heads * 4 wide * 4 bytes
    assert SHAPE.token_bytes == 128
    assert paths_held(SHAPE, 5000, 10) == 3
    assert activation_bytes(SHAPE, 3, checkpointed=True) == 3 * (2 * 2 * 8 + 34 * 8 + 80)
    assert replay_trees(32, 3, 100) == 100
    assert replay_trees(32, 0, 100) == 32


@pytest.mark.parametrize("lora", ["null", "{rank: 2, alpha: 4}"])
def test_the_shape_is_that_of_the_model_that_is_made(lora: str) -> None:
    config = load_config(TINY, [f"model.lora={lora}", "engine.dtype=bfloat16"])
    shape = model_shape(config)
    model = load_model(config.model, load_task(config.task).corpus(), 0).model
    base = model.get_base_model() if lora != "null" else model
    adapters = sum(p.numel() for n, p in model.named_parameters() if ".lora_" in n)
    tokens = sum(p.numel() for n, p in model.named_parameters() if "trainable_tokens" in n)
    missing = shape.vocabulary - base.config.vocab_size  # the corpus has fewer words than allowed
    assert missing >= 0
    made = sum(p.numel() for p in model.parameters()) - adapters - tokens
    assert shape.parameters == made + missing * shape.hidden
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad) - tokens
    assert shape.trainable == trained + (missing * shape.hidden if lora == "null" else 0)
    assert (shape.itemsize, shape.trained_itemsize, shape.rollout_itemsize) == (4, 4, 2)


@pytest.mark.parametrize("lora", ["null", "{rank: 2, alpha: 4}"])
def test_the_optimizer_is_that_of_the_types_that_train(lora: str) -> None:
    config = load_config(TINY, [f"model.lora={lora}", "model.dtype=bfloat16"])
    parts = assemble(config)
    parts.verifier.close()
    model = parts.language_model.model
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = make_optimizer(model, (0.9, 0.98), 0.0)
    for weight in trained:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    state = optimizer_tensors(optimizer)
    held = sum(value.nbytes for name, value in state.items() if "step" not in name)
    shape = model_shape(config)
    planned = memory(
        shape, reference=False, micro_batch_tokens=1, checkpointed=False, cache=0, trees=0,
        tree_bytes=0.0,
    )  # fmt: skip
    counted = sum(p.numel() for p in trained)
    assert held == pytest.approx(planned.optimizer * counted / shape.trainable)
    assert {p.element_size() for p in trained} == {shape.trained_itemsize}


def test_a_plan_from_a_run(tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "plan.json"
    settings = [f"run.dir={run}", "eval.strategies=[greedy]", "eval.problems=1"]
    config = load_config(TINY, settings)
    commands.train(config, trees=None, resume=False, overwrite=False)
    done = CliRunner().invoke(
        app, ["plan", "--run", str(run), "--from", str(run), "--gpus", "4", "--json", str(out)]
    )
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    one = predict(rates_from_runs([run]), WORK, Layout("one", 1))
    assert result["rates"]["tokens"] == last["generated_tokens"] / 4
    assert one.rollout == pytest.approx(
        10 * (last["seconds"]["rollout"] + last["seconds"]["grading"])
    )
    assert {layout["gpus"] for layout in result["layouts"]} == {4}
    # What AdamW saved beside its step counters is what the plan says, but for words not in use.
    point = run / "checkpoints" / "iteration-000002"
    saved = (point / "optimizer.safetensors").stat().st_size
    assert saved == pytest.approx(result["memory"]["optimizer"], rel=0.2)
    replay = (point / "replay-0.safetensors").stat().st_size
    assert result["memory"]["replay"] == pytest.approx(replay, rel=1e-3)


def test_a_plan_measured_here(tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    command = ["plan", "--config", str(TINY), "--json", str(out), "--set", "learn.problems=2"]
    torch.manual_seed(0)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    assert [layout["gpus"] for layout in result["layouts"]] == [1]
    assert result["layouts"][0]["iteration"] > 0
    assert math.isfinite(result["rates"]["tree_bytes"])


def test_a_plan_counts_the_problems_that_replace_others(tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    command = ["plan", "--config", str(TINY), "--json", str(out), "--gpus", "2"]
    changes = "learn.problems=2", "learn.resample=true", "learn.resample_limit=3"
    done = CliRunner().invoke(app, command + [part for each in changes for part in ("--set", each)])
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    work = replace(WORK, problems=2, resample_limit=3)
    rounds = work.rounds(result["rates"]["signal"])
    assert {layout["played"] for layout in result["layouts"]} == {sum(rounds)}
    assert f"{sum(rounds)} problems in {len(rounds)} rounds" in " ".join(done.output.split())
    assert not any(layout["layout"]["ahead"] for layout in result["layouts"])


def test_a_run_that_has_not_played_gives_no_rates(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        rates_from_runs([tmp_path])


def test_two_runs_tell_the_start_of_a_rollout(tmp_path: Path) -> None:
    for problems, seconds in ((4, 5.0), (12, 9.0)):  # 3 s and half a second a problem
        run = tmp_path / str(problems)
        point = run / "checkpoints" / "iteration-000001"
        point.mkdir(parents=True)
        write_manifest(point)
        (run / "config.yaml").write_text(f"learn: {{problems: {problems}}}")
        times = {"rollout": seconds, "grading": 0.0, "update": 1.0, "iteration": seconds + 1.5}
        counts = dict.fromkeys(("played_problems", "signal_problems", "experiences"), problems)
        row = {"stage": "self-play", "generated_tokens": 100.0 * problems, "seconds": times}
        row |= counts
        (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    rates = rates_from_runs([tmp_path / "12", tmp_path / "4"])
    assert (rates.start, rates.each) == pytest.approx((3.0, 0.5))
    assert rates.update == pytest.approx(1 / 24)  # each problem's tree is learned from twice
    assert rates.rest == pytest.approx(0.5)


# Parameters, those of LoRA of rank 16 on every linear layer, layers, width, key/value heads and
# their width, vocabulary.
KNOWN = {
    "SmolLM2-135M": (134_515_008, 30 * 162_816, 30, 576, 3, 64, 49_152),
    "Qwen2.5-1.5B": (1_543_714_304, 28 * 659_456, 28, 1536, 2, 128, 151_936),
    "Qwen2.5-7B": (7_615_616_512, 28 * 1_441_792, 28, 3584, 4, 128, 152_064),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("trained", ["LoRA 16", "all"])
def test_the_table_of_the_documentation_is_current(name: str, trained: str) -> None:
    parameters, adapter, *rest = KNOWN[name]
    trainable = adapter if trained == "LoRA 16" else parameters
    shape = ModelShape(
        parameters, trainable, *rest, itemsize=2,
        trained_itemsize=4 if trained == "LoRA 16" else 2, rollout_itemsize=2,
    )  # fmt: skip
    found = memory(
        shape, reference=False, micro_batch_tokens=8192, checkpointed=True, cache=8 * 2**30,
        trees=1, tree_bytes=0.0,
    )  # fmt: skip
    sizes = (
        found.weights,
        found.gradients + found.optimizer,
        found.activations,
        found.rollout_copy,
        found.learner,
        found.sharded(8),
        found.actor,
    )
    cells = [f"{size / 2**30:.1f}" for size in sizes] + [f"{paths_held(shape, found.cache, 1024)}"]
    row = " | ".join(["", name, trained, *cells, ""]).strip()
    assert row in (TINY.parent.parent / "docs" / "scaling.md").read_text(encoding="utf-8")
