"""What solutions that were drawn without replacement stand for.

A solution of probability p is in a sample that ends at the clock T if its own time, exponential
with rate p, is earlier: with probability 1 - exp(-pT). So w = p / (1 - exp(-pT)) for each of the
sample, and 0 for all others, has the mean p, and the sum of w f is an unbiased estimate of the mean
of f over the policy, for T the time of the first draw that is not in the sample (as for priority
samples: Duffield, Lund and Thorup 2007). With nothing left to draw T has no end, and w is p.

The mean of w over all times T at which the same solutions would have been drawn is unbiased too,
and steadier, as it does not depend on T. It is the unordered set estimator of Kool, van Hoof and
Welling (2020): their p R, R being the probability of the set given that the solution is the first
of it over that of the set. These weights always sum to 1.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from llamao1_cli.search.tree import Node, Tree

Estimator = Literal["set", "clock"]

# Steps of the integral over the clock T, from the first time on. T is mostly near k / left; beyond
# the last time lies less than e^-100 of its probability.
STEPS, FIRST, LAST = 2000, 1e-6, 1e2
LEAST = 1e-300  # stands for probabilities that are too small for a float


def clock_weights(probabilities: Sequence[float], clock: float) -> np.ndarray:
    """Returns p / (1 - exp(-pT)) `[k]`: what draws of probabilities p before the clock T stand
    for."""
    p = np.asarray(probabilities, float)
    seen = -np.expm1(-p * clock)
    return np.divide(p, seen, out=np.full(len(p), 1 / clock), where=seen > 0)


def set_weights(probabilities: Sequence[float]) -> np.ndarray:
    """Returns what each of k distinct draws stands for, whenever they were drawn `[k]`.

    That is the mean of the clock's weights over the clock T given the set: its density is that of
    the first time, with rate 1 - sum p, at which something else is drawn, times the probability
    that all of the set were drawn before it.
    """
    p = np.maximum(np.asarray(probabilities, float), LEAST)
    left = 1 - math.fsum(p)
    if left <= 0:
        return p / math.fsum(p)
    times = np.geomspace(FIRST, (LAST + 2 * len(p)) / left, STEPS)
    seen = -np.expm1(-np.outer(p, times))  # [k, STEPS]
    with np.errstate(divide="ignore"):
        log_density = np.log(seen).sum(0) - left * times + np.log(times)
    density = np.exp(log_density - log_density.max())
    each = np.divide(p[:, None], seen, where=seen > 0, out=np.zeros_like(seen))
    weights = each @ density
    return weights / weights.sum()


def weigh(tree: Tree, estimator: Estimator = "set") -> None:
    """Set the mass of all nodes, if solutions or children were drawn without replacement.

    With distinct solutions, that of a node is the sum of the weights of the solutions below it.
    With distinct children, the root's is 1, and a node's is shared out to its children by their
    weights.
    """
    if tree.clock is not None:
        _by_solutions(tree, tree.clock, estimator)
    elif any(node.clock is not None for node in tree.nodes):
        _by_children(tree, estimator)


def solution_counts(tree: Tree) -> list[float]:
    """Returns for how many of the tree's solutions each node stands `[N]`: the leaves below it, or
    where they were drawn without replacement, as many as they would be of draws with it."""
    whole = tree.root.mass
    if not whole:
        return [float(node.leaves) for node in tree.nodes]
    return [tree.root.leaves * ((node.mass or 0.0) / whole) for node in tree.nodes]


def draw_weights(tree: Tree) -> list[float]:
    """Returns how much what each node says counts in a sum over draws `[N]`: 1 with replacement,
    and without it as many draws with replacement as it stands for."""
    return solution_counts(tree) if tree.root.mass else [1.0] * len(tree.nodes)


def _by_solutions(tree: Tree, clock: float, estimator: Estimator) -> None:
    weights = _weights(tree.nodes, tree.log_probability, clock, estimator)
    for node in tree.nodes:
        node.mass = weights.get(node.id, 0.0)
    for node in reversed(tree.nodes[1:]):  # children stand behind their parents
        assert node.parent is not None
        parent = tree.nodes[node.parent]
        parent.mass = (parent.mass or 0.0) + (node.mass or 0.0)


def _by_children(tree: Tree, estimator: Estimator) -> None:
    tree.root.mass = 1.0
    for node in tree.nodes:
        children = tree.children(node)
        if node.clock is None:
            weights = {child.id: 1.0 for child in children}
        else:
            weights = _weights(children, _own_log_probability, node.clock, estimator)
        total = math.fsum(weights.values())
        for child in children:
            own = weights.get(child.id, 0.0)
            child.mass = (node.mass or 0.0) * own / total if total else 0.0


def _own_log_probability(node: Node) -> float:
    return math.fsum(node.thought.logprobs)


def _weights(
    drawn: Sequence[Node],
    log_probability: Callable[[Node], float],
    clock: float,
    estimator: Estimator,
) -> dict[int, float]:
    """Returns what the nodes that were drawn before the clock stand for, by their ids."""
    sample = [node for node in drawn if node.drawn is not None and node.drawn < clock]
    chances = [math.exp(log_probability(node)) for node in sample]
    own = set_weights(chances) if estimator == "set" else clock_weights(chances, clock)
    return {node.id: weight for node, weight in zip(sample, own.tolist(), strict=True)}
