"""Which of a run's trees the page shows: there is room for some of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamao1_cli.config import Config
from llamao1_cli.errors import UserError
from llamao1_cli.learn.experience import scaled_advantages
from llamao1_cli.report.embedding import embedded
from llamao1_cli.report.reading import Run
from llamao1_cli.report.shown_tree import shown_tree
from llamao1_cli.report.tree_lines import parsed_tree, problem_ids, tree_lines

MOST_TREES = 100
MOST_BYTES = 3_200_000  # of all trees in a page, which is to stay under 5 MB
PAIRS = 10  # problems that are shown as they were searched first and last

TreeIndex = tuple[int, int]  # iteration, and index of the line in its file


@dataclass(frozen=True)
class Forest:
    """The trees of a run that are shown, of how many there are."""

    trees: list[dict[str, Any]]
    total: int


def forest(run: Run, most_trees: int = MOST_TREES, most_bytes: int = MOST_BYTES) -> Forest:
    """Returns trees of a run as JSON values, the latest first.

    Of problems searched more than once it takes the first and the last search, then in turn those
    of the last and of the first iteration, as many as there is room for. Raises UserError naming
    the file and the line of one that is broken.
    """
    ids = {iteration: run.kept(problem_ids, path) for iteration, path in run.trees.items()}
    shown: list[dict[str, Any]] = []
    used = 0
    for iteration, index in _wanted(ids):
        trees = run.kept(_shown_file, run.trees[iteration], iteration, run.config)
        if index >= len(trees):
            continue  # the file was written again meanwhile
        tree = trees[index]
        size = len(embedded(tree))
        if len(shown) < most_trees and used + size <= most_bytes:
            shown.append(tree)
            used += size
    shown.sort(key=lambda tree: -tree["iteration"])
    return Forest(shown, sum(map(len, ids.values())))


def _wanted(ids: dict[int, list[str]]) -> Iterator[TreeIndex]:
    """Yields the trees to show, the most wanted first, each once; `ids` name the problem of each
    tree of each iteration."""
    searches: dict[str, list[TreeIndex]] = {}
    for iteration, names in ids.items():
        for index, name in enumerate(names):
            searches.setdefault(name, []).append((iteration, index))
    again = [found for found in searches.values() if found[-1][0] > found[0][0]]
    again.sort(key=lambda found: found[0][0] - found[-1][0])  # the longest span first
    pairs = [tree for found in again[:PAIRS] for tree in (found[0], found[-1])]
    yield from dict.fromkeys([*pairs, *_in_turn(ids)])


def _in_turn(ids: dict[int, list[str]]) -> list[TreeIndex]:
    """Returns the trees of the last and of the first iteration, one of each in turn."""
    ends = dict.fromkeys([max(ids), min(ids)]) if ids else {}
    trees = [[(iteration, index) for index in range(len(ids[iteration]))] for iteration in ends]
    longest = max(map(len, trees), default=0)
    return [each[index] for index in range(longest) for each in trees if index < len(each)]


def _shown_file(path: Path, iteration: int, config: Config) -> list[dict[str, Any]]:
    """Returns the trees of a file as the viewer reads them."""
    trees = [parsed_tree(path, number, line) for number, line in enumerate(tree_lines(path), 1)]
    try:
        credit = scaled_advantages(trees, config.learn, config.search.discount)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    return [
        {"iteration": iteration, "line": line} | shown_tree(tree, advantages, config.search)
        for line, (tree, advantages) in enumerate(zip(trees, credit, strict=True), start=1)
    ]
