"""OmegaPRM (Luo et al. 2024): which step of a solution was the first from which nobody recovered.

A prefix is worth the share of its completions that end right. Of a wrong completion the first step
worth 0 is found by binary search, and each prefix that was measured on the way brings completions
to search next. What was measured stands in the tree: `visits` completions of a prefix, `value_sum`
of them right.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.tree import Node, Tree

ALPHA, BETA, LENGTH, EXPLORATION = 0.5, 0.9, 500, 0.125  # as published


def completion_score(value: float, tokens: int, visits: int, all_visits: int) -> float:
    """Q(s, r) + U(s) of a completion r of `tokens` tokens of a prefix s of `value` MC(s).

    Q = alpha^(1 - MC) beta^(length / L): long prefixes nearly right are searched first.
    U = c sqrt(sum N) / (1 + N(s)), N being how many of a prefix's completions were searched.
    """
    quality = ALPHA ** (1 - value) * BETA ** (tokens / LENGTH)
    return float(quality + EXPLORATION * np.sqrt(all_visits) / (1 + visits))


@dataclass
class _Hunt:
    """The searches under way in one tree."""

    asked: Node  # the prefix whose completions are out
    back: list[Node] = field(default_factory=list)  # their last thoughts
    picked: Counter[int] = field(default_factory=Counter)  # N(s), by the prefix's number
    wrong: list[tuple[Node, Node]] = field(default_factory=list)  # prefix, end of its completion
    way: list[Node] = field(default_factory=list)  # from a prefix to the end of its completion
    low: int = 0  # the last index on the way known to be worth more than 0
    high: int = 0  # the first index known to be worth 0
    searches: int = 0
    found: list[Node] = field(default_factory=list)  # the first step worth 0 of each search


def label(tree: Tree) -> None:
    """Make what was measured the targets of a searched tree that has some.

    A measured prefix gets its share of right completions, and stands for that many leaves; a step
    that was not keeps what rectification makes of its children.
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

    It needs grades: without them every completion counts as wrong, as one that comes to no
    conclusion does.
    """

    def __init__(self, completions: int, searches: int, max_depth: int) -> None:
        self._completions, self._searches = completions, searches
        self._max_depth = max_depth
        self._hunts: dict[int, _Hunt] = {}  # by the tree's id

    def pick(self, trees: list[Tree]) -> list[Pick]:
        """Returns the next prefix to measure in each tree; none where the searches are done."""
        picks: list[Pick] = []
        for tree in trees:
            if id(tree) not in self._hunts:
                self._hunts[id(tree)] = _Hunt(tree.root)
                picks.append((tree, tree.root, self._completions))
            elif node := self._next(tree, self._hunts[id(tree)]):
                picks.append((tree, node, self._completions))
        return picks

    def reach(self, node: Node) -> int:
        """Returns the thoughts up to the greatest depth: a completion goes to its end."""
        return self._max_depth - node.depth

    def absorb(self, tree: Tree, node: Node) -> None:
        """One more completion of the prefix that was asked for last."""
        self._hunts[id(tree)].back.append(node)

    @property
    def found(self) -> int:
        """How many first wrong steps were found in all trees."""
        return sum(len(hunt.found) for hunt in self._hunts.values())

    def first_wrong_steps(self, tree: Tree) -> list[Node]:
        """Returns the first step worth 0 of each completion that was searched."""
        return self._hunts[id(tree)].found

    def _next(self, tree: Tree, hunt: _Hunt) -> Node | None:
        """Take in the completions that came back; returns the prefix to measure next."""
        self._measure(hunt)
        while hunt.high - hunt.low <= 1:
            if hunt.way:
                hunt.found.append(hunt.way[hunt.high])
                hunt.way = []
            if hunt.searches == self._searches or not self._choose(tree, hunt):
                return None
        hunt.asked, hunt.back = hunt.way[(hunt.low + hunt.high) // 2], []
        return hunt.asked

    def _measure(self, hunt: _Hunt) -> None:
        """The value of the prefix asked for, which halves the search it belongs to."""
        prefix = hunt.asked
        right = sum(end.outcome is True for end in hunt.back)
        prefix.visits, prefix.value_sum = self._completions, float(right)
        if right:  # where nothing is right, the first wrong step lies before
            hunt.wrong += [(prefix, end) for end in hunt.back if end.outcome is not True]
        if hunt.way:
            middle = (hunt.low + hunt.high) // 2
            hunt.low, hunt.high = (middle, hunt.high) if right else (hunt.low, middle)

    def _choose(self, tree: Tree, hunt: _Hunt) -> bool:
        """Begin to search the wrong completion of the highest score; False if there is none."""
        if not hunt.wrong:
            return False
        total = hunt.picked.total()
        scores = []
        for prefix, end in hunt.wrong:
            steps = tree.path(end)[prefix.depth + 1 :]
            tokens = sum(len(step.thought.ids) for step in steps)
            picked = hunt.picked[prefix.id]
            scores.append(completion_score(prefix.mean_value, tokens, picked, total))
        prefix, end = hunt.wrong.pop(int(np.argmax(scores)))
        hunt.picked[prefix.id] += 1
        hunt.searches += 1
        hunt.way = tree.path(end)[prefix.depth :]
        hunt.low, hunt.high = 0, len(hunt.way) - 1
        return True
