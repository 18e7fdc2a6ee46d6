"""Runs on reasoning-gym: data sets of ten areas and kinds of answers train, are evaluated by every
strategy, exported and resumed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rank_runs import alone, sets, together
from safetensors.numpy import load_file
from test_train import fit, metrics, stop_at_iteration

pytest.importorskip("reasoning_gym", reason="the extra `reasoning-gym` is not installed")
pytest.importorskip("re2", reason="the extra `re2` is not installed")

from llamao1_cli.config import Config
from llamao1_cli.config.file import load_config
from llamao1_cli.config.strategies import PASS, PASS_DISTINCT
from llamao1_cli.errors import InterruptedRunError
from llamao1_cli.evaluate.strategies import STRATEGIES
from llamao1_cli.export.commands import export_openlongcot
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.run import commands
from llamao1_cli.search.tree_files import read_trees

ROOT = Path(__file__).parents[2]
NAMES = [
    *("bf", "chain_sum", "coin_flip", "countdown", "family_relationships", "number_sequence"),
    *("simple_equations", "simple_geometry", "spell_backward", "syllogism"),
]
ALL = [name for name, each in STRATEGIES.items() if not each.growth.external]
SMALL = [
    "run.iterations=2", "run.checkpoint_every=1", "run.threads=1", "model.max_length=1024",
    "model.build={hidden_size: 32, layers: 1, heads: 2, feed_forward: 32}", "warmup=null",
    "learn.problems=3", "search.simulations=3", "search.max_thought_tokens=6", "eval.problems=2",
    "eval.samples=2", "eval.simulations=2", "eval.strategies=[greedy]",
]  # fmt: skip
# Any text is an answer, so that a model that has learned nothing states some.
ANSWERS = {"pattern": "(.+)", "template": "{answer}"}


def task(dataset: Any, **keys: Any) -> str:
    section = {"kind": "reasoning_gym", "dataset": dataset, "test_problems": 10, **keys}
    return f"task={json.dumps(section)}"


def small(name: str, run: Path, *overrides: str) -> Config:
    made = task(name, answers=ANSWERS, instruction="")
    return load_config(ROOT / "configs" / "tiny.yaml", [f"run.dir={run}", made, *SMALL, *overrides])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_trains_is_evaluated_exported_and_resumed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    fit(small(name, whole))
    trees = read_trees(RunFolder(whole).trees(1), None)
    rewards = [node.reward for tree in trees for node in tree.nodes if node.terminal]
    assert any(reward is not None for reward in rewards)
    weights = RunFolder(whole).latest() / "model"
    every = f"eval.strategies={json.dumps([*ALL, PASS, PASS_DISTINCT])}"
    commands.evaluate(small(name, whole, every), weights, tmp_path / "eval.json")
    result = json.loads((tmp_path / "eval.json").read_text())
    assert len(result["strategies"]) >= len(ALL)
    export_openlongcot(whole, tmp_path / "trees.jsonl", last=0, overwrite=False)
    with monkeypatch.context() as patch:
        stop_at_iteration(patch, 1)
        with pytest.raises(InterruptedRunError):
            fit(small(name, stopped))
    fit(small(name, stopped), resume=True)
    assert metrics(stopped) == metrics(whole)
    state = Path("checkpoints") / "iteration-000002" / "model" / "model.safetensors"
    one, other = load_file(whole / state), load_file(stopped / state)
    assert all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_a_curriculum_is_climbed_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every iteration ends right, each plays a level more than the one before."""
    levels = [
        task("chain_sum", levels=3, config={"max_digits": 1}, solved_at=0.01, instruction=""),
        "run.iterations=3", "learn.curriculum=0.5",
    ]  # fmt: skip
    monkeypatch.setattr("llamao1_cli.run.tree_source.mean_success", lambda trees: 1.0)
    run, stopped = tmp_path / "run", tmp_path / "stopped"
    fit(small("chain_sum", run, *levels))
    played = [row["level"] for row in metrics(run) if "level" in row]
    assert played == [1, 2, 3]
    ids = [read_trees(RunFolder(run).trees(number), None)[0].problem.id for number in (1, 2, 3)]
    assert [each.split(":")[1] for each in ids] == ["1", "2", "3"]
    with monkeypatch.context() as patch:
        stop_at_iteration(patch, 1)
        with pytest.raises(InterruptedRunError):
            fit(small("chain_sum", stopped, *levels))
    fit(small("chain_sum", stopped, *levels), resume=True)
    assert metrics(stopped) == metrics(run)


@pytest.mark.slow
def test_two_ranks_play_as_one_does(tmp_path: Path) -> None:
    """The last data set's questions hang on the order of a set of words."""
    one, two = tmp_path / "one", tmp_path / "two"
    dataset = ["chain_sum", "coin_flip", "isomorphic_strings"]
    settings = [task(dataset, answers=ANSWERS, instruction=""), *SMALL, "learn.problems=4"]
    for out, play in ((one, alone), (two, lambda words: together(tmp_path, words))):
        play(["self-play", "--config", "configs/tiny.yaml", "--out", str(out), *sets(settings)])
    first, second = (read_trees(out / "iteration-000001.jsonl", None) for out in (one, two))
    assert len(first) == 4
    for tree, other in zip(first, second, strict=True):
        assert tree.problem == other.problem
        assert [node.reward for node in tree.nodes] == [node.reward for node in other.nodes]
        assert [node.thought.ids for node in tree.nodes] == [n.thought.ids for n in other.nodes]
