"""OmegaPRM (Luo et al. 2024): finds the first step of a solution after which nobody recovers.

A prefix is worth the mean reward of its completions. In a wrong completion, the first step from
which none ended right is found by binary search. Each prefix that is measured on the way adds its
own wrong completions to those that may be searched next. The tree keeps what was measured: `visits`
is how many completions a prefix had, `value_sum` the sum of what they earned.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.tree import Node, Tree

ALPHA, BETA, LENGTH, EXPLORATION = 0.5, 0.9, 500, 0.125  # as published


def completion_score(value: float, tokens: int, visits: int, all_visits: int) -> float:
    """Returns Q(s, r) + U(s) of a completion r with `tokens` tokens, of a prefix s worth MC(s).

    Q = alpha^(1 - MC) beta^(tokens / L) puts short completions of good prefixes first.
    U = c sqrt(sum N) / (1 + N(s)), where N counts the completions of a prefix that were searched.
    """
    quality = ALPHA ** (1 - value) * BETA ** (tokens / LENGTH)
    return float(quality + EXPLORATION * np.sqrt(all_visits) / (1 + visits))


@dataclass
class _Progress:
    """How far the searches in one tree are."""

    prefix: Node  # the one being measured
    ends: list[Node] = field(default_factory=list)  # last thoughts of its completions so far
    searched: Counter[int] = field(default_factory=Counter)  # N(s), by the prefix's id
    wrong: list[tuple[Node, Node]] = field(default_factory=list)  # prefix, end of its completion
    path: list[Node] = field(default_factory=list)  # being searched: prefix to completion's end
    low: int = 0  # last index in the path from which one ended right
    high: int = 0  # first index in the path from which none ended right
    searches: int = 0  # begun so far
    found: list[Node] = field(default_factory=list)  # the first wrong step of each search


def label(tree: Tree) -> None:
    """Make what was measured the targets of a searched tree that has some.

    A measured prefix gets the mean reward of its completions, and counts as that many leaves. A
    step that was not measured gets the mean target of its children.
    """
    for node in reversed(tree.nodes):  # children stand behind their parents
        if node.visits:
            node.target, node.leaves = node.mean_value, node.visits
        elif node.children:
            children = tree.children(node)
            targets = [child.target for child in children if child.target is not None]
            node.target = sum(targets) / len(targets)
            node.leaves = sum(child.leaves for child in children)


class Omega:
    """Measures prefixes by `completions` roll-outs each, and makes `searches` searches a tree.

    It needs rewards: a completion that has none counts as wrong, as does one without an answer.
    """

    def __init__(self, completions: int, searches: int, max_depth: int) -> None:
        self._completions, self._searches = completions, searches
        self._max_depth = max_depth
        self._progress: dict[int, _Progress] = {}  # by the tree's id

    def pick(self, trees: list[Tree]) -> list[Pick]:
        """Returns the next prefix to measure in each tree; none where the searches are done."""
        picks: list[Pick] = []
        for tree in trees:
            if id(tree) not in self._progress:
                self._progress[id(tree)] = _Progress(tree.root)
                picks.append(Pick(tree, tree.root, self._completions))
            elif node := self._next(tree, self._progress[id(tree)]):
                picks.append(Pick(tree, node, self._completions))
        return picks

    def reach(self, node: Node) -> int:
        """Returns the thoughts up to the greatest depth: a completion goes to its end."""
        return self._max_depth - node.depth

    def absorb(self, tree: Tree, node: Node) -> None:
        """Add one more completion of the prefix being measured."""
        self._progress[id(tree)].ends.append(node)

    @property
    def found(self) -> int:
        """The number of first wrong steps found in all trees."""
        return sum(len(each.found) for each in self._progress.values())

    def first_wrong_steps(self, tree: Tree) -> list[Node]:
        """Returns the first wrong step of each completion that was searched."""
        return self._progress[id(tree)].found

    def _next(self, tree: Tree, progress: _Progress) -> Node | None:
        """Take in the completions that came back; returns the prefix to measure next."""
        self._measure(progress)
        while progress.high - progress.low <= 1:
            if progress.path:
                progress.found.append(progress.path[progress.high])
                progress.path = []
            if progress.searches == self._searches or not self._choose(tree, progress):
                return None
        progress.prefix, progress.ends = progress.path[(progress.low + progress.high) // 2], []
        return progress.prefix

    def _measure(self, progress: _Progress) -> None:
        """Set the value of the measured prefix, and halve the search that it belongs to."""
        prefix = progress.prefix
        right = sum(end.outcome is True for end in progress.ends)
        earned = math.fsum(end.reward or 0.0 for end in progress.ends)
        prefix.visits, prefix.value_sum = self._completions, earned
        if right:  # where nothing is right, the first wrong step lies before
            progress.wrong += [(prefix, end) for end in progress.ends if end.outcome is not True]
        if progress.path:
            middle = (progress.low + progress.high) // 2
            progress.low, progress.high = (
                (middle, progress.high) if right else (progress.low, middle)
            )

    def _choose(self, tree: Tree, progress: _Progress) -> bool:
        """Begin to search the wrong completion with the highest score; returns whether there is
        one."""
        if not progress.wrong:
            return False
        total = progress.searched.total()
        scores = []
        for prefix, end in progress.wrong:
            steps = tree.path(end)[prefix.depth + 1 :]
            tokens = sum(len(step.thought.ids) for step in steps)
            visits = progress.searched[prefix.id]
            scores.append(completion_score(prefix.mean_value, tokens, visits, total))
        prefix, end = progress.wrong.pop(int(np.argmax(scores)))
        progress.searched[prefix.id] += 1
        progress.searches += 1
        progress.path = tree.path(end)[prefix.depth :]
        progress.low, progress.high = 0, len(progress.path) - 1
        return True
