"""Ways to choose a solution from a tree: pure functions of its nodes. None sees the true
answer, nor a reward.
"""

from collections.abc import Callable

from llamao1_cli.evaluate.reductions import Reduction, last
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.equality.groups import Equal, Group, join

# Takes a tree, and what tells whether two answers are equal; returns the last thought of the
# solution, None where no thought states an answer.
Choose = Callable[..., Node | None]


def first_answer(tree: Tree, equal: Equal) -> Node | None:
    """Returns the solution of a tree of one chain."""
    return next((node for node in tree.nodes if node.terminal), None)


def majority(tree: Tree, equal: Equal) -> Node | None:
    """Returns the first solution of the answer that most agree on; the earliest of equals."""
    return _vote(tree, equal, lambda node: 1.0)


def weighted_vote(tree: Tree, equal: Equal, reduce: Reduction = last) -> Node | None:
    """Returns the first solution of the answer whose paths are worth most together."""
    return _vote(tree, equal, lambda node: path_worth(tree, node, reduce))


def search_vote(tree: Tree, equal: Equal) -> Node | None:
    """Returns the first solution of the answer whose leaves' values, each times its visits, sum
    highest."""
    return _vote(tree, equal, lambda node: node.value * max(node.visits, 1))


def mass(tree: Tree, equal: Equal) -> Node | None:
    """Returns the first solution of the answer whose solutions are likeliest together. They must be
    distinct: then it is the model's most probable answer, computed instead of voted for."""
    return _vote(tree, equal, tree.probability)


def mass_value(tree: Tree, equal: Equal) -> Node | None:
    """Returns the first solution of the answer whose solutions' probabilities, each times its
    value, sum highest."""
    return _vote(tree, equal, lambda node: tree.probability(node) * node.value)


def best_of(tree: Tree, equal: Equal, reduce: Reduction = last) -> Node | None:
    """Returns the solution whose path is worth most; the earliest of equals."""
    ends = [node for node in tree.nodes if node.terminal]
    return max(ends, key=lambda node: path_worth(tree, node, reduce)) if ends else None


def path_worth(tree: Tree, node: Node, reduce: Reduction) -> float:
    """Returns the values of the thoughts down to `node`, reduced to one; the problem is no
    thought."""
    return reduce([step.value for step in tree.path(node)[1:]])


def _vote(tree: Tree, equal: Equal, weight: Callable[[Node], float]) -> Node | None:
    groups: list[Group] = []
    firsts: list[Node] = []  # of each group
    totals: list[float] = []
    for node in tree.nodes:
        if node.answer:  # an empty one was stated by nobody
            index = join(node.answer, groups, equal)
            if index == len(firsts):
                firsts.append(node)
                totals.append(0.0)
            totals[index] += weight(node)
    return firsts[totals.index(max(totals))] if firsts else None


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
