"""What is told of how a tree's thoughts were drawn: how likely, and behind which sibling."""

import math
from itertools import takewhile

from llamao1_cli.search.tree import Node, Tree


def probabilities(tree: Tree) -> list[float]:
    """Returns the probability of the path to each node `[N]`, as it was sampled; of what was given
    it is 1."""
    logs: list[float] = []
    for node in tree.nodes:
        above = 0.0 if node.parent is None else logs[node.parent]
        given = node.id <= tree.begun
        logs.append(above if given else above + math.fsum(node.thought.logprobs))
    return [math.exp(log) for log in logs]


def left_sibling(tree: Tree, node: Node) -> Node | None:
    """Returns the sibling that a thought begins like, as its first tokens were known; the earliest
    of several, and None for a thought that is new from its first token on."""
    known = node.thought.known
    if node.parent is None or not known:
        return None
    siblings = tree.children(tree.nodes[node.parent])
    begun = node.thought.ids[:known]
    earlier = (each for each in siblings if each.id < node.id)
    return next((each for each in earlier if each.thought.ids[:known] == begun), None)


def shared_text(tree: Tree, node: Node) -> str:
    """Returns the beginning of a thought's text that the sibling it begins like has, too."""
    sibling = left_sibling(tree, node)
    both = zip(node.thought.text, sibling.thought.text if sibling else "", strict=False)
    return "".join(letter for letter, _ in takewhile(lambda pair: pair[0] == pair[1], both))
