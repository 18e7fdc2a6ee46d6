"""`llamao1 compare`: several algorithms on one budget."""

from pathlib import Path
from typing import Annotated

import typer

from llamao1_cli.cli.options import ConfigFile, DryRun, Set, listed, numbers

POINTS = 12  # of a curve between start and end, unless something else is asked for


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
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="One more to compare, an algorithm with settings of its own, such as "
            "'replay: rlsp replay.max_age=2 replay.alpha=0.6'; may be repeated."
        ),
    ] = None,
    rates: Annotated[
        str,
        typer.Option(
            help="Learning rates, such as 7.5e-5,1.5e-4,3e-4: each variant runs at all of them, "
            "and is compared at its best."
        ),
    ] = "",
    seeds: Annotated[str, typer.Option(help="Seeds, each a run of every algorithm.")] = "0,1,2",
    budget_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds of self-play and update a run.")
    ] = 0.0,
    budget_tokens: Annotated[int, typer.Option(min=0, help="Generated tokens a run.")] = 0,
    points: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="`eval.points`: greedy evaluations between start and end; 12 where neither this "
            "nor the file says.",
        ),
    ] = None,
    set_: Set = None,
    dry_run: DryRun = False,
) -> None:
    """Train by several algorithms, or variants of them, from one start with one budget.

    Run again, it goes on where it stopped. Evaluation and warm-up are not charged. Of
    `continued_warmup` the tokens it reads are charged.
    """
    from llamao1_cli.config.file import dump_config, load_config

    resolved = load_config(config, set_ or [])
    if points is not None or not resolved.eval.points:
        spread = f"eval.points={POINTS if points is None else points}"
        resolved = load_config(config, [spread, *(set_ or [])])
    names, chosen = listed(algorithms), numbers("--seeds", seeds)
    if dry_run:
        typer.echo(dump_config(resolved), nl=False)
        return
    from llamao1_cli.compare import commands
    from llamao1_cli.compare.variants import Budget, at_rates, named_algorithms, parse_variant

    variants = named_algorithms(names) + [parse_variant(text) for text in variant or []]
    each = at_rates(variants, listed(rates))
    commands.compare(resolved, each, chosen, Budget(budget_seconds, budget_tokens), out)
