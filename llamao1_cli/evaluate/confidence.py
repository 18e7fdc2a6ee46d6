"""Values from the model's confidence: how likely it held the tokens of a path to be."""

import math
from collections.abc import Sequence

from llamao1_cli.search.tree import Tree


class Confidence:
    """Sets every value to exp of the mean token log-prob of the path; the root has no tokens and
    gets 1. It costs nothing, and knows nothing but what the model wrote."""

    def __init__(self) -> None:
        # By the tree's id: the sum of log-probs and the number of tokens of the path to each node.
        self._paths: dict[int, list[tuple[float, int]]] = {}

    def __call__(self, trees: Sequence[Tree]) -> None:
        """Set the values of the nodes that are new since the last call."""
        for tree in trees:
            known = self._paths.setdefault(id(tree), [])
            for node in tree.nodes[len(known) :]:
                total, count = (0.0, 0) if node.parent is None else known[node.parent]
                total += sum(node.thought.logprobs)
                count += len(node.thought.logprobs)
                known.append((total, count))
                node.value = math.exp(total / count) if count else 1.0
