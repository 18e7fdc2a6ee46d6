"""The options that several commands share, and how lists are read from them."""

from pathlib import Path
from typing import Annotated

import typer

from llamao1_cli.errors import UserError

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="YAML file of the run.", show_default=False)
]
AnyConfig = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="YAML file of the run; the model is the configured one."),
]
Run = Annotated[
    Path | None, typer.Option("--run", "-r", help="Run folder: its configuration and weights.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="Override, such as run.seed=1; may be repeated."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved configuration and stop.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue the run in the run folder where it stopped.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Delete what an earlier run left in the run folder.")
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result to this file too.")]


def listed(text: str) -> list[str]:
    """Returns the parts of a list that is written with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(option: str, text: str) -> list[int]:
    """Returns the whole numbers of a list that is written with commas.

    Raises UserError, naming the option, for anything else.
    """
    parts = listed(text)
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"{option}: {text}: give whole numbers, such as 0,1,2")
    return [int(part) for part in parts]
