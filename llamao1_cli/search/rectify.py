"""What outcomes make of every node once the search is over.

Thoughts that say the same behind the same path are one thought, drawn several times: what became of
each of them speaks for all. So independent solutions share what they found out about their common
beginnings, and blame falls on the step at which the wrong ones part from the right ones.
"""

from collections.abc import Hashable

from llamao1_cli.search.tree import Node, Tree


def rectify(tree: Tree, discount: float, unfinished: str) -> None:
    """Give each node the value that outcomes give it, and count the leaves below it.

    A leaf is worth its outcome (1 or 0); one that is unfinished or ungraded 0, or its value where
    `unfinished` is "rating". An inner node is worth the discounted mean over its children and those
    of the nodes that say the same: they were sampled alike, while a mean over leaves would favour
    the branches that search visited most.
    """
    groups: dict[int, list[Node]] = {}
    for node, first in zip(tree.nodes, same_thoughts(tree), strict=True):
        groups.setdefault(first, []).append(node)
    for first in sorted(groups, reverse=True):  # children stand behind all that are their parent
        nodes = groups[first]
        children = [child for node in nodes for child in tree.children(node)]
        if children:
            targets = [child.target for child in children if child.target is not None]
            target = discount * sum(targets) / len(targets)
        else:
            target = sum(_leaf_target(node, unfinished) for node in nodes) / len(nodes)
        for node in nodes:
            node.target = target
    for node in reversed(tree.nodes):
        node.leaves = sum(child.leaves for child in tree.children(node)) or 1


def same_thoughts(tree: Tree) -> list[int]:
    """For each node `[N]` the number of the first one that says the same behind the same path."""
    seen: dict[Hashable, int] = {}
    first: list[int] = []
    for node in tree.nodes:
        thought = node.thought
        said = (thought.meta, *thought.ids, thought.complete, thought.shown)
        key = (first[node.parent], said) if node.parent is not None and thought.ids else node.id
        first.append(seen.setdefault(key, node.id))
    return first


def _leaf_target(node: Node, unfinished: str) -> float:
    if node.outcome is not None:
        return float(node.outcome)
    return node.value if unfinished == "rating" else 0.0
