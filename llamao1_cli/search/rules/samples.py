"""Independent chains from where the search begins, as a search rule."""

from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.tree import Node, Tree


class Samples:
    """`count` chains a tree: once, or again and again until its budget is spent."""

    def __init__(self, count: int, max_depth: int, *, endless: bool) -> None:
        self._count, self._max_depth, self._endless = count, max_depth, endless
        self._begun = False

    def pick(self, trees: list[Tree]) -> list[Pick]:
        """Returns chains for all trees at first; later more for those given, if `endless`."""
        again, self._begun = self._begun, True
        if again and not self._endless:
            return []
        return [Pick(tree, tree.start, self._count) for tree in trees if not tree.start.closed]

    def reach(self, node: Node) -> int:
        """Returns the thoughts up to the greatest depth: a chain goes to its end."""
        return self._max_depth - node.depth

    def absorb(self, tree: Tree, node: Node) -> None:
        """Do nothing: chains do not depend on those before them."""
