"""What `llamao1 reward` does once its options are read: train a judge, or judge the judge."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import Accelerator

from llamao1_cli.codec import Codec
from llamao1_cli.config import Config, RewardConfig, ValueHeadConfig
from llamao1_cli.config_file import dump_config, load_config
from llamao1_cli.display import Display, value_line
from llamao1_cli.errors import UserError
from llamao1_cli.models import LanguageModel, load_model, save_model
from llamao1_cli.quality import value_quality
from llamao1_cli.reward.pairs import Pair, held_out, labelled_pairs, mined_pairs, split
from llamao1_cli.reward.pairwise import PairwiseJudge
from llamao1_cli.reward.training import pair_figures, train_judge
from llamao1_cli.run_folder import refuse_folder, write_whole
from llamao1_cli.search.preference import Comparison
from llamao1_cli.search.tree import Tree
from llamao1_cli.seeds import derive_seed
from llamao1_cli.selfplay import read_trees, tree_files
from llamao1_cli.tasks.load import load_task
from llamao1_cli.value_head import ValueHead
from llamao1_cli.value_training import ValueTrainer

KIND = "kind.json"


def train(config: Config, weights: Path | None, kind: str, trees: Path | None, out: Path) -> None:
    """A judge of the kind, trained on the questions that are not held out, in the folder `out`:
    config.yaml, kind.json, model/. Raises UserError for data that teach nothing."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out: {out} is occupied; name another folder")
    if kind == "values" and trees is None:
        raise UserError("--trees is missing: name the folder of tree files to learn values from")
    display = Display()
    _set_threads(config)
    if kind == "pairwise":
        _train_pairwise(config, weights, trees, out, display)
    else:
        assert trees is not None
        _train_values(config, weights, trees, out, display)
    write_whole(out / "config.yaml", dump_config(config))
    write_whole(out / KIND, json.dumps({"kind": kind}) + "\n")
    display.say(f"judge: {out}; llamao1 reward eval --reward {out}")


def evaluate(folder: Path, trees: Path | None, json_file: Path | None) -> None:
    """The judge's figures on held-out questions, printed and as JSON."""
    refuse_folder("--json", json_file)
    config, kind = _read_folder(folder)
    _set_threads(config)
    if kind == "pairwise":
        figures = _pairwise_figures(config, folder, trees)
    elif trees is None:
        raise UserError("--trees is missing: name the folder of tree files to judge")
    else:
        figures = _value_figures(config, folder, trees)
    result = {"kind": kind, "held_out": _settings(config).held_out, **figures}
    if json_file is not None:
        write_whole(json_file, json.dumps(result, indent=1) + "\n")
    Display().say(_line(result))


def load_pairwise(folder: Path) -> PairwiseJudge:
    """The pairwise judge that `train` wrote. Raises UserError for a folder without one."""
    config, kind = _read_folder(folder)
    if kind != "pairwise":
        raise UserError(f"{folder}: holds a judge of the kind {kind}, not pairwise")
    return _judge(config, _language_model(config, folder / "model"))


def _train_pairwise(
    config: Config, weights: Path | None, trees: Path | None, out: Path, display: Display
) -> None:
    settings = _settings(config)
    language_model = _language_model(config, weights)
    judge = _judge(config, language_model)
    pairs, test = _pairs(config, language_model, trees)
    fitting = [p for p in pairs if judge.fits(Comparison(p.question, p.better, p.worse))]
    if not fitting:
        raise UserError(
            f"reward: none of {len(pairs)} pairs outside the held-out questions fits "
            f"model.max_length ({config.model.max_length}); give more data, or raise it"
        )
    display.say(f"{len(fitting)} pairs, {len(pairs) - len(fitting)} too long; {len(test)} held out")
    accelerator = Accelerator(cpu=config.model.device == "cpu")
    steps = settings.epochs * -(-len(fitting) // settings.batch_size)
    with display.progress("judge", steps, 0) as advance:
        train_judge(
            judge,
            fitting,
            settings,
            accelerator,
            config.run.seed,
            lambda loss: advance(f"loss {loss:.3f}"),
        )
    save_model(language_model, out / "model")


def _train_values(
    config: Config, weights: Path | None, trees: Path, out: Path, display: Display
) -> None:
    # Not the run's own head, which has learned from the held-out problems too.
    head, settings = _fresh_head(config)
    language_model = _language_model(config, weights)
    codec = language_model.codec(config.search.allowed_metas)
    trainer = ValueTrainer(head, settings)
    for number, file in enumerate(tree_files(trees), start=1):
        taught = _of_questions(config, read_trees(file, codec), held=False)
        if taught:
            losses = trainer.learn(taught, number)
            shown = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
            display.say(f"{file}: {len(taught)} trees, {shown}")
    if head.untrained:
        raise UserError(f"--trees: {trees}: every tree is held out, or says nothing; give more")
    language_model.tokenizer.save_pretrained(out / "model")
    head.save(out / "model")


def _pairwise_figures(config: Config, folder: Path, trees: Path | None) -> dict[str, Any]:
    language_model = _language_model(config, folder / "model")
    test = _pairs(config, language_model, trees)[1]
    if not test:
        raise UserError("reward: no pair is of a held-out question; give more data")
    return pair_figures(_judge(config, language_model), test)


def _value_figures(config: Config, folder: Path, trees: Path) -> dict[str, Any]:
    head = _fresh_head(config)[0]
    head.load(folder / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model")
    codec = Codec(tokenizer, config.search.allowed_metas)
    forest = [tree for file in tree_files(trees) for tree in read_trees(file, codec)]
    test = _of_questions(config, forest, held=True)
    if not test:
        raise UserError(f"--trees: {trees}: no tree is of a held-out problem; give more")
    outcomes = [[leaf.outcome is True for leaf in tree.leaf_nodes()] for tree in test]
    ratings = value_quality(test, outcomes, lambda node: node.thought.value)
    head.judge()(test)
    values = value_quality(test, outcomes, lambda node: node.value)
    return {"trees": len(test), "value": values, "rating": ratings}


def _fresh_head(config: Config) -> tuple[ValueHead, ValueHeadConfig]:
    """An untrained head of features and its settings. Raises UserError for a configuration without
    one: an adapter's values hang on the policy that it was trained on."""
    settings = config.value_head
    if not isinstance(settings, ValueHeadConfig):
        raise UserError(
            "value_head: --kind values trains a head of features; set value_head: {kind: features}"
        )
    return ValueHead(settings.hidden_size, derive_seed(config.run.seed, "value head")), settings


def _pairs(
    config: Config, language_model: LanguageModel, trees: Path | None
) -> tuple[list[Pair], list[Pair]]:
    """The pairs to train on and the held-out ones, mined from tree files or read as configured."""
    settings = _settings(config)
    if trees is None:
        pairs = labelled_pairs(settings)
    else:
        codec = language_model.codec(config.search.allowed_metas)
        pairs = mined_pairs(tree for file in tree_files(trees) for tree in read_trees(file, codec))
    return split(pairs, config.run.seed, settings.held_out)


def _of_questions(config: Config, trees: Sequence[Tree], *, held: bool) -> list[Tree]:
    share, seed = _settings(config).held_out, config.run.seed
    return [tree for tree in trees if held_out(tree.problem.text, seed, share) is held]


def _set_threads(config: Config) -> None:
    if config.run.threads:
        torch.set_num_threads(config.run.threads)


def _language_model(config: Config, weights: Path | None) -> LanguageModel:
    # Only a model built from scratch has its tokenizer made from the task's texts.
    corpus = [] if config.model.path else load_task(config.task).corpus()
    return load_model(config.model, corpus, config.run.seed, weights)


def _judge(config: Config, language_model: LanguageModel) -> PairwiseJudge:
    return PairwiseJudge(language_model, config.model.max_length, _settings(config).batch_tokens)


def _settings(config: Config) -> RewardConfig:
    return config.reward or RewardConfig()


def _read_folder(folder: Path) -> tuple[Config, str]:
    try:
        kind = json.loads((folder / KIND).read_text(encoding="utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder}: not a judge's folder (no {KIND}); check the path") from None
    return load_config(folder / "config.yaml"), str(kind)


def _line(result: dict[str, Any]) -> str:
    if result["kind"] == "values":
        return "\n".join(value_line(name, result[name]) for name in ("value", "rating"))
    rows = {"judge": result, "shorter solution": result["shorter"]}
    shown = [
        f"{name}: accuracy {row['accuracy']:.3f} ({row['ci95'][0]:.3f} to {row['ci95'][1]:.3f})"
        for name, row in rows.items()
    ]
    return "\n".join(
        [
            f"{result['pairs']} pairs of {result['questions']} held-out questions, "
            f"{result['unread']} too long to be read",
            *shown,
        ]
    )
