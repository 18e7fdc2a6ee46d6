"""What strategies' trees score, once their solutions are rewarded, and what they cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llamao1_cli.config.strategies import PASS_DISTINCT
from llamao1_cli.evaluate.calibration import step_quality, value_quality
from llamao1_cli.evaluate.choices import Choose
from llamao1_cli.evaluate.intervals import mean_interval, pass_at_k, wilson_interval
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.equality.groups import Equal
from llamao1_cli.tasks.rewards import Rewards

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


def sample_rewards(forest: Forest, rewards: Rewards) -> list[list[float]]:
    """Returns what each sample earns, a row a problem; one without an answer earns 0."""
    leaves = [(tree, leaf) for tree in forest.trees for leaf in tree.leaf_nodes()]
    rows: dict[int, list[float]] = {id(tree): [] for tree in forest.trees}
    for (tree, _), reward in zip(leaves, _earned(leaves, rewards), strict=True):
        rows[id(tree)].append(reward)
    return list(rows.values())


def choice_rewards(forest: Forest, choose: Choose, equal: Equal, rewards: Rewards) -> list[float]:
    """Returns what the solution chosen from each tree earns; none earns 0."""
    return _earned([(tree, choose(tree, equal)) for tree in forest.trees], rewards)


def _earned(ends: Sequence[tuple[Tree, Node | None]], rewards: Rewards) -> list[float]:
    """Returns what the solutions earn that end with the given nodes; where there is none, 0."""
    said = [(tree.problem, tree.solution(end) if end else None) for tree, end in ends]
    earned = iter(rewards.of([(problem, each) for problem, each in said if each]))
    return [(next(earned) or 0.0) if each else 0.0 for _, each in said]


def accuracy(forest: Forest, earned: Sequence[float], solved_at: float) -> Result:
    """Returns the accuracy, the mean reward and the cost of a strategy, from what it earned on each
    problem."""
    right = [int(reward >= solved_at) for reward in earned]
    figures = _figures(forest, right, wilson_interval(sum(right), len(right)))
    return figures | {"reward": float(np.mean(earned)), "right": right}


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
    forest: Forest, earned: Sequence[Sequence[float]], solved_at: float, draws: int
) -> dict[str, Result]:
    """Returns the shares of problems with a right one among the first k distinct solutions, for k
    of 1, 2, 4 … and all `draws`; each k is charged for all of them."""
    best = {
        first: [max(row[:first]) for row in earned]
        for first in sorted({draws, *(2**power for power in range(draws.bit_length()))})
    }
    return {
        f"{PASS_DISTINCT}@{first}": accuracy(forest, rewards, solved_at)
        for first, rewards in best.items()
    }


def qualities(forest: Forest, earned: Sequence[Sequence[float]], solved_at: float) -> Result:
    """Returns how well values, and ratings alone, foretell rewards: at the end of samples
    (`value`, `rating`) and at all their steps (`steps`). Where nothing is rated, `rating` is None
    and no key of `steps`."""
    judges: dict[str, Callable[[Node], float]] = {"value": lambda node: node.value}
    nodes = [node for tree in forest.trees for node in tree.nodes]
    if all(node.thought.rating is not None for node in nodes):
        judges["rating"] = lambda node: node.thought.rating or 0.0
    return {
        "rating": None,
        **{
            name: value_quality(forest.trees, earned, judge, solved_at)
            for name, judge in judges.items()
        },
        "steps": {
            name: step_quality(forest.trees, earned, judge, solved_at)
            for name, judge in judges.items()
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
