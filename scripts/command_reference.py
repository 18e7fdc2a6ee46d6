"""Prints the reference of all commands as Markdown, made from the command line itself:
.venv/bin/python scripts/command_reference.py > docs/commands.md
"""

import re
from collections.abc import Iterator
from typing import Any

import typer

from llamao1_cli.cli.main import app

HEAD = """# Command reference

Every command and its options; `llamao1 COMMAND --help` says the same in the terminal.

Exit codes: 0 done, 1 a run failed, 2 bad usage or configuration, 130 or 143 stopped by Ctrl-C or
SIGTERM.
"""

# What help calls an option's values, as people do.
TAKEN = {"str": "text", "list[str]": "text", "int": "number", "int range": "number",
         "float": "number", "float range": "number"}  # fmt: skip


def reference() -> str:
    """The whole page."""
    sections = (_section(*each) for each in _commands("llamao1", typer.main.get_command(app)))
    return "\n".join([HEAD, *sections])


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command that does something, in the order of their names."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for inner in sorted(command.commands):
        yield from _commands(f"{name} {inner}", command.commands[inner])


def _section(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    words = [_written(option, context) for option in options]
    needed = [w.split(", ")[-1] for w, each in zip(words, options, strict=True) if each.required]
    usage = " ".join([name, *(each.metavar or each.name.upper() for each in arguments), *needed])
    lines = [f"## `{name}`", "", _prose(command.help), ""]
    lines += ["```text", f"{usage} [OPTION…]", "```", "", "| option | meaning |", "|---|---|"]
    lines += [f"| `{each.metavar or each.name.upper()}` | {each.help} |" for each in arguments]
    lines += [f"| `{word}` | {_meaning(option)} |"
              for word, option in zip(words, options, strict=True)]  # fmt: skip
    if command.epilog:
        example = command.epilog.removeprefix("Example: ")
        lines += ["", "For example:", "", "```text", example, "```"]
    return "\n".join(lines) + "\n"


def _prose(text: str) -> str:
    """A command's description; lines that begin with a word and a colon are a list."""
    listed = [re.sub(r"^(\w+): ", r"- `\1`: ", line) for line in text.splitlines()]
    # A list begins behind an empty line.
    return re.sub(r"(?<!\n)\n(- `)", r"\n\n\1", "\n".join(listed), count=1)


def _written(option: Any, context: Any) -> str:
    """An option with what it takes, such as `--seed <number>`; a bar would end a table's cell."""
    written, _ = option.get_help_record(context)
    names, bracket, kind = written.partition(" <")
    kind = kind.rstrip(">")
    return f"{names} <{TAKEN.get(kind, kind.replace('|', ' or '))}>" if bracket else names


def _meaning(option: Any) -> str:
    """An option's help with its default, where it has one that says something."""
    default = getattr(option.default, "value", option.default)
    told = isinstance(default, str | int | float) and default and not option.is_flag
    return option.help + f" Default: `{default}`." * bool(told) + " Required." * option.required


if __name__ == "__main__":
    print(reference(), end="")
