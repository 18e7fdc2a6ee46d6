"""The layout: every folder imports only what stands below it, and nothing imports in a circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "llamao1_cli"
ROOT = Path(__file__).parents[2]
# From the top down. A folder may import those behind it.
FOLDERS = (
    *("cli", "compare", "plan", "reward", "export", "bench", "run", "preview", "report"),
    "evaluate",
    *("selfplay", "value", "learn", "search", "engine", "tasks", "model", "distributed"),
    *("config", "files", "language"),
)
FLOOR = ("errors", "seeds")  # the only modules in no folder, beside __init__ and __main__


def modules(root: Path) -> dict[str, Path]:
    """Every module of the package in `root` by its dotted name, without the package's own."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root / PACKAGE).with_suffix("").parts
        found[".".join(parts).removesuffix("__init__").rstrip(".")] = path
    return found


def imports(path: Path, name: str, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a module imports, wherever the statement stands."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = f"{PACKAGE}.{package}".split(".")[: -node.level + 1 or None]
            base = ".".join([*above, *filter(None, [node.module])]) if node.level else node.module
            targets = [(str(base), alias.name) for alias in node.names]
        else:
            continue
        for module, part in targets:
            if module == PACKAGE or module.startswith(f"{PACKAGE}."):
                inner = module[len(PACKAGE) + 1 :]
                longer = f"{inner}.{part}".strip(".")
                found.add(longer if longer in known else inner)
    return found - {"", name}


def faults(root: Path) -> list[str]:
    """What is wrong with the layout of the package in `root`."""
    known = modules(root)
    graph = {name: imports(path, name, known) for name, path in known.items()}
    wrong = [
        f"{name} stands in no folder"
        for name in known
        if "." not in name and name not in (*FOLDERS, *FLOOR, "", "__main__")
    ]
    level = {folder: depth for depth, folder in enumerate((*FOLDERS, *FLOOR))}
    for name, targets in graph.items():
        mine = level.get(name.partition(".")[0], -1)
        wrong += [
            f"{name} imports {target}, which stands above it"
            for target in sorted(targets)
            if level.get(target.partition(".")[0], len(level)) < mine
        ]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        wrong.append(f"a circle: {' -> '.join(error.args[1])}")
    return wrong


def test_every_import_runs_down() -> None:
    assert faults(ROOT) == []


def test_every_folder_is_named_here_and_has_its_tests() -> None:
    folders = {path.parent.name for path in (ROOT / PACKAGE).glob("*/__init__.py")}
    assert folders == {*FOLDERS}
    tested = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders - {"files"} <= tested  # the run folder is tested with the runs


@pytest.mark.parametrize(
    ("module", "text", "fault"),
    [
        ("language/up", "from llamao1_cli.run import trainer", "language.up imports run.trainer"),
        ("language/up", "from llamao1_cli import run", "language.up imports run"),
        ("language/up", "def f():\n    import llamao1_cli.run.trainer", "imports run.trainer"),
        ("language/up", "from ..run.trainer import x", "language.up imports run.trainer"),
        ("stray", "", "stray stands in no folder"),
        ("run/round", "from llamao1_cli.run.trainer import x", "a circle: run."),
    ],
)
def test_what_breaks_the_layout_is_seen(tmp_path: Path, module: str, text: str, fault: str) -> None:
    files = {
        "__init__": "",
        "language/__init__": "",
        "run/__init__": "",
        "run/trainer": "from llamao1_cli.run import round" if module == "run/round" else "x = 1",
    }
    for name, content in (files | {module: text}).items():
        path = tmp_path / PACKAGE / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    assert any(fault in each for each in faults(tmp_path))
