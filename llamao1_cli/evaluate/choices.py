"""Ways to choose an answer from a tree: pure functions of its nodes. None sees the true answer."""

from collections.abc import Callable

from llamao1_cli.evaluate.reductions import Reduction, last
from llamao1_cli.search.protocol import Grade
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.equality.groups import Group, join

# Takes a tree, and what tells whether two answers are equal; returns no answer where it has none.
Choose = Callable[..., str | None]


def first_answer(tree: Tree, grade: Grade) -> str | None:
    """Returns the answer of a tree of one chain."""
    return next((node.answer for node in tree.nodes if node.terminal), None)


def majority(tree: Tree, grade: Grade) -> str | None:
    """Returns the answer that most samples agree on; the earliest of equals."""
    return _vote(tree, grade, lambda node: 1.0)


def weighted_vote(tree: Tree, grade: Grade, reduce: Reduction = last) -> str | None:
    """Returns the answer whose paths are worth most together."""
    return _vote(tree, grade, lambda node: path_worth(tree, node, reduce))


def search_vote(tree: Tree, grade: Grade) -> str | None:
    """Returns the answer whose leaves' values, each times its visits, sum highest."""
    return _vote(tree, grade, lambda node: node.value * max(node.visits, 1))


def mass(tree: Tree, grade: Grade) -> str | None:
    """Returns the answer whose solutions are likeliest together. They must be distinct: then it is
    the model's most probable answer, computed instead of voted for."""
    return _vote(tree, grade, tree.probability)


def mass_value(tree: Tree, grade: Grade) -> str | None:
    """Returns the answer whose solutions' probabilities, each times its value, sum highest."""
    return _vote(tree, grade, lambda node: tree.probability(node) * node.value)


def best_of(tree: Tree, grade: Grade, reduce: Reduction = last) -> str | None:
    """Returns the answer of the path that is worth most; the earliest of equals."""
    ends = [node for node in tree.nodes if node.terminal]
    return max(ends, key=lambda node: path_worth(tree, node, reduce)).answer if ends else None


def path_worth(tree: Tree, node: Node, reduce: Reduction) -> float:
    """Returns the values of the thoughts down to `node`, reduced to one; the problem is no
    thought."""
    return reduce([step.value for step in tree.path(node)[1:]])


def _vote(tree: Tree, grade: Grade, weight: Callable[[Node], float]) -> str | None:
    groups: list[Group] = []
    totals: list[float] = []
    for node in tree.nodes:
        if node.answer is not None:
            index = join(node.answer, groups, grade)
            totals += [0.0] * (len(groups) - len(totals))
            totals[index] += weight(node)
    return groups[totals.index(max(totals))][0] if totals else None


# By their names in `config/strategies.py`; those that weigh paths take a reduction too.
REDUCING = {"weighted_vote": weighted_vote, "best_of": best_of}
CHOICES: dict[str, Choose] = {
    "first_answer": first_answer,
    "majority": majority,
    "search_vote": search_vote,
    "mass": mass,
    "mass_value": mass_value,
    **REDUCING,
}
