"""The extra: all that it needs is pinned, and nothing that is pinned for all moves with it."""

import re
from importlib.metadata import requires, version
from pathlib import Path

import pytest

pytest.importorskip("reasoning_gym", reason="the extra `reasoning-gym` is not installed")

from packaging.requirements import Requirement

CONSTRAINTS = (Path(__file__).parents[3] / "constraints.txt").read_text()
PINNED = {
    re.sub(r"[-_.]+", "-", name).lower(): pinned
    for name, pinned in re.findall(r"^([\w.-]+)==(\S+)", CONSTRAINTS, flags=re.MULTILINE)
}


def needed(package: str, found: set[str]) -> set[str]:
    """A package and all that it needs."""
    found.add(package)
    for line in requires(package) or []:
        need = Requirement(line)
        name = re.sub(r"[-_.]+", "-", need.name).lower()
        if name not in found and (need.marker is None or need.marker.evaluate({"extra": ""})):
            needed(name, found)
    return found


def test_all_that_it_needs_is_pinned_and_installed_so() -> None:
    names = needed("reasoning-gym", set())
    assert {"matplotlib", "zss", "pycosat", "sympy"} <= names
    assert "torch" not in names  # so it can move none of the packages that train
    assert {name: version(name) for name in names} == {name: PINNED[name] for name in names}
