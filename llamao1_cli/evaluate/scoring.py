"""What strategies' trees score, once their answers are graded, and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llamao1_cli.config.strategies import PASS_DISTINCT
from llamao1_cli.evaluate.calibration import step_quality, value_quality
from llamao1_cli.evaluate.choices import Choose
from llamao1_cli.evaluate.intervals import mean_interval, pass_at_k, wilson_interval
from llamao1_cli.search.protocol import Grade
from llamao1_cli.search.tree import Node, Tree

Result = dict[str, Any]


@dataclass(frozen=True)
class Forest:
    """The trees of all problems, and what they cost."""

    trees: list[Tree]
    seconds: float

    @property
    def tokens(self) -> int:
        """The tokens generated for all trees."""
        return sum(tree.generated_tokens for tree in self.trees)


def sample_outcomes(forest: Forest, grade: Grade) -> list[list[bool]]:
    """Returns whether each sample is right, a row a problem; one without an answer is wrong."""
    leaves = [(tree, leaf) for tree in forest.trees for leaf in tree.leaf_nodes()]
    stated = [(leaf.answer, tree.problem.answer) for tree, leaf in leaves if leaf.answer]
    verdicts = iter(grade(stated))
    rows: dict[int, list[bool]] = {id(tree): [] for tree in forest.trees}
    for tree, leaf in leaves:
        rows[id(tree)].append(bool(leaf.answer) and next(verdicts))
    return list(rows.values())


def choice_outcomes(forest: Forest, choose: Choose, grade: Grade) -> list[bool]:
    """Returns whether the answer chosen from each tree is right; no answer is wrong."""
    choices = [choose(tree, grade) for tree in forest.trees]
    asked = [
        (choice, tree.problem.answer)
        for choice, tree in zip(choices, forest.trees, strict=True)
        if choice is not None
    ]
    verdicts = iter(grade(asked))
    return [choice is not None and next(verdicts) for choice in choices]


def accuracy(forest: Forest, right: Sequence[bool]) -> Result:
    """Returns the accuracy and cost of a strategy, from whether it is right on each problem."""
    figures = _figures(forest, right, wilson_interval(sum(right), len(right)))
    return figures | {"right": [int(each) for each in right]}


def passes(forest: Forest, outcomes: Sequence[Sequence[bool]], samples: int) -> dict[str, Result]:
    """Returns pass@k for k of 1, 2, 4 … and all `samples`; each k is charged for all of them."""
    results = {}
    for draws in sorted({samples, *(2**power for power in range(samples.bit_length()))}):
        # A problem that leaves no room for a thought has one leaf, its root: all samples fail.
        chances = [pass_at_k(samples, sum(row), draws) for row in outcomes]
        results[f"pass@{draws}"] = _figures(forest, chances, mean_interval(chances))
    results[f"pass@{samples}"]["right"] = [int(any(row)) for row in outcomes]
    return results


def passes_in_order(
    forest: Forest, outcomes: Sequence[Sequence[bool]], draws: int
) -> dict[str, Result]:
    """Returns the shares of problems with a right one among the first k distinct solutions, for k
    of 1, 2, 4 … and all `draws`; each k is charged for all of them."""
    return {
        f"{PASS_DISTINCT}@{first}": accuracy(forest, [any(row[:first]) for row in outcomes])
        for first in sorted({draws, *(2**power for power in range(draws.bit_length()))})
    }


def qualities(forest: Forest, outcomes: Sequence[Sequence[bool]]) -> Result:
    """Returns how well values, and ratings alone, foretell outcomes: at the end of samples
    (`value`, `rating`) and at all their steps (`steps`)."""

    def value(node: Node) -> float:
        return node.value

    def rating(node: Node) -> float:
        return node.thought.rating

    return {
        "value": value_quality(forest.trees, outcomes, value),
        "rating": value_quality(forest.trees, outcomes, rating),
        "steps": {
            "value": step_quality(forest.trees, outcomes, value),
            "rating": step_quality(forest.trees, outcomes, rating),
        },
    }


def _figures(forest: Forest, scores: Sequence[float], interval: tuple[float, float]) -> Result:
    return {
        "accuracy": float(np.mean(scores)),
        "correct": float(np.sum(scores)),
        "n": len(scores),
        "ci95": list(interval),
        "generated_tokens": forest.tokens,
        "seconds": forest.seconds,
    }
