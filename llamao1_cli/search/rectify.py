"""Rectification: the targets of a searched tree, from the outcomes of its leaves."""

from llamao1_cli.search.tree import Node, Tree


def rectify(tree: Tree, discount: float, unfinished: str) -> None:
    """Set each node's target from the outcomes below it, and count the leaves below it.

    The target of a leaf is its outcome (1 or 0); of one that is unfinished or ungraded it is 0, or
    its value where `unfinished` is "rating". That of an inner node is the discounted mean over its
    children: they were sampled alike, while a mean over leaves would favour the branches that
    search visited most.
    """
    for node in reversed(tree.nodes):  # children stand behind their parents
        children = tree.children(node)
        if children:
            targets = [child.target for child in children if child.target is not None]
            node.target = discount * sum(targets) / len(targets)
            node.leaves = sum(child.leaves for child in children)
        else:
            node.target = _leaf_target(node, unfinished)
            node.leaves = 1


def _leaf_target(node: Node, unfinished: str) -> float:
    if node.outcome is not None:
        return float(node.outcome)
    return node.value if unfinished == "rating" else 0.0
