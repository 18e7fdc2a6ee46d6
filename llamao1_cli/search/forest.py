"""What many trees look like together."""

import math
from collections.abc import Sequence

from llamao1_cli.search.coverage import covered, duplicate_tokens, ends
from llamao1_cli.search.tree import Tree
from llamao1_cli.search.weights import solution_counts


def forest_metrics(trees: Sequence[Tree]) -> dict[str, float]:
    """Returns what an iteration's trees look like, as shares and means; what a search began behind
    is not counted."""
    nodes = [node for tree in trees for node in tree.nodes[tree.begun + 1 :]]
    ratings = [node.thought.rating for node in nodes if node.thought.rating is not None]
    return {
        **_outcomes(trees),
        **_coverage(trees),
        "nodes": float(len(nodes)),
        "mean_entropy": _mean([e for node in nodes for e in node.thought.entropy]),
        "failed_rewards": float(sum(tree.failed_rewards for tree in trees)),
        **({"mean_rating": _mean(ratings)} if ratings or not nodes else {}),
    }


def mean_success(trees: Sequence[Tree]) -> float:
    """Returns the mean reward of a solution, as the trees estimate it at their roots; those that
    began further on know nothing of it, nor do those of problems too long to be played."""
    targets = [tree.root.target for tree in trees if not tree.begun and tree.root.children]
    return _mean([target for target in targets if target is not None])


def solution_nats(tree: Tree) -> float:
    """Returns the mean of -log p of the tree's solutions, each counted for as many as it stands
    for: without replacement that estimates the entropy of a solution."""
    counts, leaves = solution_counts(tree), list(tree.leaf_nodes())
    total = math.fsum(counts[leaf.id] for leaf in leaves)
    nats = math.fsum(-counts[leaf.id] * tree.log_probability(leaf) for leaf in leaves)
    return nats / (total or 1.0)


def _outcomes(trees: Sequence[Tree]) -> dict[str, float]:
    """Returns how many solutions and trees came out right. Only `success` is an estimate for the
    policy: a share of leaves favours what search visits most, and what is drawn but once. It is
    of trees that begin at their problem: behind given thoughts success is likelier. A problem that
    left no room for a thought was not failed."""
    trees = [tree for tree in trees if not tree.begun]
    unplayed = sum(not tree.root.children for tree in trees)
    trees = [tree for tree in trees if tree.root.children]
    leaves = [leaf for tree in trees for leaf in tree.leaf_nodes()]
    outcomes = [{node.outcome for node in tree.nodes} for tree in trees]
    count = max(len(trees), 1)
    return {
        "success": mean_success(trees),
        "solved_leaves": sum(leaf.outcome is True for leaf in leaves) / max(len(leaves), 1),
        "finished_leaves": sum(leaf.terminal for leaf in leaves) / max(len(leaves), 1),
        "solved_trees": sum(True in seen for seen in outcomes) / count,
        "mixed_trees": sum({True, False} <= seen for seen in outcomes) / count,
        "leaves": float(len(leaves)),
        "unplayed_problems": float(unplayed),
    }


def _coverage(trees: Sequence[Tree]) -> dict[str, float]:
    """Returns what was generated, how much of it repeats what the same tree had, and how much of
    what the policy would say the trees cover that begin at their problem."""
    generated = sum(tree.generated_tokens for tree in trees)
    solutions = sum(1 for tree in trees for _ in tree.leaf_nodes())
    return {
        "generated_tokens": float(generated),
        "duplicate_tokens": sum(map(duplicate_tokens, trees)) / max(generated, 1),
        "duplicate_solutions": sum(map(_copies, trees)) / max(solutions, 1),
        "covered": _mean([covered(tree) for tree in trees if not tree.begun]),
        "nats": _mean([solution_nats(t) for t in trees if t.root.children and not t.begun]),
    }


def _copies(tree: Tree) -> int:
    """Returns how many solutions say what an earlier one had said."""
    numbers = ends(tree)
    said = [numbers[leaf.id] for leaf in tree.leaf_nodes()]
    return len(said) - len({*said})


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
