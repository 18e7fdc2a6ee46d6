"""Step-level beam search: the best prefixes go on, one thought at a time."""

from dataclasses import dataclass, field

from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.tree import Node, Tree


@dataclass
class _Front:
    """A beam search under way in one tree."""

    width: int  # prefixes kept, those included that have come to a conclusion
    concluded: int = 0
    candidates: list[Node] = field(default_factory=list)  # made by the step in flight
    widths: int = 0  # of all beams of the tree so far, this one included


class Beam:
    """`width` prefixes a tree, each continued by `candidates` thoughts a step; the candidates with
    the highest values are kept, and a conclusion that is kept stays to the end.

    A `budget` of tokens is spent on one beam after the other. The first is one prefix wide and
    tells what a prefix costs; each later one is as wide as what is left pays for, `width` at most.
    """

    def __init__(
        self, width: int, candidates: int, max_depth: int, budget: int | None = None
    ) -> None:
        self._width, self._candidates, self._max_depth = width, candidates, max_depth
        self._budget = budget
        self._fronts: dict[int, _Front] = {}  # by the tree's id

    def pick(self, trees: list[Tree]) -> list[Pick]:
        """Returns the next step of each tree's beam; none where the last beam is done."""
        return [pick for tree in trees for pick in self._step(tree)]

    def reach(self, node: Node) -> int:
        """Returns 1: every thought is compared before the next one."""
        return 1

    def absorb(self, tree: Tree, node: Node) -> None:
        """One more candidate of the step in flight."""
        self._fronts[id(tree)].candidates.append(node)

    def _step(self, tree: Tree) -> list[Pick]:
        front = self._fronts.get(id(tree))
        if front is None:
            return self._begin(tree, 0)
        prefixes = self._kept(front)
        if prefixes:
            return [(tree, node, self._candidates) for node in prefixes]
        return self._begin(tree, front.widths) if self._budget is not None else []

    def _kept(self, front: _Front) -> list[Node]:
        """Returns the prefixes that go on, best first; the earlier of equals."""
        room = front.width - front.concluded
        best = sorted(front.candidates, key=lambda node: -node.value)[:room]
        front.candidates = []
        front.concluded += sum(node.terminal for node in best)
        return [node for node in best if not node.terminal and node.depth < self._max_depth]

    def _begin(self, tree: Tree, widths: int) -> list[Pick]:
        """Returns a new beam from the root, with as many first thoughts as a step has later."""
        if tree.root.closed:
            return []
        width = self._width
        if self._budget is not None:
            spent = tree.generated_tokens
            affordable = (self._budget - spent) * widths // spent if spent else 1
            width = min(max(affordable, 1), width)
        self._fronts[id(tree)] = _Front(width, widths=widths + width)
        return [(tree, tree.root, width * self._candidates)]
