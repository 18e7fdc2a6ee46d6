"""Step-level beam search: the best prefixes are continued, one thought at a time."""

from dataclasses import dataclass, field

from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.tree import Node, Tree


@dataclass
class _State:
    """How far the beam search in one tree is."""

    width: int  # prefixes kept, concluded ones included
    concluded: int = 0  # kept prefixes that state an answer
    candidates: list[Node] = field(default_factory=list)  # thoughts of the current step so far
    widths: int = 0  # sum over all beams of the tree so far, this one included


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
        self._states: dict[int, _State] = {}  # by the tree's id

    def pick(self, trees: list[Tree]) -> list[Pick]:
        """Returns the next step of each tree's beam; none where the last beam is done."""
        return [pick for tree in trees for pick in self._step(tree)]

    def reach(self, node: Node) -> int:
        """Returns 1: every thought is compared before the next one."""
        return 1

    def absorb(self, tree: Tree, node: Node) -> None:
        """Add one more candidate of the current step."""
        self._states[id(tree)].candidates.append(node)

    def _step(self, tree: Tree) -> list[Pick]:
        state = self._states.get(id(tree))
        if state is None:
            return self._begin(tree, 0)
        prefixes = self._kept(state)
        if prefixes:
            return [Pick(tree, node, self._candidates) for node in prefixes]
        return self._begin(tree, state.widths) if self._budget is not None else []

    def _kept(self, state: _State) -> list[Node]:
        """Returns the prefixes to continue, best first, and of equals the earlier."""
        room = state.width - state.concluded
        best = sorted(state.candidates, key=lambda node: -node.value)[:room]
        state.candidates = []
        state.concluded += sum(node.terminal for node in best)
        return [node for node in best if not node.terminal and node.depth < self._max_depth]

    def _begin(self, tree: Tree, widths: int) -> list[Pick]:
        """Begin a new beam; returns its first step, of as many thoughts as later steps have."""
        if tree.start.closed:
            return []
        width = self._width
        if self._budget is not None:
            spent = tree.generated_tokens
            affordable = (self._budget - spent) * widths // spent if spent else 1
            width = min(max(affordable, 1), width)
        self._states[id(tree)] = _State(width, widths=widths + width)
        return [Pick(tree, tree.start, width * self._candidates)]
