"""Monte-Carlo tree search for the best conclusion, as a search rule."""

from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.rules.mcts import back_up
from llamao1_cli.search.tree import Node, Tree


class Improvement:
    """Rolls out from where a roll-out likely ends right and none has yet, `rollouts` times a tree.

    That is the thought n with the largest Q(n) (1 - B(n)), of equals the earliest: Q(n) is the mean
    of n's value and of the results of the roll-outs through n, B(n) the highest value of a
    conclusion below n. So the search returns to a chain just before its values fall, and leaves a
    chain alone that ends well. The conclusions are no fair sample of the model's, since most come
    from where the search was in doubt: take the one of the highest value, not a vote.
    """

    def __init__(self, rollouts: int, max_depth: int) -> None:
        self._rollouts, self._max_depth = rollouts, max_depth

    def pick(self, trees: list[Tree]) -> list[Pick]:
        """Returns the next roll-out of each tree; none where it is done, or a conclusion is
        certain."""
        return [pick for tree in trees for pick in self._next(tree)]

    def reach(self, node: Node) -> int:
        """Returns the thoughts up to the greatest depth: a roll-out goes to its end."""
        return self._max_depth - node.depth

    def absorb(self, tree: Tree, node: Node) -> None:
        """Back up the result of a roll-out: the value of its conclusion, 0 without one."""
        back_up(tree, node, node.value if node.terminal else 0.0, discount=1.0)

    def _next(self, tree: Tree) -> list[Pick]:
        expandable, best = [node for node in tree.nodes if self._expandable(node)], best_below(tree)
        if tree.simulations >= self._rollouts or not expandable or best[0] == 1.0:
            return []
        tree.simulations += 1
        return [Pick(tree, max(expandable, key=lambda node: chance(node) * (1 - best[node.id])), 1)]

    def _expandable(self, node: Node) -> bool:
        return not (node.terminal or node.closed or node.depth >= self._max_depth)


def chance(node: Node) -> float:
    """Returns Q(n): the mean of a node's value and of those backed up through it."""
    return (node.value + node.value_sum) / (1 + node.visits)


def best_below(tree: Tree) -> list[float]:
    """Returns B(n) of each node: the highest value of a conclusion at or below it, 0 if none is."""
    best = [node.value if node.terminal else 0.0 for node in tree.nodes]
    for node in reversed(tree.nodes[1:]):  # children stand behind their parents
        assert node.parent is not None
        best[node.parent] = max(best[node.parent], best[node.id])
    return best
