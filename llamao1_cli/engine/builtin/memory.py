"""All keys and values that an engine holds, within one budget: the buffers of the groups in flight,
and the segments that are kept for later paths."""

from collections.abc import Sequence
from dataclasses import dataclass

from llamao1_cli.engine.builtin.buffers import Buffers, Shape
from llamao1_cli.engine.builtin.groups import Group
from llamao1_cli.engine.builtin.segments import Segments
from llamao1_cli.errors import UserError

SLOTS_A_GROUP = 1.2  # above this, closing a gap costs less than reading it at every step


@dataclass(frozen=True)
class Size:
    """What groups in flight need: buffers of these lengths, and prefixes stored beside them."""

    groups: int
    prefix: int
    suffix: int
    stored: int  # tokens of the prefixes


class Memory:
    """Slots for groups, and the buffers and segments behind them: at most `budget` bytes.

    Rows may write `ahead` tokens behind what they have fed. Where they do, the buffers stay where
    they are as long as they can: CUDA graphs know them by their addresses.
    """

    def __init__(self, shape: Shape, budget: int, ahead: int = 0) -> None:
        self._shape, self._budget, self._ahead = shape, budget, ahead
        self.live: list[Group] = []
        self.buffers = Buffers(shape, 1)
        self.forget()

    def forget(self) -> None:
        """Drop all that is kept; nothing may be in flight."""
        self.segments = Segments()
        if not self._ahead:
            self.buffers = Buffers(self._shape, 1)

    @property
    def bytes(self) -> int:
        """Keys and values held now."""
        return self.buffers.bytes + self.segments.bytes

    def admissible(self, queue: Sequence[Group], rows: int) -> list[Group]:
        """Returns the first groups of the queue that fit beside those in flight, and makes room for
        them: at most `rows` rows in all, each as long as it can become.

        Raises UserError if nothing is in flight and not even the first fits.
        """
        if not self.live and queue:
            self._set_columns(max(len(group.rows) for group in queue) or 1)
        most = max(rows // self.buffers.columns, 1)
        head = list(queue[: max(most - len(self.live), 0)])
        if not self.live and self._cost(self._size_with(head)) > self._budget:
            self.buffers = Buffers(self._shape, self.buffers.columns)  # smaller ones hold more
        chosen: list[Group] = []
        for group in head:
            wider = len(group.rows) > self.buffers.columns  # it waits until nothing is in flight
            if wider or self._cost(self._size_with([*chosen, group])) > self._budget:
                break
            chosen.append(group)
        if chosen:
            size = self._size_with(chosen)
            self._grow(size.groups, size.prefix, size.suffix if self._ahead else 0)
        elif queue and not self.live:
            needed = self._cost(self._size_with([queue[0]])) / 2**30
            raise UserError(
                f"engine.memory_gib: {len(queue[0].rows) or 1} continuations of one path need up "
                f"to {needed:.3f} GiB; raise it, or lower model.max_length"
            )
        return chosen

    def admit(self, group: Group) -> int:
        """Put what is known of the group's prefix into a free slot; returns how many of its tokens
        are still to be read."""
        taken = {live.slot for live in self.live}
        group.slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
        chain = self.segments.match(group.tokens)
        for segment in chain:
            assert segment.part is not None
            self.buffers.load(group.slot, group.fed, *segment.part)
            group.fed += len(segment.tokens)
        group.base = chain[-1] if chain else self.segments.root
        group.base.pins += 1
        if group.ready and group.reads_prefix:
            group.fed -= 1  # the last token is read again for its logits
        self.live.append(group)
        return len(group.tokens) - group.fed

    def fit_suffixes(self) -> None:
        """Make room for all that the rows feed next."""
        longest = max((len(row.fed) for group in self.live for row in group.rows), default=0)
        self._grow(0, 0, longest + self._ahead)

    def keep_prefix(self, group: Group) -> None:
        """Store what a prefix, now read, adds to what is known."""
        assert group.base is not None
        known, segment = 0, group.base
        while segment.parent is not None:
            known += len(segment.tokens)
            segment = segment.parent
        if known < len(group.tokens):
            tokens = group.tokens[known:]
            self._shrink(len(tokens) * self._shape.token_bytes)
            part = self.buffers.prefix_part(group.slot, known, len(group.tokens))
            added = self.segments.insert(group.base, tokens, part)
            group.base.pins -= 1
            added.pins += 1
            group.base = added

    def retire(self, group: Group) -> None:
        """Keep what the rows have read for later paths, and free the slot."""
        assert group.base is not None
        self.live.remove(group)
        for column, row in enumerate(group.rows):
            # What is not needed goes first: the budget holds at any time.
            if row.fed:
                self._shrink(len(row.fed) * self._shape.token_bytes)
                part = self.buffers.suffix_part(group.slot, column, 0, len(row.fed))
                self.segments.insert(group.base, row.fed, part)
        group.base.pins -= 1
        self._shrink()

    def compact(self) -> None:
        """Move the last group into a gap while too many slots are gaps, which attention reads."""
        while self.live:
            last = max(self.live, key=lambda group: group.slot)
            if last.slot < SLOTS_A_GROUP * len(self.live):
                return
            taken = {group.slot for group in self.live}
            slot = next(slot for slot in range(last.slot) if slot not in taken)
            self.buffers.move(last.slot, slot)
            last.slot = slot

    def _set_columns(self, columns: int) -> None:
        if columns != self.buffers.columns:
            self.buffers = Buffers(self._shape, columns)

    def _size_with(self, more: list[Group]) -> Size:
        """Returns what the groups in flight and more need; the buffers never shrink."""
        groups = [*self.live, *more]
        slots = max((group.slot + 1 for group in self.live), default=0)
        return Size(
            max(len(groups), slots, self.buffers.groups),
            max([self.buffers.prefix, *(len(group.tokens) for group in groups)]),
            max([self.buffers.suffix, *(group.max_suffix + self._ahead for group in groups)]),
            sum(len(group.tokens) for group in groups),
        )

    def _cost(self, size: Size) -> int:
        """Returns the most bytes at any time with buffers of this size: half as much again while
        one of the tensors grows, and the stored prefixes that the groups build on."""
        buffers = self.buffers.bytes_for(size.groups, size.prefix, size.suffix)
        return buffers * 3 // 2 + size.stored * self._shape.token_bytes

    def _grow(self, groups: int, prefix: int, suffix: int) -> None:
        """Make the buffers at least so large, after the segments have made room."""
        buffers = self.buffers
        new = buffers.bytes_for(
            max(groups, buffers.groups), max(prefix, buffers.prefix), max(suffix, buffers.suffix)
        )
        if new > buffers.bytes:
            self.segments.shrink(self._budget - new - buffers.bytes // 2)
            buffers.ensure(groups, prefix, suffix)

    def _shrink(self, coming: int = 0) -> None:
        """Shrink the segments to what the buffers and `coming` bytes leave of the budget."""
        self.segments.shrink(self._budget - self.buffers.bytes - coming)
