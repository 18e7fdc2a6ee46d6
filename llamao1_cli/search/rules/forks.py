"""Independent chains first, then forks where the chains leave something to learn.

After TreeRL's entropy-guided search, with the forks of a whole batch shared out: to trees of both
right and wrong conclusions at the steps the model was least sure of, and to trees of wrong ones
alone at the thoughts from which success is likeliest.
"""

from collections.abc import Iterator
from itertools import chain, zip_longest

from llamao1_cli.config import SearchConfig
from llamao1_cli.search.tree import Node, Tree

Place = tuple[int, Node]  # a tree's number, and a node of it to fork at


class Forks:
    """Two rounds: `chains` from every root, then about `forks` a problem."""

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._trees: list[Tree] = []
        self._out = 0  # trees whose chains are not back yet
        self._forked = False

    def pick(self, trees: list[Tree]) -> list[tuple[Tree, Node, int]]:
        """Chains for all trees first; forks once the chains of all are back, and then nothing."""
        if not self._trees:
            self._trees, self._out = trees, len(trees)
            return [(tree, tree.root, self._config.chains) for tree in trees]
        self._out -= len(trees)
        if self._out or self._forked:
            return []
        self._forked = True
        return [(self._trees[place], node, 1) for place, node in self._places()]

    def absorb(self, tree: Tree, node: Node) -> None:
        """Nothing: this search reads no statistics while it runs."""

    def _places(self) -> Iterator[Place]:
        """Doubts and rescues in turn, as many as there are forks to give."""
        trees, left = self._trees, round(self._config.forks * len(self._trees))
        taken = [0] * len(trees)
        for place, node in _in_turn(doubts(trees), rescues(trees)):
            if left and taken[place] < self._config.max_forks:
                taken[place] += 1
                left -= 1
                yield place, node


def doubts(trees: list[Tree]) -> list[Place]:
    """The parents of the steps in mixed trees, those before the most uncertain steps first."""
    steps = [
        (max(node.thought.entropy, default=0.0), place, node.id)
        for place, tree in enumerate(trees)
        if mixed(tree)
        for node in tree.nodes
        if node.depth >= 2  # a fork of a first step would be one more chain
    ]
    ordered = sorted(steps, key=lambda step: (-step[0], step[1], step[2]))
    return [(place, _parent(trees[place], number)) for _, place, number in ordered]


def rescues(trees: list[Tree]) -> list[Place]:
    """The inner thoughts of failed trees, first where a fork brings the most success for its cost:
    by value over the thoughts that a chain of this tree would still take."""
    promising = []
    for place, tree in enumerate(trees):
        if not failed(tree):
            continue
        depths = [leaf.depth for leaf in tree.leaf_nodes()]
        length = sum(depths) / len(depths)
        promising += [
            (node.value / max(length - node.depth, 1.0), place, node.id)
            for node in tree.nodes[1:]
            if node.children
        ]
    ordered = sorted(promising, key=lambda each: (-each[0], each[1], each[2]))
    return [(place, trees[place].nodes[number]) for _, place, number in ordered]


def mixed(tree: Tree) -> bool:
    """Whether the tree has both a right and a wrong conclusion."""
    return {True, False} <= {node.outcome for node in tree.nodes}


def failed(tree: Tree) -> bool:
    """Whether the tree has wrong conclusions and no right one."""
    outcomes = {node.outcome for node in tree.nodes}
    return False in outcomes and True not in outcomes


def _parent(tree: Tree, number: int) -> Node:
    parent = tree.nodes[number].parent
    assert parent is not None
    return tree.nodes[parent]


def _in_turn(first: list[Place], second: list[Place]) -> Iterator[Place]:
    return (each for each in chain(*zip_longest(first, second)) if each is not None)
