"""Keys and values of runs of tokens that were read before, in a tree of prefixes."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

KeysValues = tuple[Tensor, Tensor]  # keys [L, K, D, n] and values [L, K, n, D]


@dataclass(eq=False)
class Segment:
    """A run of tokens that follows its parent's; `pins` counts the groups that build on it."""

    tokens: list[int]
    parent: "Segment | None"
    part: KeysValues | None = None  # None at the root
    children: dict[int, list["Segment"]] = field(default_factory=dict)  # by their first token
    pins: int = 0

    @property
    def bytes(self) -> int:
        """Size of its keys and values."""
        return sum(tensor.nbytes for tensor in self.part or ())


class Segments:
    """All segments by prefix; where they must shrink, the least recently used go first."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything, as after an update of the weights."""
        self.root = Segment([], None)
        self.bytes = 0
        self._by_use: OrderedDict[Segment, None] = OrderedDict()  # least recent first

    def __iter__(self) -> Iterator[Segment]:
        """The segments, least recently used first."""
        return iter(self._by_use)

    def match(self, tokens: Sequence[int]) -> list[Segment]:
        """Returns the longest chain of whole segments that `tokens` begin with."""
        chain: list[Segment] = []
        segment, start = self.root, 0
        while start < len(tokens):
            found = _child(segment, tokens, start)
            if found is None:
                break
            chain.append(found)
            segment, start = found, start + len(found.tokens)
        self._touch(segment)
        return chain

    def insert(self, parent: Segment, tokens: list[int], part: KeysValues) -> Segment:
        """Returns the segment of `tokens` behind `parent`: the one that is there, or a new one."""
        for sibling in parent.children.get(tokens[0], []):
            if sibling.tokens == tokens:
                self._touch(sibling)
                return sibling
        segment = Segment(tokens, parent, part)
        parent.children.setdefault(tokens[0], []).append(segment)
        self._touch(segment)
        self.bytes += segment.bytes
        return segment

    def shrink(self, budget: int) -> None:
        """Drop segments that nothing builds on until at most `budget` bytes are left, or none can
        go."""
        if self.bytes <= budget:
            return
        # A segment is never used without its ancestors, so every leaf stands before its ancestors.
        for segment in list(self._by_use):
            if self.bytes <= budget:
                return
            if not segment.children and not segment.pins:
                self._drop(segment)

    def _drop(self, segment: Segment) -> None:
        parent = segment.parent
        assert parent is not None
        siblings = parent.children[segment.tokens[0]]
        siblings.remove(segment)
        if not siblings:
            del parent.children[segment.tokens[0]]
        del self._by_use[segment]
        self.bytes -= segment.bytes

    def _touch(self, segment: Segment) -> None:
        """Make the segment and its ancestors the most recently used, ancestors last."""
        used: Segment | None = segment
        while used is not None and used.parent is not None:
            self._by_use[used] = None
            self._by_use.move_to_end(used)
            used = used.parent


def _child(segment: Segment, tokens: Sequence[int], start: int) -> Segment | None:
    """Returns the longest child whose tokens follow at `start`."""
    found = [
        child
        for child in segment.children.get(tokens[start], [])
        if child.tokens == list(tokens[start : start + len(child.tokens)])
    ]
    return max(found, key=lambda child: len(child.tokens), default=None)
