"""The value head trained on step values: of stored trees, or measured by OmegaPRM's search."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from llamao1_cli.config import Config, OmegaConfig, ValueHeadConfig
from llamao1_cli.errors import UserError
from llamao1_cli.evaluate.calibration import value_quality
from llamao1_cli.evaluate.judge_folder import language_model, reward_settings
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.report.display import Display
from llamao1_cli.reward.pairs import held_out
from llamao1_cli.run.assembly import assemble
from llamao1_cli.search.grow import SearchRequest
from llamao1_cli.search.rules.omega import Omega, label
from llamao1_cli.search.tree import Tree
from llamao1_cli.search.tree_files import read_trees, tree_files, write_trees
from llamao1_cli.value.head import HEAD_FILE, saved_head
from llamao1_cli.value.head_training import HeadTrainer
from llamao1_cli.value.make import untrained_head


def train_values(
    config: Config, weights: Path | None, trees: Path | None, out: Path, display: Display
) -> None:
    """Train a head on the tree files in `trees`, or with `reward.omega` on those that it writes
    first to `out`/trees; saved in `out`/model."""
    omega = reward_settings(config).omega
    if (trees is None) == (omega is None):
        raise UserError(
            "--trees is missing: name the folder of tree files to learn values from, or set "
            "reward.omega to measure them"
            if omega is None
            else "--trees: reward.omega measures step values of its own; leave one of them out"
        )
    settings = _head_settings(config)
    if omega is not None:
        trees = RunFolder(out).forest
        write_trees(RunFolder(out).trees(1), measured_trees(config, weights, omega, display))
    assert trees is not None
    model = language_model(config, weights)
    language = model.language(config.search.allowed_metas, config.task.answer_form)
    # Not the run's own head, which has learned from the held-out problems too.
    head = untrained_head(settings, language, config.run.seed)
    trainer = HeadTrainer(head, settings)
    for number, file in enumerate(tree_files(trees), start=1):
        taught = _of_questions(config, read_trees(file, language), held=False)
        if taught:
            with display.stage(f"{file}", "file"):
                losses = trainer.learn(taught, number)
            shown = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
            display.say(f"{file}: {len(taught)} trees, {shown}")
    if head.untrained:
        raise UserError(f"{trees}: every tree is held out, or says nothing; give more")
    model.tokenizer.save_pretrained(out / "model")
    head.save(out / "model")


def measured_trees(
    config: Config, weights: Path | None, omega: OmegaConfig, display: Display
) -> list[Tree]:
    """Returns trees of training problems whose targets are what OmegaPRM's search measured, the
    searches of all problems batched. The model gets no hints, and a completion without an answer is
    wrong."""
    parts = assemble(config, weights)
    problems = parts.task.train_problems(config.run.seed, 1, omega.problems)
    search = config.search.unaided(unfinished="failure", replacement=True)
    rule = Omega(omega.completions, omega.searches, search.max_depth)
    with parts.verifier, display.rounds("OmegaPRM") as on_growth:
        request = SearchRequest(
            problems, search, rule=rule, rewards=parts.verifier.rewards, on_growth=on_growth
        )
        trees = parts.selfplay.play(request, "omega")
    for tree in trees:
        label(tree)
    completions = sum(tree.expansions for tree in trees)
    display.say(
        f"OmegaPRM: {len(trees)} trees, {completions} completions, {rule.found} first wrong steps"
    )
    return trees


def value_figures(config: Config, folder: Path, trees: Path | None) -> dict[str, Any]:
    """Returns the quality of the values in `folder` and of plain ratings on the trees of held-out
    problems: those in `trees`, or those that OmegaPRM's search wrote."""
    if trees is None and reward_settings(config).omega is None:
        raise UserError("--trees is missing: name the folder of tree files to judge")
    trees = trees or RunFolder(folder).forest
    settings = _head_settings(config)
    if not saved_head(folder / "model" / HEAD_FILE):
        raise UserError(f"{folder}: holds no trained value head; train it again")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model", trust_remote_code=False)
    language = config.model.speaks.make(
        tokenizer, config.search.allowed_metas, config.task.answer_form
    )
    head = untrained_head(settings, language, config.run.seed)
    head.load(folder / "model")
    forest = [tree for file in tree_files(trees) for tree in read_trees(file, language)]
    test = _of_questions(config, forest, held=True)
    if not test:
        raise UserError(f"{trees}: no tree is of a held-out problem; give more")
    earned = [[leaf.reward or 0.0 for leaf in tree.leaf_nodes()] for tree in test]
    solved_at = config.task.solved_at
    ratings = value_quality(test, earned, lambda node: node.thought.rating or 0.0, solved_at)
    head.judge()(test)
    values = value_quality(test, earned, lambda node: node.value, solved_at)
    return {"trees": len(test), "value": values, "rating": ratings}


def _head_settings(config: Config) -> ValueHeadConfig:
    """Returns the settings of a head of features. Raises UserError for a configuration without
    them: an adapter's values hang on the policy that it was trained on."""
    settings = config.value_head
    if not isinstance(settings, ValueHeadConfig):
        raise UserError(
            "value_head: --kind values trains a head of features; set value_head: {kind: features}"
        )
    return settings


def _of_questions(config: Config, trees: Sequence[Tree], *, held: bool) -> list[Tree]:
    share, seed = reward_settings(config).held_out, config.run.seed
    return [tree for tree in trees if held_out(tree.problem.text, seed, share) is held]
