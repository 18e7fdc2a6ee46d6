"""`llamao1 plan`: what a run would take on so many GPUs."""

from pathlib import Path
from typing import Annotated

import typer

from llamao1_cli.cli.options import AnyConfig, Json, Run, Set


def plan(
    config: AnyConfig = None,
    run: Run = None,
    set_: Set = None,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs, or other devices, to plan for.")] = 1,
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            help="Run folder whose metrics give the rates; without it they are measured here. Two "
            "runs of different learn.problems tell too how short a rollout can get.",
        ),
    ] = None,
    bandwidth: Annotated[
        float, typer.Option(min=1e-3, help="Between two machines, in GB/s.")
    ] = 10.0,
    json: Json = None,
) -> None:
    """Predict seconds an iteration by layout, and memory, from rates measured on one device.

    Rates hold for devices of the kind that they were measured on.
    """
    from llamao1_cli.config.resolve import resolve

    resolved, weights = resolve(config, run, set_)
    from llamao1_cli.plan import commands

    commands.plan(
        resolved, weights, gpus=gpus, runs=from_ or [], bandwidth=bandwidth, json_file=json
    )
