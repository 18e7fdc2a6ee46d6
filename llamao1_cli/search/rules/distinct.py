"""Distinct solutions: every draw is one that the tree has not, and costs only what is new in it."""

from dataclasses import dataclass

import numpy as np

from llamao1_cli.config import SearchConfig
from llamao1_cli.search.frontier import Frontier
from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.tree import Node, Tree


@dataclass
class _Progress:
    """How far the draws of one tree are."""

    frontier: Frontier
    drawn: int = 0
    covered: float = 0.0  # probability of the solutions so far


class Distinct:
    """Solutions without replacement, `search.branches_at_once` of a tree at a time.

    A branch that was taken too early, because what came of one beside it was earlier than it, is no
    part of the sample: at two at a time that is one solution of forty, at four every sixth.

    A tree is done with `search.solutions` of them, when they cover `search.covered_mass`, when it
    has generated `search.tree_tokens`, or when nothing is left.
    """

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._progress: dict[int, _Progress] = {}  # by the tree's id

    def pick(self, trees: list[Tree]) -> list[Pick]:
        """Returns the next draws of each tree; none where it is done."""
        return [pick for tree in trees for pick in self._next(tree)]

    def reach(self, node: Node) -> int:
        """Returns the thoughts up to the greatest depth: a solution goes to its end."""
        return self._config.max_depth - node.depth

    def absorb(self, tree: Tree, node: Node) -> None:
        """Count one more solution."""
        progress = self._progress[id(tree)]
        progress.drawn += 1
        progress.covered += tree.probability(node)

    def _next(self, tree: Tree) -> list[Pick]:
        config = self._config
        progress = self._progress.get(id(tree)) or self._begin(tree)
        spent = config.tree_tokens and tree.generated_tokens >= config.tree_tokens
        if spent or progress.covered >= config.covered_mass:
            return []
        left = config.solutions - progress.drawn
        count = max(min(left, config.branches_at_once, len(progress.frontier)), 0)
        return [Pick(tree, tree.start, count, progress.frontier)] if count else []

    def _begin(self, tree: Tree) -> _Progress:
        rng = np.random.default_rng([tree.seed, 5, 0])
        progress = _Progress(Frontier(tree.start, rng, whole=True))
        self._progress[id(tree)] = progress
        return progress
