"""Independent chains from the root, as a search rule."""

from llamao1_cli.search.grow import Pick
from llamao1_cli.search.tree import Node, Tree


class Samples:
    """`count` chains a tree: once, or again and again until its budget is spent."""

    def __init__(self, count: int, *, endless: bool) -> None:
        self._count, self._endless, self._begun = count, endless, False

    def pick(self, trees: list[Tree]) -> list[Pick]:
        """Chains for all trees first; later more of them if there is no end."""
        again, self._begun = self._begun, True
        if again and not self._endless:
            return []
        return [(tree, tree.root, self._count) for tree in trees if not tree.root.closed]

    def absorb(self, tree: Tree, node: Node) -> None:
        """Nothing: chains are drawn whatever came before."""
