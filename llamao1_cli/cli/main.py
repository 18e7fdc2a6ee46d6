"""The command line: load a configuration, call one function, print.

Heavy imports stay inside the commands, so that `--help` answers at once.
"""

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from llamao1_cli import __version__
from llamao1_cli.cli.bench import bench
from llamao1_cli.cli.compare import compare
from llamao1_cli.cli.data import data
from llamao1_cli.cli.exit_codes import exit_codes
from llamao1_cli.cli.export import export
from llamao1_cli.cli.options import (
    AnyConfig,
    ConfigFile,
    DryRun,
    Json,
    Overwrite,
    Resume,
    Run,
    Set,
    numbers,
)
from llamao1_cli.cli.plan import plan
from llamao1_cli.cli.report import report, watch
from llamao1_cli.cli.reward import reward
from llamao1_cli.cli.tasks import tasks
from llamao1_cli.errors import UserError

app = typer.Typer(
    name="llamao1",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(bench, name="bench")
app.command(
    epilog="Example: llamao1 compare --config configs/quickstart.yaml --algorithms rlsp,grpo "
    "--seeds 0,1,2 --budget-seconds 120 --out runs/compare"
)(compare)
app.command(epilog="Example: llamao1 data --config configs/quickstart.yaml --json data.json")(data)
app.command(epilog="Example: llamao1 export runs/quickstart --to hf --out models/quickstart")(
    export
)
app.command(
    epilog="Example: llamao1 plan --config configs/quickstart.yaml --gpus 8 --from runs/quickstart"
)(plan)
app.add_typer(reward, name="reward")
app.command(epilog="Example: llamao1 report runs/quickstart --out report.html")(report)
app.command(epilog="Example: llamao1 tasks chain_sum")(tasks)
app.command(epilog="Example: llamao1 watch runs/quickstart --port 8117")(watch)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Self-play reinforcement learning for o1-like reasoning models."""
    if version:
        typer.echo(f"llamao1 {__version__}")
        raise typer.Exit


@app.command(epilog="Example: llamao1 train --config configs/quickstart.yaml --set run.seed=1")
def train(
    config: ConfigFile,
    set_: Set = None,
    trees: Annotated[
        Path | None,
        typer.Option(help="Learn from the stored trees in this folder instead of playing."),
    ] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Warm up if configured, then alternate self-play and updates; evaluate before and after."""
    from llamao1_cli.config.file import dump_config, load_config

    resolved = load_config(config, set_)
    if dry_run:
        typer.echo(dump_config(resolved), nl=False)
        return
    from llamao1_cli.run import commands

    commands.train(resolved, trees=trees, resume=resume, overwrite=overwrite)


@app.command(epilog="Example: llamao1 sft --config configs/quickstart.yaml")
def sft(
    config: ConfigFile,
    set_: Set = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Supervised training on marked text: the `warmup` stage alone.

    `llamao1 train --resume` on the same run folder goes on with self-play.
    """
    from llamao1_cli.config.file import dump_config, load_config

    resolved = load_config(config, set_)
    if dry_run:
        typer.echo(dump_config(resolved), nl=False)
        return
    from llamao1_cli.run import commands

    commands.sft(resolved, resume=resume, overwrite=overwrite)


@app.command(
    "self-play",
    epilog="Example: llamao1 self-play --run runs/quickstart --out trees --set run.iterations=2",
)
def self_play(
    out: Annotated[Path, typer.Option(help="Folder for the tree files.", show_default=False)],
    config: AnyConfig = None,
    run: Run = None,
    set_: Set = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the tree files that are there; play the rest.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Grow trees with fixed weights: `run.iterations` files of `learn.problems` trees each."""
    from llamao1_cli.config.file import dump_config
    from llamao1_cli.config.resolve import resolve

    resolved, weights = resolve(config, run, set_)
    if dry_run:
        typer.echo(dump_config(resolved), nl=False)
        return
    from llamao1_cli.run import commands

    commands.self_play(resolved, weights, out, resume=resume)


@app.command(
    "eval",
    epilog="Example: llamao1 eval --run runs/quickstart --budget 100,200,400 --json result.json",
)
def evaluate(
    config: AnyConfig = None,
    run: Run = None,
    set_: Set = None,
    json: Json = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Compare them at equal cost instead: every strategy may generate so many tokens "
            "a problem. Several budgets, such as 100,200, give a curve."
        ),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Compare test-time strategies on held-out problems, with 95% intervals and costs.

    `eval.strategies` names them. A picture (SVG) goes beside the `--json` file: a reliability
    diagram of the values, or with `--budget` accuracy over budget.
    """
    from llamao1_cli.config.file import dump_config
    from llamao1_cli.config.resolve import resolve

    budgets = numbers("--budget", budget) if budget is not None else []
    resolved, weights = resolve(config, run, set_)
    if dry_run:
        typer.echo(dump_config(resolved), nl=False)
        return
    from llamao1_cli.run import commands

    if budget is None:
        commands.evaluate(resolved, weights, json)
    else:
        commands.evaluate_at(resolved, weights, json, budgets)


@app.command(
    epilog='Example: llamao1 solve --run runs/quickstart "Mia has 3 pens. January: 4 found. '
    'How many pens does Mia have?"'
)
def solve(
    problem: Annotated[str, typer.Argument(help="The problem's text.")],
    config: AnyConfig = None,
    run: Run = None,
    set_: Set = None,
    strategy: Annotated[
        str, typer.Option(help="How to answer: one of `eval.strategies`, such as beam.")
    ] = "mcts",
    json: Annotated[
        Path | None, typer.Option("--json", help="Write the searched tree to this file too.")
    ] = None,
) -> None:
    """Solve one problem: print its tree of thoughts as it grows, and the answer."""
    from llamao1_cli.config.resolve import resolve

    resolved, weights = resolve(config, run, set_)
    from llamao1_cli.run import commands

    commands.solve(resolved, weights, problem, strategy, json)


@app.command("config", epilog="Example: llamao1 config --reference > docs/configuration.md")
def config_(
    reference: Annotated[
        bool, typer.Option("--reference", help="Print the reference of all keys as Markdown.")
    ] = False,
    check: Annotated[
        Path | None, typer.Option("--check", help="Check a file and print it resolved.")
    ] = None,
    set_: Set = None,
) -> None:
    """Print the configuration reference, or check a configuration file."""
    from llamao1_cli.config.file import dump_config, load_config
    from llamao1_cli.config.reference import reference as reference_page

    if reference == (check is not None):
        raise UserError("give either --reference or --check FILE")
    text = reference_page() if reference else ""
    if check is not None:
        text = dump_config(load_config(check, set_))
    typer.echo(text, nl=False)


def main() -> None:
    """The console script: errors become one line and the exit codes of the documentation."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter shows another
    with exit_codes():
        app()


if __name__ == "__main__":
    main()
