"""The lines of a tree file, each a tree, read as they are needed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llamao1_cli.errors import UserError
from llamao1_cli.search.tree import Tree


@dataclass(frozen=True)
class Solution:
    """A problem, and the thoughts that lead to a right answer."""

    problem: str
    thoughts: list[str]
    probability: float  # of these thoughts, as they were sampled


def tree_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a tree file. Raises UserError for a file that cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def parsed_tree(path: Path, number: int, line: str) -> Tree:
    """Returns the tree of a line. Raises UserError, naming file and line, for one that is none."""
    try:
        return Tree.from_json(json.loads(line))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} line {number}: {error}") from None


def problem_ids(path: Path) -> list[str]:
    """Returns the id of the problem of each line; nothing else of the line is read.

    Raises UserError, naming file and line, for a line that has none.
    """
    decoder, ids = json.JSONDecoder(), []
    for number, line in enumerate(tree_lines(path), start=1):
        try:
            problem, _ = decoder.raw_decode(line, len('{"problem": '))
            ids.append(str(problem["id"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UserError(f"{path} line {number}: not a tree: it has no problem") from None
    return ids


def last_solution(path: Path) -> Solution | None:
    """Returns the last right solution of a tree file, of its tree the one of the highest value;
    None if there is none. Raises UserError naming the line of a tree that is broken."""
    for number, line in reversed(list(enumerate(tree_lines(path), start=1))):
        if '"outcome": true' not in line:
            continue  # a tree without a right leaf need not be parsed
        tree = parsed_tree(path, number, line)
        right = [node for node in tree.nodes if node.outcome]
        if right:
            surest = max(right, key=lambda node: node.value)
            thoughts = [node.thought.text for node in tree.path(surest)[1:]]
            return Solution(tree.problem.text, thoughts, tree.probability(surest))
    return None
