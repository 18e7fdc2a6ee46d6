"""The outcomes of each thought, over all samples that say the same after the same path."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from llamao1_cli.language.marked import MarkedNode, Meta, Rating
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.search.weights import draw_weights


@dataclass(eq=False)
class Step:
    """A thought after a path. Samples that read the same are one step, so that no step is good in
    one row and bad in another."""

    said: MarkedNode  # numbered by its depth, and rated as its path shows it
    parent: "Step | None" = None
    children: dict[MarkedNode, "Step"] = field(default_factory=dict)
    outcome: bool | None = None  # whether the answer it states is right; None if it states none
    # Sampled ends below it, itself included, and those of them with a right or a wrong answer. What
    # was drawn without replacement counts for as many as it stands for.
    leaves: Fraction = Fraction(0)
    right: Fraction = Fraction(0)
    wrong: Fraction = Fraction(0)

    @property
    def quality(self) -> Fraction:
        """Returns the share of right leaves; one without an answer is not right."""
        return self.right / self.leaves if self.leaves else Fraction(0)

    def path(self) -> list["Step"]:
        """Returns the steps from the problem to this one, both included."""
        steps = [self]
        while steps[-1].parent is not None:
            steps.append(steps[-1].parent)
        return steps[::-1]

    def below(self) -> Iterator["Step"]:
        """Yields this step and all below it, depth first, in the order they were sampled."""
        waiting = [self]
        while waiting:
            step = waiting.pop()
            yield step
            waiting += reversed(step.children.values())


def problem_steps(trees: Iterable[Tree]) -> list[Step]:
    """Returns the first step of each problem, the problem itself; its trees share their steps."""
    problems: dict[MarkedNode, Step] = {}
    for tree in trees:
        said = MarkedNode(-1, 0, tree.problem.text, Meta.PROBLEM, Rating.UNKNOWN)
        add_tree(problems.setdefault(said, Step(said)), tree)
    return list(problems.values())


def add_tree(problem: Step, tree: Tree) -> list[Step]:
    """Add a tree's outcomes to the steps of its problem, and return the step of each node `[N]`.

    They say nothing of what the tree's search began behind, which was chosen for its outcome.
    """
    counts = [Fraction(count) for count in draw_weights(tree)]
    steps = [problem]
    for node in tree.nodes[1:]:
        assert node.parent is not None
        parent, said = steps[node.parent], _said(node)
        steps.append(parent.children.setdefault(said, Step(said, parent)))
    for leaf in tree.leaf_nodes():
        if leaf.outcome is not None:
            steps[leaf.id].outcome = leaf.outcome
        for node in tree.path(leaf)[tree.start.depth :]:
            steps[node.id].leaves += counts[leaf.id]
            steps[node.id].right += counts[leaf.id] * (leaf.outcome is True)
            steps[node.id].wrong += counts[leaf.id] * (leaf.outcome is False)
    return steps


def _said(node: Node) -> MarkedNode:
    thought = node.thought
    return MarkedNode(node.depth - 1, node.depth, thought.text, thought.meta, Rating(thought.shown))
