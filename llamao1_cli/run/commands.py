"""What the commands do once their options are read: one function each."""

import json
import os
from contextlib import closing
from pathlib import Path

from llamao1_cli.config import Config
from llamao1_cli.config.registry import ALGORITHMS
from llamao1_cli.distributed.interrupts import Interrupts
from llamao1_cli.distributed.ranks import main_says
from llamao1_cli.errors import UserError
from llamao1_cli.evaluate.play import play
from llamao1_cli.evaluate.playable import prompt_room
from llamao1_cli.evaluate.strategies import STRATEGIES
from llamao1_cli.files.whole import check_writable, write_whole
from llamao1_cli.preview.commands import say_what_is_seen
from llamao1_cli.report.display import Display
from llamao1_cli.report.evaluation_charts import budget_picture, reliability_picture
from llamao1_cli.report.reading import BudgetEvaluation, Evaluation
from llamao1_cli.report.tables import asked_lines
from llamao1_cli.report.tree_text import printable
from llamao1_cli.run.assembly import Parts, assemble
from llamao1_cli.run.begin import begun
from llamao1_cli.search.tree_files import tree_files, write_trees
from llamao1_cli.tasks.problem import Problem


def train(config: Config, *, trees: Path | None, resume: bool, overwrite: bool) -> None:
    """Train: the whole run."""
    name = config.learn.algorithm
    if trees and not ALGORITHMS[name].plays:
        raise UserError(f"--trees: learn.algorithm: {name} reads no trees; use another")
    files = tree_files(trees) if trees else None
    names = config.eval.strategies
    with begun(config, names, resume=resume, overwrite=overwrite) as (trainer, display):
        trainer.fit(files)
        display.say(f"run folder: {config.run.dir}")


def sft(config: Config, *, resume: bool, overwrite: bool) -> None:
    """Train the warm-up alone."""
    if config.warmup is None:
        raise UserError("warmup: the configuration has no such section; add one to train on")
    with begun(config, [], resume=resume, overwrite=overwrite) as (trainer, display):
        trainer.warm_up()
        display.say(f"run folder: {config.run.dir}")


def self_play(config: Config, weights: Path | None, out: Path, *, resume: bool) -> None:
    """Write tree files of fixed weights; with `resume` only those that are missing."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out: {out} is a file; name a folder")
    for key in ("budget_seconds", "budget_tokens"):
        if getattr(config.run, key):
            raise UserError(
                f"run.{key}: self-play writes run.iterations files whatever they cost; set it to 0"
            )
    for key in config.by_outcomes:
        raise UserError(f"{key}: self-play writes all problems as they are; leave it out")
    if not resume and out.is_dir() and any(out.glob("*.jsonl")):
        raise UserError(f"{out}: holds tree files already; add --resume, or give another folder")
    # A file holds the problems of its own iteration, so none are played ahead.
    in_turn = config.self_play.model_copy(update={"max_staleness": 0})
    interrupts = Interrupts()
    parts = assemble(
        config.model_copy(update={"self_play": in_turn}), weights, interrupts=interrupts
    )
    display = Display(quiet=not parts.accelerator.is_main_process)
    _say_what_is_seen(parts, display, plays=True)
    with parts.verifier, closing(parts.selfplay), interrupts.listening():
        for number in range(1, config.run.iterations + 1):
            path = out / f"iteration-{number:06d}.jsonl"
            if main_says(parts.accelerator, path.exists()):
                continue
            with display.rounds(f"file {number}/{config.run.iterations}", "file") as on_growth:
                trees = parts.selfplay.iterate(
                    parts.problems,
                    config.search,
                    number,
                    rewards=parts.verifier.rewards,
                    on_growth=on_growth,
                )
            parts.accelerator.wait_for_everyone()
            if parts.accelerator.is_main_process:
                write_trees(path, trees)
            solved = sum(any(node.outcome for node in tree.nodes) for tree in trees)
            display.say(f"{path}: {len(trees)} trees, {solved} solved")


def evaluate(config: Config, weights: Path | None, json_file: Path | None) -> None:
    """Compare the configured strategies on held-out problems, as a table and as JSON.

    Beside the JSON file stands a picture: how far the values can be taken at their word.
    """
    check_writable("--json", json_file)
    parts = assemble(config, weights, config.eval.strategies)
    display = Display(quiet=not parts.accelerator.is_main_process)
    _say_what_is_seen(parts, display, plays=False)
    with parts.verifier, display.rounds("evaluation") as on_growth:
        result = parts.evaluate(config.eval.strategies, lambda name, trees: on_growth(trees))
    if parts.accelerator.is_main_process and json_file is not None:
        write_whole(json_file, json.dumps(result, indent=1) + "\n")
        if steps := Evaluation.model_validate(result).steps:
            write_whole(_beside(json_file, "reliability"), reliability_picture(steps))
    display.table(result, f"{result['model']}: {result['n']} held-out problems")


def evaluate_at(
    config: Config, weights: Path | None, json_file: Path | None, budgets: list[int]
) -> None:
    """Compare the configured strategies at equal cost, as tables and as JSON.

    Beside the JSON file stands a picture: accuracy over budget.
    """
    if not budgets or min(budgets) < 1 or len({*budgets}) < len(budgets):
        raise UserError("--budget: give numbers of tokens above 0, each once, such as 100,200")
    check_writable("--json", json_file)
    parts = assemble(config, weights, config.eval.strategies)
    display = Display(quiet=not parts.accelerator.is_main_process)
    _say_what_is_seen(parts, display, plays=False)
    with parts.verifier, display.rounds("evaluation") as on_growth:
        result = parts.evaluate_at(budgets, lambda name, trees: on_growth(trees))
    if parts.accelerator.is_main_process and json_file is not None:
        write_whole(json_file, json.dumps(result, indent=1) + "\n")
        rows = BudgetEvaluation.model_validate(result).rows()
        write_whole(_beside(json_file, "budget"), budget_picture(rows))
    display.budgets(result)


def solve(
    config: Config, weights: Path | None, text: str, strategy: str, json_file: Path | None
) -> None:
    """Solve one problem by a strategy, without knowing its answer; MCTS and self-refine search as
    far as MCTS in self-play."""
    if strategy not in STRATEGIES:
        raise UserError(f"--strategy: {strategy}: give one of {', '.join(STRATEGIES)}")
    if not text.strip():
        raise UserError("the problem is empty; write its text between quotes")
    try:
        text = os.fsencode(text).decode()  # its bytes, which a locale such as C does not read
    except UnicodeError:
        raise UserError("the problem is not valid UTF-8; write it as text") from None
    check_writable("--json", json_file)
    parts = assemble(config, weights, [strategy])
    _check_room(text, parts)
    display = Display()
    settings = config.eval.model_copy(update={"simulations": config.search.simulations})
    chosen, problem = STRATEGIES[strategy], Problem("asked", text, "")
    with parts.verifier, display.growing() as on_growth:
        (tree,) = play(
            chosen.growth,
            [problem],
            parts.selfplay,
            config.search,
            settings,
            parts.judges,
            on_growth=on_growth,
        )
        end = chosen.choose(tree, parts.verifier.equal)
    if json_file is not None:
        write_whole(json_file, json.dumps(tree.to_json()) + "\n")
    for line in asked_lines(parts.asked()):
        display.say(line)
    display.say(_answer_line(end.answer if end else None))


def _say_what_is_seen(parts: Parts, display: Display, *, plays: bool) -> None:
    """Print the data of a command that plays or else evaluates, and refuse it if none is of use."""
    say_what_is_seen(
        parts.config,
        parts.task,
        parts.language,
        display,
        warming=False,
        plays=plays,
        evaluates=not plays,
    )


def _check_room(text: str, parts: Parts) -> None:
    """Raise UserError for a problem behind which no thought fits into the context."""
    search, length = parts.config.search, parts.config.model.max_length
    room = prompt_room(parts.language, search, length)
    tokens = len(parts.language.encode(text))
    if tokens > room:
        raise UserError(
            f"the problem has {tokens} tokens, and model.max_length ({length}) has room for "
            f"{max(room, 0)} of them before a thought; shorten it, or add --set "
            f"model.max_length={length + tokens - room}"
        )


def _beside(path: Path, name: str) -> Path:
    """Returns the path of the picture that belongs to a result's JSON file."""
    return path.with_name(f"{path.stem}-{name}.svg")


def _answer_line(answer: str | None) -> str:
    if answer is None:
        return (
            "no answer: no thought came to a conclusion; raise search.simulations, eval.samples, "
            "eval.beam_width or search.max_depth"
        )
    if not answer:
        return "no answer: the solution ends without stating one"
    return f"answer: {printable(answer)}"
