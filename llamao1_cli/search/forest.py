"""What many trees look like together."""

from collections.abc import Sequence

from llamao1_cli.search.tree import Tree


def forest_metrics(trees: Sequence[Tree]) -> dict[str, float]:
    """Returns what an iteration's trees look like, as shares and means."""
    leaves = [leaf for tree in trees for leaf in tree.leaf_nodes()]
    nodes = [node for tree in trees for node in tree.nodes[1:]]
    outcomes = [{node.outcome for node in tree.nodes} for tree in trees]
    count = max(len(trees), 1)
    return {
        "solved_leaves": sum(leaf.outcome is True for leaf in leaves) / max(len(leaves), 1),
        "finished_leaves": sum(leaf.terminal for leaf in leaves) / max(len(leaves), 1),
        "solved_trees": sum(True in seen for seen in outcomes) / count,
        "mixed_trees": sum({True, False} <= seen for seen in outcomes) / count,
        "nodes": float(len(nodes)),
        "leaves": float(len(leaves)),
        "generated_tokens": float(sum(tree.generated_tokens for tree in trees)),
        "mean_entropy": _mean([e for node in nodes for e in node.thought.entropy]),
        "mean_rating": _mean([node.thought.rating for node in nodes]),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
