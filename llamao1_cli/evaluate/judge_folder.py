"""The folder that a trained judge is kept in: its configuration, its kind, and its weights."""

import json
from pathlib import Path

from llamao1_cli.config import Config, RewardConfig
from llamao1_cli.config.file import dump_config, load_config
from llamao1_cli.errors import UserError
from llamao1_cli.evaluate.pairwise import PairwiseJudge
from llamao1_cli.files.whole import write_whole
from llamao1_cli.model.load import LanguageModel, load_model
from llamao1_cli.tasks.load import load_task

KIND = "kind.json"


def finish_folder(folder: Path, config: Config, kind: str) -> None:
    """Complete a folder that holds a judge's weights, so that `read_folder` can read it."""
    write_whole(folder / "config.yaml", dump_config(config))
    write_whole(folder / KIND, json.dumps({"kind": kind}) + "\n")


def read_folder(folder: Path) -> tuple[Config, str]:
    """Returns the configuration and the kind of the judge in a folder; UserError if there is
    none."""
    try:
        kind = json.loads((folder / KIND).read_text(encoding="utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder}: not a judge's folder (no {KIND}); check the path") from None
    return load_config(folder / "config.yaml"), str(kind)


def load_pairwise(folder: Path) -> PairwiseJudge:
    """Returns the pairwise judge that `reward train` wrote. Raises UserError for a folder without
    one."""
    config, kind = read_folder(folder)
    if kind != "pairwise":
        raise UserError(f"{folder}: holds a judge of the kind {kind}, not pairwise")
    return pairwise_judge(config, language_model(config, folder / "model"))


def pairwise_judge(config: Config, model: LanguageModel) -> PairwiseJudge:
    """Returns a pairwise judge that asks this model."""
    return PairwiseJudge(model, config.model.max_length, reward_settings(config).batch_tokens)


def language_model(config: Config, weights: Path | None) -> LanguageModel:
    """Returns the configured model; `weights`, a saved folder, replace its own."""
    # Only a model built from scratch has its tokenizer made from the task's texts.
    corpus = [] if config.model.path else load_task(config.task).corpus()
    return load_model(config.model, corpus, config.run.seed, weights)


def reward_settings(config: Config) -> RewardConfig:
    """Returns the section `reward`, or its defaults where it is missing."""
    return config.reward or RewardConfig()
