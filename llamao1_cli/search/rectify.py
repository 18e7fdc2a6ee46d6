"""The targets of a searched tree: what its outcomes say of every node."""

from llamao1_cli.search.tree import Node, Tree


def rectify(tree: Tree, discount: float, unfinished: str) -> None:
    """Set each node's target to what the outcomes below it say, and count the leaves below it.

    A leaf is worth its outcome (1 or 0); one that is unfinished or ungraded 0, or its value where
    `unfinished` is "rating". An inner node is worth the discounted mean over its children: they
    were sampled alike, while a mean over leaves would favour the branches that search visited most.
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
