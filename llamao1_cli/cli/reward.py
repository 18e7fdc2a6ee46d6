"""`llamao1 reward`: train a judge of solutions or of thoughts, and see what it is good for."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from llamao1_cli.cli.options import AnyConfig, Json, Run, Set

reward = typer.Typer(
    no_args_is_help=True, help="Train judges on what was right and wrong, and evaluate them."
)


class Kind(StrEnum):
    """What a judge judges: two solutions against each other, or every thought of a tree."""

    PAIRWISE = "pairwise"
    VALUES = "values"


Trees = Annotated[
    Path | None, typer.Option(help="Folder of graded tree files, such as a run's folder `trees`.")
]


@reward.command(
    epilog="Examples: llamao1 reward train --config configs/reward_gsm8k.yaml --out runs/judge; "
    "llamao1 reward train --run runs/quickstart --kind values --set reward.omega.problems=64 "
    "--out runs/values"
)
def train(
    out: Annotated[Path, typer.Option(help="Folder for the judge.", show_default=False)],
    config: AnyConfig = None,
    run: Run = None,
    kind: Annotated[
        Kind,
        typer.Option(
            help="pairwise: which of two solutions is better, by the language model; values: how "
            "likely a path ends right, by the value head."
        ),
    ] = Kind.PAIRWISE,
    trees: Trees = None,
    set_: Set = None,
) -> None:
    """Train a judge on all questions but the held-out ones.

    Pairs come from `reward.solutions`, or with --trees from the right and wrong solutions of stored
    trees. Values come from stored trees, plain roll-outs (`search.algorithm: forks`) among them, or
    with `reward.omega` from OmegaPRM's search for first wrong steps, whose trees go to OUT/trees; a
    value head that starts afresh learns them.
    """
    from llamao1_cli.config.resolve import resolve

    resolved, weights = resolve(config, run, set_)
    from llamao1_cli.reward import commands

    commands.train(resolved, weights, kind.value, trees, out)


@reward.command("eval", epilog="Example: llamao1 reward eval --reward runs/judge --json judge.json")
def evaluate(
    reward: Annotated[
        Path, typer.Option(help="Folder that `reward train` wrote.", show_default=False)
    ],
    trees: Trees = None,
    json: Json = None,
) -> None:
    """The judge's figures on the questions held out of its training.

    pairwise: how often the right solution of a pair is held for the better one, with its 95%
    interval, beside the rule that the shorter one is. values: AUC and Brier score of the values,
    beside those of the plain ratings, on the trees of --trees or those that `reward.omega` left.
    """
    from llamao1_cli.reward import commands

    commands.evaluate(reward, trees, json)
