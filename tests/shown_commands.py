"""What README and documentation show: their pages, the blocks in them, and how a command is run.

A block of commands begins with ```bash and is run, unless the line before it says why not:
<!-- no-run: it needs a GPU -->. A block behind <!-- file: configs/mine.yaml --> is a file that
later commands read.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
import yaml

from llamao1_cli.cli.main import app
from llamao1_cli.config.file import load_config

ROOT = Path(__file__).parent.parent
LLAMAO1 = ".venv/bin/llamao1"
BLOCK = re.compile(
    r"(?:^<!-- (?P<kind>no-run|file): (?P<said>[^\n]+) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    flags=re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    language: str
    text: str
    kind: str | None  # no-run, file, or neither
    said: str | None  # why it is not run, or the file's name

    @property
    def commands(self) -> list[str]:
        """Its lines, continued ones joined; none where it is no block of commands."""
        if self.language != "bash":
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def pages() -> list[Path]:
    """The README and the documentation, in the order in which they are read."""
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    return [ROOT / "README.md", *(ROOT / "docs" / name for name in _names(nav))]


def _names(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for inner in nav.values() if isinstance(nav, dict) else nav:
            yield from _names(inner)


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    assert text.count("\n```") % 2 == 0, f"{page}: a fence is not closed"
    return [
        Block(page, found["language"], found["text"], found["kind"], found["said"])
        for found in BLOCK.finditer(text)
    ]


def arguments(command: str) -> list[str] | None:
    """What is given to llamao1, or None for another program."""
    if not command.startswith(f"{LLAMAO1} "):
        return None
    return shlex.split(command.split(" > ")[0])[1:]


def check_options(given: list[str]) -> None:
    """Parse a command line and resolve its configuration, without running it; raises what the
    command line raises for an option or a key that does not exist."""
    command, rest = typer.main.get_command(app), given
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    context = command.make_context("llamao1", [*rest])
    settings = context.params.get("set_")
    if settings:
        # A run folder that a page names was made from the quickstart's configuration.
        config = context.params.get("config") or "configs/quickstart.yaml"
        load_config(ROOT / config, [*settings])
