"""Trees as JSONL files, one tree a line."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from llamao1_cli.errors import UserError
from llamao1_cli.files.whole import write_whole
from llamao1_cli.language.protocol import Language
from llamao1_cli.search.tree import Tree


def write_trees(path: Path, trees: Sequence[Tree]) -> None:
    """Write the trees as JSONL, one a line; the file appears whole or not at all."""
    write_whole(path, "".join(json.dumps(tree.to_json()) + "\n" for tree in trees))


def read_trees(path: Path, language: Language | None) -> list[Tree]:
    """Returns trees from JSONL.

    Raises UserError naming the line of one that is broken or cut short, that was not rectified, or
    whose tokens the model's tokenizer (if given) does not read as its text.
    """
    trees = []
    try:
        *lines, rest = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    for number, line in enumerate([*lines, rest] if rest else lines, start=1):
        try:
            tree = Tree.from_json(json.loads(line))
            _check_figures(tree)
            if language is not None:
                _check_tokens(tree, language)
        except (ValueError, RecursionError) as error:
            torn = "; the line was cut short: restore the file, or delete the line"
            end = torn if number > len(lines) else ""
            raise UserError(f"{path} line {number}: {error}{end}") from None
        trees.append(tree)
    if not trees:
        raise UserError(f"{path}: no trees in it")
    return trees


def tree_files(folder: Path) -> list[Path]:
    """Returns the tree files of a folder in order; UserError if there are none."""
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    if not files:
        raise UserError(f"{folder}: holds no tree files (*.jsonl); give a folder self-play wrote")
    return files


def _check_figures(tree: Tree) -> None:
    for node in tree.nodes:
        if node.target is None:
            raise ValueError(f"node {node.id} has no target; its search did not end")
        figures = (node.target, node.value, node.mass or 0.0, *node.thought.logprobs)
        if not all(map(math.isfinite, figures)):
            raise ValueError(f"node {node.id} has figures that are not finite")


def _check_tokens(tree: Tree, language: Language) -> None:
    for node in tree.nodes:
        ids = node.thought.ids
        known = max(ids, default=0) < len(language.tokenizer)
        forced = node.thought.meta if node.thought.forced_meta else None
        text = language.decode(ids, forced)[1] if known else None
        if node.parent is not None and text != node.thought.text:
            raise ValueError(
                f"node {node.id} was written with another tokenizer; use the model that grew it"
            )
