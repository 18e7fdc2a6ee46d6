"""TRL's own trainers on exported rows; run by `scripts/test_trl.sh`, where TRL is."""

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_engine import random_tree
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    TrainingArguments,
)

from llamao1_cli.config import Config, ModelConfig
from llamao1_cli.config.file import dump_config
from llamao1_cli.export.commands import export_model, export_rows
from llamao1_cli.export.rows import best_traces, solutions
from llamao1_cli.export.steps import Step, problem_steps
from llamao1_cli.files.manifest import write_manifest
from llamao1_cli.language.marked import METAS
from llamao1_cli.model.load import LanguageModel, save_model
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Tree
from llamao1_cli.search.tree_files import write_trees

INSTALLED = importlib.util.find_spec("trl") is not None
PRM = INSTALLED and importlib.util.find_spec("trl.experimental.prm") is not None
needs_trl = pytest.mark.skipif(not INSTALLED, reason="TRL is not installed")
needs_prm = pytest.mark.skipif(not PRM, reason="no TRL with a PRMTrainer (1.13 was the last)")

STEPS: dict[str, Any] = {
    "max_steps": 2,
    "per_device_train_batch_size": 2,
    "learning_rate": 1e-3,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
    "logging_steps": 1,
    "disable_tqdm": True,
    "gradient_checkpointing": False,
}


@pytest.fixture(scope="module")
def trees(tiny: LanguageModel) -> list[Tree]:
    grown = [random_tree(tiny.language(METAS), seed, size=30) for seed in range(8)]
    for tree in grown:
        rectify(tree, 1.0, "failure")
    return grown


@pytest.fixture(scope="module")
def exported(
    tiny: LanguageModel, trees: list[Tree], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run folder of the tiny model and its trees, in every format that TRL reads."""
    folder = tmp_path_factory.mktemp("exported")
    checkpoint = folder / "run" / "checkpoints" / "iteration-000001"
    save_model(tiny, checkpoint / "model")
    write_manifest(checkpoint)
    (folder / "run" / "config.yaml").write_text(
        dump_config(Config(model=ModelConfig(max_length=256)))
    )
    write_trees(folder / "run" / "trees" / "iteration-000001.jsonl", trees)
    export_model(folder / "run", folder / "model", overwrite=False)
    for name in ("sft", "dpo", "prm"):
        options = {"last": 0, "margin": 0.3, "tokenizer": None, "overwrite": False}
        export_rows(folder / "run", name, folder / f"{name}.jsonl", **options)
    return folder


def rows(folder: Path, name: str) -> Any:
    import datasets

    return datasets.load_dataset("json", data_files=str(folder / f"{name}.jsonl"), split="train")


def path_ids(tree: Tree, path: list[Step], tiny: LanguageModel) -> list[int]:
    """The tokens that were sampled on a path, with all that stands around them."""
    texts = [step.said.text for step in path]
    leaf = next(
        leaf
        for leaf in tree.leaf_nodes()
        if [node.thought.text for node in tree.path(leaf)] == texts
        and [node.thought.shown for node in tree.path(leaf)] == [str(s.said.rating) for s in path]
        and [node.thought.meta for node in tree.path(leaf)] == [s.said.meta for s in path]
    )
    return tree.path_ids(leaf, tiny.language(METAS))


def assert_trained(trainer: Any, model: PreTrainedModel) -> None:
    """Two steps with finite losses have moved the weights, and kept them finite."""
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    moved = [not torch.equal(weight, before[name]) for name, weight in model.named_parameters()]
    assert any(moved)
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())


@needs_trl
def test_sft_trains_on_the_tokens_that_were_sampled(
    exported: Path, trees: list[Tree], tiny: LanguageModel, tmp_path: Path
) -> None:
    from trl import SFTConfig, SFTTrainer

    model = AutoModelForCausalLM.from_pretrained(exported / "model")
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(output_dir=str(tmp_path), **STEPS),
        train_dataset=rows(exported, "sft"),
        processing_class=AutoTokenizer.from_pretrained(exported / "model"),
    )
    language = tiny.language(METAS)
    expected = []
    for tree, problem in zip(trees, problem_steps(trees), strict=True):
        prompt = len(language.root(tree.problem.text)) + len(language.opening(1))
        for path in best_traces(problem):
            ids = path_ids(tree, path, tiny)[:-3]
            expected.append((ids, [-100] * prompt + ids[prompt:]))
    data = trainer.train_dataset
    assert [(row["input_ids"], row["labels"]) for row in data] == expected
    assert len(expected) > 8
    assert_trained(trainer, model)


@needs_trl
def test_dpo_trains_on_single_thoughts(exported: Path, tiny: LanguageModel, tmp_path: Path) -> None:
    from trl import DPOConfig, DPOTrainer

    model = AutoModelForCausalLM.from_pretrained(exported / "model")
    data = rows(exported, "dpo")
    trainer = DPOTrainer(
        model=model,
        args=DPOConfig(output_dir=str(tmp_path), **STEPS),
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(exported / "model"),
    )
    language = tiny.language(METAS)
    start = language.opening(1)[-1]
    for row in trainer.train_dataset:
        assert row["prompt_ids"][-1] == start  # the thought begins where the prompt ends
        for name in ("chosen_ids", "rejected_ids"):
            assert row[name].count(language.thought_end) == 1
            assert row[name][-1] == language.thought_end
        assert row["chosen_ids"] != row["rejected_ids"]
    assert len(trainer.train_dataset) == len(data) > 4
    assert_trained(trainer, model)


@needs_prm
def test_prm_trains_on_whole_paths(
    exported: Path, trees: list[Tree], tiny: LanguageModel, tmp_path: Path
) -> None:
    from trl.experimental.prm import PRMConfig, PRMTrainer

    model = AutoModelForTokenClassification.from_pretrained(exported / "model", num_labels=2)
    trainer = PRMTrainer(
        model=model,
        args=PRMConfig(output_dir=str(tmp_path), step_separator="", **STEPS),
        train_dataset=rows(exported, "prm"),
        processing_class=AutoTokenizer.from_pretrained(exported / "model"),
    )
    language = tiny.language(METAS)
    expected = []
    for tree, problem in zip(trees, problem_steps(trees), strict=True):
        for path in solutions(problem):
            ids = path_ids(tree, path, tiny)
            ends = [position for position, token in enumerate(ids) if token == language.rating_end][
                1:
            ]
            labels = [-100] * len(ids)
            for position, step in zip(ends, path[1:], strict=True):
                labels[position] = int(step.right > 0)
            expected.append((ids, labels))
    assert [(row["input_ids"], row["labels"]) for row in trainer.train_dataset] == expected
    assert {0, 1} <= {label for _, labels in expected for label in labels}
    assert_trained(trainer, model)


def test_the_settings_are_known() -> None:
    """The names above are those of transformers' own arguments."""
    known = set(TrainingArguments.__dataclass_fields__)
    assert set(STEPS) <= known


def test_rows_are_plain_json(exported: Path) -> None:
    types = {
        "sft": {"prompt": str, "completion": str},
        "dpo": {"prompt": str, "chosen": str, "rejected": str},
        "prm": {"prompt": str, "completions": list, "labels": list},
    }
    for name, fields in types.items():
        for line in (exported / f"{name}.jsonl").read_text().splitlines():
            row = json.loads(line)
            assert {key: type(value) for key, value in row.items()} == fields
            if name == "prm":
                assert len(row["completions"]) == len(row["labels"])
                assert all(type(label) is bool for label in row["labels"])
