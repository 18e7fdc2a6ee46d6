"""Independent chains first, then forks where the chains leave something to learn.

After TreeRL's entropy-guided search, with the forks of a whole batch shared out: to trees of both
right and wrong conclusions at the steps the model was least sure of, and to trees of wrong ones
alone at the thoughts from which success is likeliest.
"""

from collections.abc import Iterator
from itertools import chain, zip_longest

from llamao1_cli.config import SearchConfig
from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.tree import Node, Tree

ForkPoint = tuple[int, Node]  # index of a tree, and a node of it to fork at


class Forks:
    """Two rounds: `chains` from every root, then about `forks` a problem."""

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._trees: list[Tree] = []
        self._out = 0  # trees whose chains are not back yet
        self._forked = False

    def pick(self, trees: list[Tree]) -> list[Pick]:
        """Chains for all trees first; forks once the chains of all are back, and then nothing."""
        if not self._trees:
            self._trees, self._out = trees, len(trees)
            return [Pick(tree, tree.start, self._config.chains) for tree in trees]
        self._out -= len(trees)
        if self._out or self._forked:
            return []
        self._forked = True
        return [Pick(self._trees[index], node, 1) for index, node in self._fork_points()]

    def reach(self, node: Node) -> int:
        """Returns the thoughts up to `search.max_depth`: chains and forks roll to an end."""
        return self._config.max_depth - node.depth

    def absorb(self, tree: Tree, node: Node) -> None:
        """Do nothing: this search reads no statistics while it runs."""

    def _fork_points(self) -> Iterator[ForkPoint]:
        """Yields uncertain steps and promising thoughts in turn, as many as there are forks."""
        trees, left = self._trees, round(self._config.forks * len(self._trees))
        taken = [0] * len(trees)
        for index, node in _in_turn(uncertain_steps(trees), promising_thoughts(trees)):
            if left and taken[index] < self._config.max_forks:
                taken[index] += 1
                left -= 1
                yield index, node


def uncertain_steps(trees: list[Tree]) -> list[ForkPoint]:
    """Returns the parents of the steps of mixed trees, before the least certain steps first."""
    steps = [
        (max(node.thought.entropy, default=0.0), index, node.id)
        for index, tree in enumerate(trees)
        if mixed(tree)
        for node in tree.nodes
        if node.depth >= tree.start.depth + 2  # a fork of a first step would be one more chain
    ]
    ordered = sorted(steps, key=lambda step: (-step[0], step[1], step[2]))
    return [(index, _parent(trees[index], number)) for _, index, number in ordered]


def promising_thoughts(trees: list[Tree]) -> list[ForkPoint]:
    """Returns the inner thoughts of failed trees, where a fork promises most for its cost first.

    That is by value over the thoughts that a chain of this tree would still take.
    """
    promising = []
    for index, tree in enumerate(trees):
        if not failed(tree):
            continue
        depths = [leaf.depth for leaf in tree.leaf_nodes()]
        length = sum(depths) / len(depths)
        promising += [
            (node.value / max(length - node.depth, 1.0), index, node.id)
            for node in tree.nodes[tree.begun + 1 :]
            if node.children
        ]
    ordered = sorted(promising, key=lambda each: (-each[0], each[1], each[2]))
    return [(index, trees[index].nodes[number]) for _, index, number in ordered]


def mixed(tree: Tree) -> bool:
    """Returns whether the tree has both a right and a wrong conclusion."""
    return {True, False} <= {node.outcome for node in tree.nodes}


def failed(tree: Tree) -> bool:
    """Returns whether the tree has wrong conclusions and no right one."""
    outcomes = {node.outcome for node in tree.nodes}
    return False in outcomes and True not in outcomes


def _parent(tree: Tree, number: int) -> Node:
    parent = tree.nodes[number].parent
    assert parent is not None
    return tree.nodes[parent]


def _in_turn(first: list[ForkPoint], second: list[ForkPoint]) -> Iterator[ForkPoint]:
    return (each for each in chain(*zip_longest(first, second)) if each is not None)
