"""The map of the code in docs/develop.md: what it names is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "llamao1_cli"
PAGE = (ROOT / "docs" / "develop.md").read_text(encoding="utf-8")


def test_every_file_and_name_of_the_map_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)(?::(\w+))?`", PAGE)
    assert len(named) > 30
    for file, name in named:
        path = ROOT / file if file.startswith("tests/") else PACKAGE / file
        assert path.is_file(), file
        body = ast.parse(path.read_text(encoding="utf-8")).body
        defined = {getattr(node, "name", None) for node in body}
        assert not name or name in defined, f"{file}:{name}"


def test_every_folder_is_on_the_map_from_the_top_down() -> None:
    (drawn,) = re.findall(r"```text\n(cli/.*?)```", PAGE, re.S)
    names = [line.split(" ", 1)[0] or line.split()[0] for line in drawn.splitlines()]
    top = {name for name, line in zip(names, drawn.splitlines(), strict=True) if line[0] != " "}
    found = {f"{path.parent.relative_to(PACKAGE)}/" for path in PACKAGE.glob("*/__init__.py")}
    assert {name for name in top if name.endswith("/")} == found
