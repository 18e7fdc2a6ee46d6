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
    children: dict[int, "Segment"] = field(default_factory=dict)  # by their first token
    pins: int = 0

    @property
    def bytes(self) -> int:
        """Size of its keys and values."""
        return sum(tensor.nbytes for tensor in self.part or ())


class Segments:
    """All segments by prefix, in a radix tree: what two paths have in common is there once.

    A segment that a path leaves inside is split there. Where the segments must shrink, the least
    recently used go first.
    """

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
        """Returns the chain of segments, as long as it gets, that `tokens` begin with."""
        chain = self._follow(self.root, tokens)
        self._touch(chain[-1] if chain else self.root)
        return chain

    def insert(self, parent: Segment, tokens: list[int], part: KeysValues) -> Segment:
        """Returns the last segment of `tokens` behind `parent`, of which only the part that is not
        there yet is stored."""
        chain = self._follow(parent, tokens)
        last, known = chain[-1] if chain else parent, sum(len(each.tokens) for each in chain)
        if known < len(tokens):
            added = Segment(tokens[known:], last, _cut(part, known, len(tokens)))
            last.children[tokens[known]] = added
            self.bytes += added.bytes
            last = added
        self._touch(last)
        return last

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

    def _follow(self, segment: Segment, tokens: Sequence[int]) -> list[Segment]:
        """Returns the segments behind `segment` that `tokens` begin with; the last one is split
        where they leave it."""
        chain: list[Segment] = []
        start = 0
        while start < len(tokens) and (child := segment.children.get(tokens[start])):
            common = _common(child.tokens, tokens, start)
            segment = child if common == len(child.tokens) else self._split(child, common)
            chain.append(segment)
            start += common
        return chain

    def _split(self, segment: Segment, length: int) -> Segment:
        """Returns a new segment of the first `length` tokens; the given one keeps the others."""
        assert segment.part is not None
        assert segment.parent is not None
        size, parent = len(segment.tokens), segment.parent
        head = Segment(segment.tokens[:length], parent, _cut(segment.part, 0, length))
        self.bytes -= segment.bytes
        segment.part = _cut(segment.part, length, size)
        segment.tokens, segment.parent = segment.tokens[length:], head
        parent.children[head.tokens[0]] = head
        head.children[segment.tokens[0]] = segment
        self.bytes += head.bytes + segment.bytes
        self._touch(head)
        return head

    def _drop(self, segment: Segment) -> None:
        parent = segment.parent
        assert parent is not None
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


def _common(own: Sequence[int], tokens: Sequence[int], start: int) -> int:
    """Returns how many of a segment's `own` tokens follow in `tokens` from `start` on."""
    most = min(len(own), len(tokens) - start)
    return next((i for i in range(most) if own[i] != tokens[start + i]), most)


def _cut(part: KeysValues, start: int, stop: int) -> KeysValues:
    """Returns the keys and values of tokens `start` to `stop`, in memory of their own: a view would
    hold on to all of it."""
    keys, values = part
    if start == 0 and stop == values.shape[2]:
        return part
    return keys[..., start:stop].clone(), values[:, :, start:stop].clone()
