"""What `llamao1 reward` does once its options are read: train a judge, or judge the judge."""

import json
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from llamao1_cli.config import Config
from llamao1_cli.distributed.threads import set_threads
from llamao1_cli.errors import UserError
from llamao1_cli.evaluate.judge_folder import (
    finish_folder,
    language_model,
    pairwise_judge,
    read_folder,
    reward_settings,
)
from llamao1_cli.files.whole import check_writable, write_whole
from llamao1_cli.model.load import LanguageModel, save_model
from llamao1_cli.report.display import Display
from llamao1_cli.report.tables import value_line
from llamao1_cli.reward.pairs import Pair, labelled_pairs, mined_pairs, split
from llamao1_cli.reward.training import pair_figures, train_judge
from llamao1_cli.reward.values import train_values, value_figures
from llamao1_cli.search.refine.preference import Comparison
from llamao1_cli.search.tree_files import read_trees, tree_files


def train(config: Config, weights: Path | None, kind: str, trees: Path | None, out: Path) -> None:
    """Train a judge of the kind on the questions that are not held out, and write it to `out`:
    config.yaml, kind.json, model/. Raises UserError for data that teach nothing."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out: {out} is occupied; name another folder")
    display = Display()
    set_threads(config.run)
    teach = _train_pairwise if kind == "pairwise" else train_values
    teach(config, weights, trees, out, display)
    finish_folder(out, config, kind)
    display.say(f"judge: {out}; llamao1 reward eval --reward {out}")


def evaluate(folder: Path, trees: Path | None, json_file: Path | None) -> None:
    """Print the judge's figures on held-out questions, and write them as JSON."""
    check_writable("--json", json_file)
    config, kind = read_folder(folder)
    set_threads(config.run)
    judge = _pairwise_figures if kind == "pairwise" else value_figures
    figures = judge(config, folder, trees)
    result = {"kind": kind, "held_out": reward_settings(config).held_out, **figures}
    if json_file is not None:
        write_whole(json_file, json.dumps(result, indent=1) + "\n")
    Display().say(_line(result))


def _train_pairwise(
    config: Config, weights: Path | None, trees: Path | None, out: Path, display: Display
) -> None:
    settings = reward_settings(config)
    model = language_model(config, weights)
    judge = pairwise_judge(config, model)
    pairs, test = _pairs(config, model, trees)
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
    save_model(model, out / "model")


def _pairwise_figures(config: Config, folder: Path, trees: Path | None) -> dict[str, Any]:
    model = language_model(config, folder / "model")
    test = _pairs(config, model, trees)[1]
    if not test:
        raise UserError("reward: no pair is of a held-out question; give more data")
    return pair_figures(pairwise_judge(config, model), test)


def _pairs(
    config: Config, model: LanguageModel, trees: Path | None
) -> tuple[list[Pair], list[Pair]]:
    """Returns the pairs to train on and the held-out ones, from tree files or as configured."""
    settings = reward_settings(config)
    if trees is None:
        pairs = labelled_pairs(settings)
    else:
        language = model.language(config.search.allowed_metas, config.task.answer_form)
        pairs = mined_pairs(
            tree for file in tree_files(trees) for tree in read_trees(file, language)
        )
    return split(pairs, config.run.seed, settings.held_out)


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
