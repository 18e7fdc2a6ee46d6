"""What a search asks of others: where to grow, what a thought is worth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from llamao1_cli.search.frontier import Frontier
from llamao1_cli.search.tree import Node, Tree

Judge = Callable[[Sequence[Tree]], None]  # sets the values of the nodes that are new
OnGrowth = Callable[[list[Tree]], None]  # sees all trees whenever some have grown


@dataclass(frozen=True)
class Pick:
    """Where a tree is to grow."""

    tree: Tree
    node: Node  # to expand
    count: int  # expansions
    frontier: Frontier | None = None  # whose earliest branches grow, wherever below `node` they are


def keep_ratings(trees: Sequence[Tree]) -> None:
    """Change nothing: the value of every node stays its rating."""


def unwatched(trees: list[Tree]) -> None:
    """Do nothing: nobody wants to see the trees grow."""


class SearchRule(Protocol):
    """Decides where trees grow and how far, and takes in what has grown."""

    def pick(self, trees: list[Tree]) -> list[Pick]:
        """Returns the next expansions, given the trees that wait for none.

        At first these are all trees, later those whose expansions have come back.
        """
        ...

    def reach(self, node: Node) -> int:
        """Returns how many thoughts an expansion of `node` may add at most, 1 or more."""
        ...

    def absorb(self, tree: Tree, node: Node) -> None:
        """Take in the last node of a new chain; it is graded if answers are known."""
        ...
