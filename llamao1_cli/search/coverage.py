"""What the solutions of a tree cover: how often they repeat each other, and how likely they are."""

import math

from llamao1_cli.search.tree import Node, Tree

Said = dict[tuple[int, int], int]  # (number of a token sequence, next token): number of the longer


def ends(tree: Tree) -> list[int]:
    """Returns a number `[N]` for what is said from the root up to each node: equal where the
    sampled tokens are the same."""
    return _read(tree)[0]


def duplicate_tokens(tree: Tree) -> int:
    """Returns how many generated tokens say again what another path from the root had said."""
    return _read(tree)[1]


def distinct_answers(tree: Tree) -> list[Node]:
    """Returns the nodes that state an answer, of those that say the same the first one."""
    first: dict[int, Node] = {}
    for node, end in zip(tree.nodes, ends(tree), strict=True):
        if node.terminal:
            first.setdefault(end, node)
    return list(first.values())


def covered(tree: Tree) -> float:
    """Returns the probability that one more solution, drawn alone, would be one that the tree
    has."""
    return min(math.fsum(tree.probability(node) for node in distinct_answers(tree)), 1.0)


def _read(tree: Tree) -> tuple[list[int], int]:
    said: Said = {}
    found, repeated = [0], 0
    for node in tree.nodes[1:]:
        assert node.parent is not None
        at = found[node.parent]
        for index, token in enumerate(node.thought.ids):
            repeated += (at, token) in said and index >= node.thought.known
            at = said.setdefault((at, token), len(said) + 1)
        found.append(at)
    return found, repeated
