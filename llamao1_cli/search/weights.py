"""What solutions that were drawn without replacement stand for.

A solution of probability p is in a sample that ends at the clock T if its own time, exponential
with rate p, is earlier: with probability 1 - exp(-pT). So w = p / (1 - exp(-pT)) for each of the
sample, and 0 for all others, has the mean p, and the sum of w f is an unbiased estimate of the mean
of f over the policy, for T the time of the first draw that is not in the sample (as for priority
samples: Duffield, Lund and Thorup 2007). With nothing left to draw T has no end, and w is p.
"""

import math

from llamao1_cli.search.tree import Node, Tree


def weight(probability: float, clock: float) -> float:
    """Returns p / (1 - exp(-pT)): what a draw of probability p before the clock T stands for."""
    seen = -math.expm1(-probability * clock)
    return probability / seen if seen > 0 else 1 / clock


def weigh(tree: Tree) -> None:
    """Set the mass of all nodes, if solutions or children were drawn without replacement.

    With distinct solutions, that of a node is the sum of the weights of the solutions below it; the
    root's is 1 in the mean. With distinct children, the root's is 1, and a node's is shared out to
    its children by their weights.
    """
    if tree.clock is not None:
        _by_solutions(tree, tree.clock)
    elif any(node.clock is not None for node in tree.nodes):
        _by_children(tree)


def relative_masses(tree: Tree) -> list[float] | None:
    """Returns the mass of each node `[N]` over the root's; None where all draws count alike, or
    none does."""
    whole = tree.root.mass
    return [(node.mass or 0.0) / whole for node in tree.nodes] if whole else None


def _by_solutions(tree: Tree, clock: float) -> None:
    for node in reversed(tree.nodes):  # children stand behind their parents
        below = math.fsum(child.mass or 0.0 for child in tree.children(node))
        early = node.drawn is not None and node.drawn < clock
        node.mass = below + (weight(tree.probability(node), clock) if early else 0.0)


def _by_children(tree: Tree) -> None:
    tree.root.mass = 1.0
    for node in tree.nodes:
        assert node.mass is not None
        children = tree.children(node)
        weights = [_among_siblings(child, node.clock) for child in children]
        total = math.fsum(weights)
        for child, own in zip(children, weights, strict=True):
            child.mass = node.mass * own / total if total else 0.0


def _among_siblings(node: Node, clock: float | None) -> float:
    if clock is None:
        return 1.0
    early = node.drawn is not None and node.drawn < clock
    return weight(math.exp(sum(node.thought.logprobs)), clock) if early else 0.0
