"""Writes docs/dependencies.md: every pinned package with its version, its licence, and why it is
there.

usage: python scripts/list_dependencies.py [--check] [SITE_PACKAGES…]

Licences are those that the packages installed here, or in the given folders, state. A package that
states none, or is nowhere installed, keeps the licence it is listed with, as long as its version is
the same.
`--check` writes nothing and fails unless the page is current.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "dependencies.md"
HEAD = """# Dependencies

The versions every release is tested with (`constraints.txt`), made by
`python scripts/list_dependencies.py`. Give the list to an auditor of your own, such as
`pip-audit --requirement constraints.txt`. A package without a word under “needed for” came with
another. The extras `vllm` and `wandb` are not pinned here.

| package | version | licence | needed for |
|---|---|---|---|
"""
_PIN = re.compile(r"([\w.-]+)==(\S+)")
_ROW = re.compile(r"\| (\S+) \| (\S+) \| (.+?) \| .*\|")


def page(folders: Sequence[str]) -> str:
    """The page as Markdown. Raises SystemExit naming the packages whose licence is not known."""
    installed = {_normal(each.name): each for each in _found(folders)}
    listed = {row[:2]: row[2] for row in _ROW.findall(PAGE.read_text())} if PAGE.exists() else {}
    reasons = _reasons()
    rows, unknown = [], []
    pins = _PIN.findall((ROOT / "constraints.txt").read_text())
    for name, version in sorted(pins, key=lambda pin: _normal(pin[0])):
        package = installed.get(_normal(name))
        same = package is not None and package.version.split("+")[0] == version
        stated = _licence(package) if package and same else ""
        licence = stated or listed.get((name, version))
        if licence:
            rows.append(f"| {name} | {version} | {licence} | {reasons.get(_normal(name), '')} |\n")
        else:
            unknown.append(name)
    if unknown:
        raise SystemExit(f"no licence known of {', '.join(unknown)}: name their site-packages")
    return HEAD + "".join(rows)


def _found(folders: Sequence[str]) -> Iterator[Distribution]:
    for path in ([str(folder)] for folder in folders):
        yield from distributions(path=path)
    yield from distributions()


def _licence(package: Distribution) -> str:
    """The licence that a package states: as an expression, as a name, or by a classifier; some give
    the whole text as its name."""
    stated = package.metadata.get("License-Expression") or package.metadata.get("License") or ""
    classifiers = package.metadata.get_all("Classifier") or []
    named = [each.split(" :: ")[-1] for each in classifiers if each.startswith("License ::")]
    name = "" if "\n" in stated else stated.replace("UNKNOWN", "")
    return name or " or ".join(named)


def _reasons() -> dict[str, str]:
    """What each package that pyproject.toml names is needed for: everything, or extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"everything": project["dependencies"]} | {
        f"extra `{name}`": needs for name, needs in project["optional-dependencies"].items()
    }
    found: dict[str, list[str]] = {}
    for group, needs in groups.items():
        for need in needs:
            found.setdefault(_normal(re.split(r"[\s<>=!~;\[]", need)[0]), []).append(group)
    return {name: ", ".join(where) for name, where in found.items()}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    options = sys.argv[1:]
    text = page([option for option in options if option != "--check"])
    if "--check" not in options:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        raise SystemExit(f"{PAGE}: not current; run python scripts/list_dependencies.py")
