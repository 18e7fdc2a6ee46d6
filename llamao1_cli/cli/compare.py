"""`llamao1 compare`: several algorithms on one budget."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llamao1_cli.cli.options import ConfigFile, DryRun, Set, listed, numbers

if TYPE_CHECKING:
    from llamao1_cli.config import Config

POINTS = 12  # of a curve between start and end, unless something else is asked for

Variants = Annotated[
    list[str] | None,
    typer.Option(
        help="One more to compare, an algorithm with settings of its own, such as "
        "'replay: rlsp replay.max_age=2 replay.alpha=0.6'; may be repeated."
    ),
]
Rates = Annotated[
    str,
    typer.Option(
        help="Learning rates, such as 7.5e-5,1.5e-4,3e-4: each variant runs at all of them, "
        "and is compared at its best."
    ),
]
Points = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="`eval.points`: greedy evaluations between start and end; 12 where neither this "
        "nor the file says.",
    ),
]


def compare(
    config: ConfigFile,
    out: Annotated[
        Path, typer.Option(help="Folder for the runs and the figures.", show_default=False)
    ],
    algorithms: Annotated[
        str,
        typer.Option(
            help="Names that `learn.algorithm` takes; the others are compared with the first."
        ),
    ] = "rlsp,grpo,expert_iteration,continued_warmup",
    variant: Variants = None,
    rates: Rates = "",
    seeds: Annotated[str, typer.Option(help="Seeds, each a run of every algorithm.")] = "0,1,2",
    budget_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds of self-play and update a run.")
    ] = 0.0,
    budget_tokens: Annotated[int, typer.Option(min=0, help="Generated tokens a run.")] = 0,
    points: Points = None,
    set_: Set = None,
    dry_run: DryRun = False,
) -> None:
    """Train by several algorithms, or variants of them, from one start with one budget.

    Run again, it goes on where it stopped. Evaluation and warm-up are not charged. Of
    `continued_warmup` the tokens it reads are charged.
    """
    resolved = _with_points(config, points, set_ or [])
    names, chosen = listed(algorithms), numbers("--seeds", seeds)
    if dry_run:
        from llamao1_cli.config.file import dump_config

        typer.echo(dump_config(resolved), nl=False)
        return
    from llamao1_cli.compare import commands
    from llamao1_cli.compare.variants import Budget, at_rates, named_algorithms, parse_variant

    variants = named_algorithms(names) + [parse_variant(text) for text in variant or []]
    each = at_rates(variants, listed(rates))
    commands.compare(resolved, each, chosen, Budget(budget_seconds, budget_tokens), out)


def _with_points(path: Path, points: int | None, settings: list[str]) -> "Config":
    """Returns the configuration with the points of a curve that were asked for, those of the file,
    or `POINTS`."""
    from llamao1_cli.config.file import load_config

    resolved = load_config(path, settings)
    if points is None and resolved.eval.points:
        return resolved
    return load_config(path, [f"eval.points={POINTS if points is None else points}", *settings])
