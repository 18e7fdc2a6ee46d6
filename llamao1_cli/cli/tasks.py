"""`llamao1 tasks`: what can be trained on."""

from typing import Annotated

import typer

from llamao1_cli.cli.options import Json


def tasks(
    name: Annotated[
        str | None, typer.Argument(help="A data set of reasoning-gym: show its options and more.")
    ] = None,
    json: Json = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the data sets as a table of Markdown.")
    ] = False,
) -> None:
    """List the kinds of tasks, and the data sets of reasoning-gym with an example of each."""
    from llamao1_cli.preview import catalog

    catalog.tasks(name, json, markdown=markdown)
