"""The most probable solutions first, for answering: nothing is left to chance."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from llamao1_cli.search.frontier import Frontier
from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.equality.groups import Group, join
from llamao1_cli.tasks.equality.verdict import verdict


@dataclass
class _Progress:
    """What the solutions of one tree say so far."""

    frontier: Frontier
    found: int = 0
    covered: float = 0.0  # probability of all solutions
    groups: list[Group] = field(default_factory=list)  # of equal answers
    chances: list[float] = field(default_factory=list)  # the probability of each group
    open: bool = False  # whether only mathematics could tell some groups apart

    def count(self, answer: str, chance: float) -> None:
        """Count a solution that states an answer."""
        if not any(answer in group for group in self.groups):
            against = [verdict(answer, group[0]) for group in self.groups]
            self.open |= any(not isinstance(known, bool) for known in against)
        index = join(answer, self.groups, _surely_equal)
        self.chances += [0.0] * (len(self.groups) - len(self.chances))
        self.chances[index] += chance

    @property
    def decided(self) -> bool:
        """Whether no answer can overtake the first one, whatever else the model would say."""
        first, second, *others = [*sorted(self.chances, reverse=True), 0.0, 0.0]
        rival = second + sum(others) if self.open else second
        return first - rival > 1 - self.covered


def _surely_equal(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    return [verdict(*pair) is True for pair in pairs]


class Likeliest:
    """`solutions` a tree, one after another, at temperature 0: greedy decoding first, and then what
    leaves the known solutions where most probability is left.

    With `until_decided` a tree is done as soon as its most probable answer is certain.
    """

    def __init__(self, solutions: int, max_depth: int, *, until_decided: bool) -> None:
        self._solutions, self._max_depth = solutions, max_depth
        self._until_decided = until_decided
        self._progress: dict[int, _Progress] = {}  # by the tree's id

    def pick(self, trees: list[Tree]) -> list[Pick]:
        """Returns the next solution of each tree; none where it is done."""
        return [pick for tree in trees for pick in self._next(tree)]

    def reach(self, node: Node) -> int:
        """Returns the thoughts up to the greatest depth: a solution goes to its end."""
        return self._max_depth - node.depth

    def absorb(self, tree: Tree, node: Node) -> None:
        """Count one more solution."""
        progress, chance = self._progress[id(tree)], tree.probability(node)
        progress.found += 1
        progress.covered += chance
        if node.answer:  # an empty one was stated by nobody
            progress.count(node.answer, chance)

    def _next(self, tree: Tree) -> list[Pick]:
        progress = self._progress.get(id(tree))
        if progress is None:
            progress = _Progress(Frontier(tree.start, None, whole=True))
            self._progress[id(tree)] = progress
        done = progress.found >= self._solutions or not len(progress.frontier)
        if done or (self._until_decided and progress.decided):
            return []
        return [Pick(tree, tree.start, 1, progress.frontier)]
