"""`llamao1 report` and `llamao1 watch`: a page to look at, from run folders."""

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


def watch(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder; it may begin later.")],
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="Where the page is on localhost; 0 is a free port."),
    ] = 8117,
) -> None:
    """Show a run while it trains: the report's page, kept up to date, and a view on the terminal.

    The page answers this machine alone. Nothing but the run folder is read, and nothing written.
    Where the output is no terminal it prints a line an iteration. Ctrl-C ends it.
    """
    from llamao1_cli.report.commands import watch_run

    watch_run(run, port)
