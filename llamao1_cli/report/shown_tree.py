"""A tree as the viewer of the page reads it."""

import math
from typing import Any

import numpy as np

from llamao1_cli.config import SearchConfig
from llamao1_cli.report.draws import left_sibling
from llamao1_cli.search.coverage import covered
from llamao1_cli.search.rules import configured_rule
from llamao1_cli.search.rules.selection import shares
from llamao1_cli.search.tree import Node, Tree

MOST_TEXT = 2_000  # characters of a thought or a problem


def shown_tree(tree: Tree, advantages: np.ndarray | None, config: SearchConfig) -> dict[str, Any]:
    """Returns a tree as the viewer reads it: its problem, its nodes in the order they were made,
    and the path to its best leaf."""
    graded = [node for node in tree.nodes if node.outcome is not None]
    gaps = [abs(node.value - (node.reward or 0.0)) for node in graded]
    steps = simulations(tree, config)
    return {
        "id": _cut(tree.problem.id),
        "problem": _cut(tree.problem.text),
        "answer": _cut(tree.problem.answer),
        "solved": any(node.outcome for node in graded),
        "graded": bool(graded),
        "surprise": _number(max(gaps, default=0.0)) or 0.0,
        "tokens": tree.generated_tokens,
        "covered": _number(covered(tree)),
        "best": [node.id for node in tree.path(best_leaf(tree))],
        "nodes": [
            _shown_node(tree, node, None if advantages is None else advantages[node.id])
            | {"step": steps[node.id], "probability": _number(tree.probability(node))}
            for node in tree.nodes
        ],
    }


def best_leaf(tree: Tree) -> Node:
    """Returns the leaf of the highest target; of several the one whose value is highest, and then
    the oldest."""
    return max(
        tree.leaf_nodes(),
        key=lambda leaf: (-1.0 if leaf.target is None else leaf.target, leaf.value, -leaf.id),
    )


def simulations(tree: Tree, config: SearchConfig) -> list[int]:
    """Returns the step of the search `[N]` that made each node; the root, and what was given, are
    there at step 0.

    Nodes are stored as they were made, an expansion's thoughts one behind the other. A step of MCTS
    brings up to `candidates` expansions of one node; of forks and of distinct solutions, every
    expansion is a step. (A simulation that ended at a finished leaf made no node, and has no step
    here.)
    """
    rolls = configured_rule(config).reach(tree.root) > 1
    width = 1 if config.algorithm in ("forks", "distinct") else config.candidates
    steps, children = [0] * len(tree.nodes), [0] * len(tree.nodes)
    step, grown, left = 0, -1, 0  # of the last expansion: its node, and how many more may follow
    for node in tree.nodes[tree.begun + 1 :]:
        assert node.parent is not None
        if not (rolls and node.id > tree.begun + 1 and node.parent == node.id - 1):
            if node.parent != grown or not left:
                step += 1
                grown = node.parent
                left = max(min(width, config.max_children - children[grown]), 1)
            left -= 1
        children[node.parent] += 1
        steps[node.id] = step
    return steps


def _shown_node(tree: Tree, node: Node, advantage: float | None) -> dict[str, Any]:
    """Returns one node; a figure that it has none of is null."""
    thought = node.thought
    entropy = sum(thought.entropy) / len(thought.entropy) if thought.entropy else None
    sibling = left_sibling(tree, node)
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
        "given": 0 < node.id <= tree.begun,
        "known": thought.known,
        "sibling": None if sibling is None else sibling.id,  # that the known tokens are of
        "mass": _number(node.mass),
        "reward": _number(node.reward),
        "outcome": node.outcome,
        "answer": None if node.answer is None else _cut(node.answer),
        "complete": thought.complete,
    }


def _prior(tree: Tree, node: Node) -> float:
    """Returns the share of the node's likelihood among those of its siblings."""
    assert node.parent is not None
    siblings = tree.nodes[node.parent].children
    likelihoods = np.array([tree.nodes[i].likelihood for i in siblings])
    return float(shares(likelihoods)[siblings.index(node.id)])


def _number(value: float | None) -> float | None:
    """Returns four significant digits; null for a number that is not finite, which JSON lacks."""
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


def _cut(text: str) -> str:
    """Returns the text, or its beginning and a note of how long it is."""
    if len(text) <= MOST_TEXT:
        return text
    return f"{text[:MOST_TEXT]}… [cut here: {len(text):,} characters in all]"
