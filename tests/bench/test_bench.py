"""The bench: every variant does the same work and gives true figures; the table and JSON agree."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from toy_models import toy_model
from typer.testing import CliRunner

from llamao1_cli.bench.baselines import GenerateEngine
from llamao1_cli.bench.paths import PathStep, tree_paths
from llamao1_cli.bench.rollout import BUILTIN, bench_rollout
from llamao1_cli.bench.update import bench_update, grown
from llamao1_cli.bench.workload import Workload, thoughts, unique_tokens
from llamao1_cli.cli.main import app
from llamao1_cli.config import LearnConfig, SearchConfig
from llamao1_cli.config.file import load_config
from llamao1_cli.engine.builtin.engine import TreeEngine
from llamao1_cli.engine.protocol import Request, complete
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked import METAS
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.language.sampling import Sampling
from llamao1_cli.learn.experience import experiences
from llamao1_cli.learn.update import Updater
from llamao1_cli.model.load import load_model
from llamao1_cli.search.tree_files import write_trees
from llamao1_cli.tasks.load import load_task

WORK = Workload(
    trees=3,
    simulations=4,
    candidates=2,
    max_children=3,
    prompt_tokens=(10, 14),
    thought_tokens=(3, 6),
    max_depth=4,
    seed=1,
)


def test_all_variants_grow_trees_of_the_same_shape(language: MarkedLanguage) -> None:
    model = toy_model(language)
    result = bench_rollout(
        model,
        language,
        WORK,
        variants=BUILTIN,
        baseline_trees=3,
        repeats=2,
        rows=4,
        memory=2**28,
    )
    rows = result["variants"]
    assert set(rows) == set(BUILTIN)
    assert len({row["thoughts"] for row in rows.values()}) == 1
    assert rows["tree-float32"]["forwarded_over_unique"] == pytest.approx(1.0, abs=0.12)
    assert rows["reference"]["forwarded_over_unique"] > 2
    for row in rows.values():
        assert len(row["seconds"]) == 2
        low, high = row["thoughts_per_second"]["min"], row["thoughts_per_second"]["max"]
        assert 0 < low <= row["thoughts_per_second"]["median"] <= high
    assert rows["reference"]["ratio_to_reference"] == 1.0
    assert json.loads(json.dumps(result))["variants"] == rows


@pytest.mark.parametrize("batched", [True, False])
def test_the_baselines_give_true_figures(language: MarkedLanguage, batched: bool) -> None:
    """They are measured against, so they must do the whole work and do it right."""
    model = toy_model(language)
    engine = GenerateEngine(model, language, max_length=512, batched=batched)
    asked = [
        Request(language.root(text), 1, (None,), (None,), Sampling(size, min_tokens=size), seed)
        for seed, (text, size) in enumerate([("How many?", 4), ("How many are there?", 6)])
    ]
    for request, (thought,) in zip(asked, complete(engine, asked), strict=True):
        assert len(thought.ids) == request.sampling.max_tokens
        assert not thought.forced_meta
        text = [token for token in thought.ids if token != language.thought_end]
        assert text == thought.ids
        forward = torch.tensor(
            [
                [
                    *request.path,
                    *language.opening(1),
                    *thought.ids,
                    language.thought_end,
                    language.rating_start,
                ]
            ]
        )
        with torch.no_grad():
            logits = model(forward).logits[0, -1]
        expected = torch.sigmoid(logits[language.positive] - logits[language.negative])
        assert thought.rating == pytest.approx(float(expected), abs=1e-4)


def test_a_workload_is_the_same_for_all_and_of_its_sizes(language: MarkedLanguage) -> None:
    engine = TreeEngine(
        toy_model(language), language, dtype=torch.float32, rows=8, memory=2**28, max_length=512
    )
    trees = WORK.grow(engine, language)
    for tree in trees:
        assert tree.simulations == 4
        assert 10 <= len(language.encode(tree.problem.text)) <= 16
        assert max(len(node.children) for node in tree.nodes) <= 3
    assert all(3 <= len(thought.ids) <= 6 for thought in thoughts(trees))
    assert engine.forwarded >= unique_tokens(trees, language)
    assert WORK.room == (1 + 3 + 9 + 27) * 2


@pytest.mark.parametrize("work", [WORK, replace(WORK, chains=3, forks=2)], ids=["mcts", "forks"])
def test_an_update_is_measured_against_the_same_loss(
    language: MarkedLanguage, work: Workload
) -> None:
    """All variants of the bench move the weights alike, so they did the same work."""
    start, search = toy_model(language), SearchConfig(temperature=0.9, discount=0.9)
    trees = grown(start, language, work, rows=8, memory=2**28)
    if work.chains:
        assert all(len(list(tree.leaf_nodes())) == 5 for tree in trees)
        assert all(node.depth == 4 for tree in trees for node in tree.leaf_nodes())
    config = LearnConfig(value_weight=0.5, micro_batch_tokens=300)
    sampling = search.sampling
    batch = experiences(trees, language, config, 0.9)
    moved = []
    for name in ("padded", "paths", "packed"):
        model = copy.deepcopy(start)
        sgd = torch.optim.SGD(model.parameters(), lr=0.0)
        if name == "packed":
            update = Updater(config, language, sampling, Accelerator(cpu=True), model, sgd)
            update.step(batch, np.ones(len(batch), np.float32), 1.0, "a batch")
        else:
            paths = tree_paths(trees, language, config, 0.9)
            lean = name == "paths"
            PathStep(model, language, config, sampling, sgd, paths, lean=lean)(1.0)
        pairs = zip(model.parameters(), start.parameters(), strict=True)
        moved.append(torch.cat([(a - b).flatten() for a, b in pairs]).detach())
    assert float(moved[0].norm()) > 0.1
    for other in moved[1:]:
        assert torch.allclose(moved[0], other, atol=1e-6)


def test_the_figures_of_an_update_are_those_of_its_trees(language: MarkedLanguage) -> None:
    model = toy_model(language)
    trees = grown(model, language, WORK, rows=8, memory=2**28)
    result = bench_update(model, language, trees, LearnConfig(), SearchConfig(), repeats=2)
    rows = result["variants"]
    assert list(rows) == ["padded", "paths", "packed"]
    paths = [tree.path_ids(leaf, language) for tree in trees for leaf in tree.leaf_nodes()]
    unique = {
        (tree.seed, *path[: n + 1])
        for tree in trees
        for leaf in tree.leaf_nodes()
        for path in [tree.path_ids(leaf, language)[:-2]]
        for n in range(len(path))
    }
    assert rows["packed"]["forwarded_tokens"] == len(unique)
    assert rows["padded"]["forwarded_tokens"] == len(paths) * max(map(len, paths))
    assert rows["paths"]["forwarded_tokens"] == rows["padded"]["forwarded_tokens"]
    thoughts_made = sum(len(tree.nodes) - 1 for tree in trees)
    for row in rows.values():
        middle = float(np.median(row["seconds"]))
        assert len(row["seconds"]) == 2
        assert row["thoughts_per_second"] == pytest.approx(thoughts_made / middle)
        assert row["ratio_to_paths"] == pytest.approx(np.median(rows["paths"]["seconds"]) / middle)
    assert rows["padded"]["ratio_to_padded"] == 1.0
    assert json.loads(json.dumps(result))["variants"] == rows


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    out = tmp_path / "rollout.json"
    options = ["--trees", "2", "--simulations", "2", "--repeats", "1", "--json", str(out)]
    sizes = ["--prompt-tokens", "8-9", "--thought-tokens", "3-4", "--variant", "tree-float32"]
    done = CliRunner().invoke(
        app,
        ["bench", "rollout", "--config", "configs/tiny.yaml", *options, *sizes],
        env={"COLUMNS": "200"},  # however many digits the rates have
    )
    assert done.exit_code == 0, done.output
    assert "tree-float32" in done.output
    assert json.loads(out.read_text())["variants"]["tree-float32"]["thoughts"] == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variant", "fast"], "choose from"),
        (["--prompt-tokens", "9"], "fewest and the most"),
        (["--thought-tokens", "9-3"], "not the larger"),
        (["--simulations", "999", "--max-children", "1"], "room for 3 expansions"),
        (["--json", "nowhere/x.json"], "make it first"),
        (["--model", "x"], "either --config"),
    ],
)
def test_bad_options_are_refused(options: list[str], message: str) -> None:
    arguments = ["bench", "rollout", "--config", "configs/tiny.yaml", *options]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("learn.algorithm=expert_iteration", "measure rlsp or grpo"),
        ("learn.kl_weight=0.1", "would burden packed trees alone"),
        ("learn.checkpoint_activations=true", "would burden packed trees alone"),
    ],
)
def test_updates_that_are_no_comparison_are_refused(setting: str, message: str) -> None:
    arguments = ["bench", "update", "--config", "configs/tiny.yaml", "--set", setting]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)


def test_an_update_is_measured_on_the_trees_of_a_run(tmp_path: Path) -> None:
    config = load_config(Path("configs/tiny.yaml"))
    loaded = load_model(config.model, load_task(config.task).corpus(), config.run.seed)
    trees = grown(loaded.model, loaded.language(METAS), WORK, rows=8, memory=2**28)
    stored, out = tmp_path / "trees.jsonl", tmp_path / "update.json"
    write_trees(stored, trees)
    arguments = ["bench", "update", "--config", "configs/tiny.yaml", "--repeats", "1"]
    options = ["--stored", str(stored), "--trees", "2", "--json", str(out)]
    done = CliRunner().invoke(app, [*arguments, *options])
    assert done.exit_code == 0, done.output
    assert "packed" in done.output
    result = json.loads(out.read_text())
    assert result["trees"] == 2
    assert result["thoughts"] == sum(len(tree.nodes) - 1 for tree in trees[:2])
    missing = CliRunner().invoke(app, [*arguments, "--stored", str(tmp_path / "none.jsonl")])
    assert isinstance(missing.exception, UserError)
    assert "no such file" in str(missing.exception)
