"""What `llamao1 tasks` shows: the kinds of tasks, and the data sets of reasoning-gym."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llamao1_cli.config import ArithmeticTask, Config
from llamao1_cli.config.file import models_in
from llamao1_cli.files.whole import check_writable, write_whole
from llamao1_cli.report.tree_text import printable
from llamao1_cli.tasks.arithmetic import Arithmetic
from llamao1_cli.tasks.gym.demonstrations import WORKED
from llamao1_cli.tasks.gym.process import described, is_installed

_SHOWN = 72  # characters of an example in a table
_ANSWER = 24
_AROUND = 30  # characters of a line beside a name and an example
_MISSING = "pip install 'llamao1-cli[reasoning-gym]' adds the data sets of kind reasoning_gym"


def tasks(name: str | None, json_file: Path | None, *, markdown: bool) -> None:
    """Print the kinds of tasks and all data sets, or one data set, and write them as JSON.

    Raises UserError for a name that does not exist, or without the extra for any.
    """
    check_writable("--json", json_file)
    kinds = [] if name else task_kinds()
    found = described([name] if name else []) if name or is_installed() else []
    if json_file is not None:
        result = {"kinds": kinds, "data_sets": found}
        write_whole(json_file, json.dumps(result, indent=1) + "\n")
    console = Console(highlight=False)
    if markdown:
        console.print(markdown_table(found), soft_wrap=True, markup=False, end="")
    elif name:
        console.print(one_data_set(found[0]), soft_wrap=True, markup=False)
    else:
        console.print(_kind_table(kinds))
        table = _data_set_table(found, console.width) if found else None
        console.print(table or escape(_MISSING), soft_wrap=not found)


def task_kinds() -> list[dict[str, str]]:
    """Returns each kind of task, what it is, and an example of what needs no file."""
    example = Arithmetic(ArithmeticTask()).test_problems(1)[0]
    return [
        {
            "kind": (kind := section.model_fields["kind"].default),
            "meaning": (section.__doc__ or "").strip(),
            "example": f"{example.text} -> {example.answer}" if kind == "arithmetic" else "",
        }
        for section in models_in(Config.model_fields["task"].annotation)
        if "kind" in section.model_fields
    ]


def markdown_table(data_sets: Sequence[dict[str, Any]]) -> str:
    """Returns the data sets as a table of Markdown."""
    rows = ["| data set | area | levels | an example | its answer |", "|---|---|---|---|---|"]
    for each in data_sets:
        cells = [f"`{each['name']}`", each["area"], str(each["levels"])]
        cells += [f"`{_cell(text)}`" if text else "" for text in _example(each)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def one_data_set(data_set: dict[str, Any]) -> str:
    """Returns what there is to know of a data set: options with their defaults, and examples."""
    name, levels = data_set["name"], data_set["levels"]
    lines = [
        f"{name}: {data_set['area']}",
        f"levels of difficulty: {levels}",
        f"worked solutions to warm up on: {'yes' if name in WORKED else 'no'}",
        "options and their defaults:",
        *(f"  {key}: {json.dumps(value)}" for key, value in data_set["options"].items()),
    ]
    for number, example in enumerate(data_set["examples"], start=1):
        answer = example["answer"]
        lines += ["", f"problem {number}:", *example["problem"].strip().splitlines(), ""]
        lines += ["answer:", *("any that fits" if answer is None else answer).splitlines()]
    return "\n".join(map(printable, lines))


def _kind_table(kinds: Sequence[dict[str, str]]) -> Table:
    table = Table("task.kind", "what it is", "an example", title="kinds of tasks")
    for each in kinds:
        table.add_row(*map(escape, each.values()))
    return table


def _data_set_table(data_sets: Sequence[dict[str, Any]], width: int) -> Table:
    """Returns the data sets as a table of which no line is longer than `width`."""
    named = max(len(each["name"]) for each in data_sets)
    room = max(width - named - _AROUND, 20)
    table = Table(
        *("task.dataset", "area", "levels", "an example"),
        title=f"{len(data_sets)} data sets of kind reasoning_gym; `llamao1 tasks NAME` tells more",
    )
    for each in data_sets:
        example = _cut(each["examples"][0]["problem"], room)
        table.add_row(each["name"], each["area"], str(each["levels"]), escape(example))
    return table


def _example(data_set: dict[str, Any]) -> tuple[str, str]:
    """Returns the beginnings of a problem and of its answer, on one line each."""
    example = data_set["examples"][0]
    return _cut(example["problem"], _SHOWN), _cut(example["answer"] or "", _ANSWER)


def _cut(text: str, length: int) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _cell(text: str) -> str:
    """Returns a text that ends neither the code nor the cell of a table that it stands in."""
    return text.replace("`", "'").replace("|", "¦")
