"""Trees for the viewer: which of a run's trees to show, and what to show of them."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llamao1_cli.config import Config, SearchConfig
from llamao1_cli.errors import UserError
from llamao1_cli.learn.experience import scaled_advantages
from llamao1_cli.report.embedding import embedded
from llamao1_cli.report.reading import Run
from llamao1_cli.search.rules.selection import shares
from llamao1_cli.search.tree import Node, Tree

MOST_TREES = 100
MOST_BYTES = 3_200_000  # of all trees in a page, which is to stay under 5 MB
MOST_TEXT = 2_000  # characters of a thought or a problem
PAIRS = 10  # problems that are shown as they were searched first and last

Place = tuple[int, int]  # iteration, and line of its file


@dataclass(frozen=True)
class Forest:
    """The trees of a run that are shown, of how many there are."""

    trees: list[dict[str, Any]]
    total: int


@dataclass(frozen=True)
class Solution:
    """A problem, and the thoughts that lead to a right answer."""

    problem: str
    thoughts: list[str]


def forest(run: Run, most_trees: int = MOST_TREES, most_bytes: int = MOST_BYTES) -> Forest:
    """Trees of a run as JSON values: of problems searched more than once the first and the last
    search, then in turn those of the last and of the first iteration, as many as there is room
    for; the latest come first.

    Raises UserError naming the file and the line of one that is broken.
    """
    problems = {number: run.kept(_problems, path) for number, path in run.trees.items()}
    shown: list[dict[str, Any]] = []
    used = 0
    for iteration, line in _wanted(problems):
        trees = run.kept(_shown_file, run.trees[iteration], iteration, run.config)
        if line >= len(trees):
            continue  # the file was written again meanwhile
        tree = trees[line]
        size = len(embedded(tree))
        if len(shown) < most_trees and used + size <= most_bytes:
            shown.append(tree)
            used += size
    shown.sort(key=lambda tree: -tree["iteration"])
    return Forest(shown, sum(map(len, problems.values())))


def shown_tree(tree: Tree, advantages: np.ndarray | None, config: SearchConfig) -> dict[str, Any]:
    """A tree as the viewer reads it: its problem, its nodes in the order they were made, and the
    path to its best leaf."""
    graded = [node for node in tree.nodes if node.outcome is not None]
    gaps = [abs(node.value - float(bool(node.outcome))) for node in graded]
    steps = simulations(tree, config)
    return {
        "id": _cut(tree.problem.id),
        "problem": _cut(tree.problem.text),
        "answer": _cut(tree.problem.answer),
        "solved": any(node.outcome for node in graded),
        "graded": bool(graded),
        "surprise": _number(max(gaps, default=0.0)) or 0.0,
        "tokens": tree.generated_tokens,
        "best": [node.id for node in tree.path(best_leaf(tree))],
        "nodes": [
            _shown_node(tree, node, None if advantages is None else advantages[node.id])
            | {"step": steps[node.id]}
            for node in tree.nodes
        ],
    }


def best_leaf(tree: Tree) -> Node:
    """The leaf of the highest rectified value; of several the one whose own value is highest, and
    then the oldest."""
    return max(
        tree.leaf_nodes(),
        key=lambda leaf: (-1.0 if leaf.target is None else leaf.target, leaf.value, -leaf.id),
    )


def last_solution(path: Path) -> Solution | None:
    """The last right solution of a tree file, by the path of its tree that the value was surest
    of; None if there is none. Raises UserError naming the line of a tree that is broken."""
    for number, line in reversed(list(enumerate(_lines(path), start=1))):
        if '"outcome": true' not in line:
            continue  # a tree without a right leaf need not be parsed
        tree = _tree(path, number, line)
        right = [node for node in tree.nodes if node.outcome]
        if right:
            surest = max(right, key=lambda node: node.value)
            thoughts = [node.thought.text for node in tree.path(surest)[1:]]
            return Solution(tree.problem.text, thoughts)
    return None


def simulations(tree: Tree, config: SearchConfig) -> list[int]:
    """The step of the search `[N]` that made each node; the root is there at step 0.

    Nodes are stored as they were made, an expansion's thoughts one behind the other. A step of MCTS
    brings up to `candidates` expansions of one node; of forks, every expansion is a step. (A
    simulation that ended at a finished leaf made no node, and has no step here.)
    """
    rolls = config.rollout or config.algorithm == "forks"
    width = 1 if config.algorithm == "forks" else config.candidates
    steps, children = [0] * len(tree.nodes), [0] * len(tree.nodes)
    step, grown, left = 0, -1, 0  # of the last expansion: its node, and how many more may follow
    for node in tree.nodes[1:]:
        assert node.parent is not None
        if not (rolls and node.id > 1 and node.parent == node.id - 1):
            if node.parent != grown or not left:
                step += 1
                grown = node.parent
                left = max(min(width, config.max_children - children[grown]), 1)
            left -= 1
        children[node.parent] += 1
        steps[node.id] = step
    return steps


def _wanted(problems: dict[int, list[str]]) -> Iterator[Place]:
    """Places of the trees to show, the most wanted first, each once."""
    places: dict[str, list[Place]] = {}
    for iteration, names in problems.items():
        for line, name in enumerate(names):
            places.setdefault(name, []).append((iteration, line))
    again = [found for found in places.values() if found[-1][0] > found[0][0]]
    again.sort(key=lambda found: found[0][0] - found[-1][0])  # the longest span first
    pairs = [place for found in again[:PAIRS] for place in (found[0], found[-1])]
    ends = [[(i, line) for line in range(len(problems[i]))] for i in _ends(problems)]
    longest = max(map(len, ends), default=0)
    turns = [end[line] for line in range(longest) for end in ends if line < len(end)]
    yield from dict.fromkeys([*pairs, *turns])


def _ends(problems: dict[int, list[str]]) -> list[int]:
    """The last and the first iteration, once if they are the same."""
    return list(dict.fromkeys([max(problems), min(problems)])) if problems else []


def _problems(path: Path) -> list[str]:
    """The problem of each line of a tree file by its name; nothing else of the line is read."""
    decoder, names = json.JSONDecoder(), []
    for number, line in enumerate(_lines(path), start=1):
        try:
            problem, _ = decoder.raw_decode(line, len('{"problem": '))
            names.append(str(problem["id"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UserError(f"{path} line {number}: not a tree: it has no problem") from None
    return names


def _shown_file(path: Path, iteration: int, config: Config) -> list[dict[str, Any]]:
    trees = [_tree(path, number, line) for number, line in enumerate(_lines(path), start=1)]
    try:
        credit = scaled_advantages(trees, config.learn, config.search.discount)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    return [
        {"iteration": iteration, "line": line} | shown_tree(tree, values, config.search)
        for line, (tree, values) in enumerate(zip(trees, credit, strict=True), start=1)
    ]


def _tree(path: Path, number: int, line: str) -> Tree:
    try:
        return Tree.from_json(json.loads(line))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} line {number}: {error}") from None


def _shown_node(tree: Tree, node: Node, advantage: float | None) -> dict[str, Any]:
    """One node; figures that there are none of are null."""
    thought = node.thought
    entropy = sum(thought.entropy) / len(thought.entropy) if thought.entropy else None
    return {
        "parent": node.parent,
        "meta": str(thought.meta or "").strip("<>"),
        # The root's text is the problem's.
        "text": "" if node.parent is None else _cut(thought.text),
        "rating": _number(thought.rating),
        "value": _number(node.value),
        "prior": None if node.parent is None else _number(_prior(tree, node)),
        "visits": node.visits,
        "q": _number(node.mean_value),
        "target": _number(node.target),
        "advantage": None if node.parent is None else _number(advantage),
        "entropy": _number(entropy),
        "tokens": len(thought.ids),
        "outcome": node.outcome,
        "answer": None if node.answer is None else _cut(node.answer),
        "complete": thought.complete,
    }


def _prior(tree: Tree, node: Node) -> float:
    """The share of the node's likelihood among its siblings'."""
    assert node.parent is not None
    siblings = tree.nodes[node.parent].children
    likelihoods = np.array([tree.nodes[i].likelihood for i in siblings])
    return float(shares(likelihoods)[siblings.index(node.id)])


def _number(value: float | None) -> float | None:
    """Four significant digits; null where there is no finite number, as JSON knows no other."""
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


def _cut(text: str) -> str:
    """The text, or its beginning and a note of how long it is."""
    if len(text) <= MOST_TEXT:
        return text
    return f"{text[:MOST_TEXT]}… [cut here: {len(text):,} characters in all]"


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
