"""`llamao1 report`: a page to look at, from run folders."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN…", help="Run folders; several are compared.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write; without it report.html in the first run's folder."),
    ] = None,
) -> None:
    """Write one HTML file with a run's results, curves and trees, to open in any browser.

    It needs no network, and reads nothing but the run folders. Files that `llamao1 eval --json`
    wrote into a run's folder are part of it.
    """
    from llamao1_cli.report.commands import write_report

    typer.echo(f"report: {write_report(runs, out)}")
