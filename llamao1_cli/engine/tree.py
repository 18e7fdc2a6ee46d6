"""The built-in engine: continuations of many trees in one stream of packed steps.

Requests of one path form a group, whose prefix is read once and shared. A step feeds every row
whatever it has pending: a sampled token, or a whole header. A thought that ends is rated in the
same stream, its row rolls on or makes room for the next group in the queue, and its keys and values
stay for the paths that continue it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import torch
from transformers import PreTrainedModel

from llamao1_cli.codec import Codec
from llamao1_cli.engine.buffers import Buffers
from llamao1_cli.engine.copy import refresh, rollout_copy, shape_of
from llamao1_cli.engine.groups import Group, make_groups
from llamao1_cli.engine.protocol import UNREAD, Request, Thought
from llamao1_cli.engine.rows import Row, Rules, Wants
from llamao1_cli.engine.sampler import Figures, Sampler, choice_of, figures_of
from llamao1_cli.engine.segments import Segments
from llamao1_cli.engine.step import Feed, run_step
from llamao1_cli.errors import UserError
from llamao1_cli.sampling import rating_probability

MAX_COLUMNS = 8  # rows of a group; a larger one is split
PREFILL_TOKENS = 4096  # of prefixes whose reading begins in one step
PREFIX_TOKENS = 512  # of one prefix in one step


@dataclass(frozen=True)
class Size:
    """What groups in flight take: buffers of so many places, and prefixes stored beside them."""

    groups: int
    prefix: int
    suffix: int
    stored: int  # tokens


class TreeEngine:
    """Continues and rates paths with a copy of a transformers model; see `Engine`.

    `rows` continuations at most are in flight, and keys and values take at most `memory` bytes.
    Raises UserError for an architecture that the engine's attention does not fit.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        codec: Codec,
        *,
        dtype: torch.dtype,
        rows: int,
        memory: int,
        max_length: int,
        show_ratings: bool = False,
    ) -> None:
        self._source, self._codec = model, codec
        self.model = rollout_copy(model, dtype)
        self._shape = shape_of(self.model)
        self._max_rows, self._memory = rows, memory
        self._rules = Rules(codec, max_length, show_ratings)
        vocabulary = self.model.get_output_embeddings().out_features
        self._sampler = Sampler(codec.grammar(vocabulary).to(self._shape.device))
        self._queue: deque[Group] = deque()
        self._live: list[Group] = []
        self._finished: list[tuple[int, list[Thought]]] = []
        self._values: dict[int, float] = {}
        self._tickets = 0
        self.forwarded = 0  # tokens the model has read
        self._segments = Segments()
        self._buffers = Buffers(self._shape, 1)

    def refresh(self) -> None:
        """Take over the model's weights of now; see `Engine.refresh`."""
        refresh(self.model, self._source)
        self._segments = Segments()
        self._buffers = Buffers(self._shape, 1)

    @property
    def bytes(self) -> int:
        """Keys and values held now."""
        return self._buffers.bytes + self._segments.bytes

    def rate(self, paths: Sequence[list[int]]) -> list[float]:
        """Probability of success of each path; see `Engine.rate`."""
        tickets = [self._ticket() for _ in paths]
        for path, ticket in zip(paths, tickets, strict=True):
            if len(path) < self._rules.max_length:
                self._queue.append(Group([*path, self._codec.rating_start], rated=ticket))
            else:
                self._values[ticket] = UNREAD
        while any(ticket not in self._values for ticket in tickets):
            self._step()
        return [self._values.pop(ticket) for ticket in tickets]

    def submit(self, requests: Sequence[Request]) -> list[int]:
        """Queue requests; see `Engine.submit`."""
        tickets = [self._ticket() for _ in requests]
        most = min(MAX_COLUMNS, self._max_rows)
        groups, full = make_groups(requests, tickets, self._rules, most)
        self._finished += [(ticket, []) for ticket in full]
        self._queue.extend(groups)
        return tickets

    def poll(self) -> list[tuple[int, list[Thought]]]:
        """Work until something is finished; see `Engine.poll`."""
        while not self._finished and (self._live or self._queue):
            self._step()
        finished, self._finished = self._finished, []
        return finished

    def _ticket(self) -> int:
        self._tickets += 1
        return self._tickets

    # Admission

    def _admit(self) -> None:
        """Give queued groups a place in the buffers, as far as rows, memory and one step go."""
        if self._queue and not self._live:
            self._set_columns()
        prefill = 0
        for group in self._coming():
            if prefill >= PREFILL_TOKENS:
                return
            self._queue.popleft()
            prefill += self._place(group)

    def _set_columns(self) -> None:
        """Choose the rows of a group for what is in the queue; only when nothing is in flight."""
        columns = max(len(group.rows) for group in self._queue) or 1
        if columns != self._buffers.columns:
            self._buffers = Buffers(self._shape, columns)

    def _coming(self) -> list[Group]:
        """The groups at the head of the queue that can be in flight beside those that are, were
        each to become as long as it can; makes room for them.

        Raises UserError if nothing is in flight and not even the first fits into memory.
        """
        most = max(self._max_rows // self._buffers.columns, 1)
        head = list(islice(self._queue, max(most - len(self._live), 0)))
        if not self._live and self._cost(self._size_with(head)) > self._memory:
            self._buffers = Buffers(self._shape, self._buffers.columns)  # smaller ones hold more
        chosen: list[Group] = []
        size = self._size_with([])
        for group in head:
            wished = self._size_with([*chosen, group])
            if len(group.rows) > self._buffers.columns or self._cost(wished) > self._memory:
                break
            chosen.append(group)
            size = wished
        if chosen:
            self._grow(size.groups, size.prefix, 0)
        elif self._queue and not self._live:
            needed = self._cost(self._size_with([self._queue[0]])) / 2**30
            raise UserError(
                f"engine.memory_gib: {len(self._queue[0].rows) or 1} continuations of one path "
                f"need up to {needed:.3f} GiB; raise it, or lower model.max_length"
            )
        return chosen

    def _size_with(self, more: list[Group]) -> "Size":
        """What the buffers must hold for the groups in flight and more; they never shrink."""
        groups = [*self._live, *more]
        slots = max((group.slot + 1 for group in self._live), default=0)
        return Size(
            max(len(groups), slots, self._buffers.groups),
            max([self._buffers.prefix, *(len(group.tokens) for group in groups)]),
            max([self._buffers.suffix, *(group.reach for group in groups)]),
            sum(len(group.tokens) for group in groups),
        )

    def _cost(self, size: "Size") -> int:
        """Most bytes at any time with buffers of this size: half of them again while one of the
        tensors grows, and the stored prefixes that the groups build on."""
        buffers = self._buffers.bytes_for(size.groups, size.prefix, size.suffix)
        return buffers * 3 // 2 + size.stored * self._shape.token_bytes

    def _grow(self, groups: int, prefix: int, suffix: int) -> None:
        """Make the buffers so large, after the segments have made room."""
        buffers = self._buffers
        new = buffers.bytes_for(
            max(groups, buffers.groups), max(prefix, buffers.prefix), max(suffix, buffers.suffix)
        )
        if new > buffers.bytes:
            self._segments.shrink(self._memory - new - buffers.bytes // 2)
            buffers.ensure(groups, prefix, suffix)

    def _place(self, group: Group) -> int:
        """Put what is known of the group's prefix into a free slot; gives the tokens left."""
        taken = {live.slot for live in self._live}
        group.slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
        chain = self._segments.match(group.tokens)
        for segment in chain:
            assert segment.part is not None
            self._buffers.load(group.slot, group.fed, *segment.part)
            group.fed += len(segment.tokens)
        group.base = chain[-1] if chain else self._segments.root
        group.base.pins += 1
        if group.ready and group.reads_prefix:
            group.fed -= 1  # the last token is read again for its logits
        self._live.append(group)
        return len(group.tokens) - group.fed

    # One step

    @torch.inference_mode()
    def _step(self) -> None:
        self._admit()
        feeds = self._feeds()
        longest = max((len(row.fed) for group in self._live for row in group.rows), default=0)
        self._grow(0, 0, longest)
        logits = run_step(self.model, self._buffers, feeds)
        self.forwarded += sum(len(feed.tokens) for feed in feeds)
        self._read(feeds, logits)
        for group in [group for group in self._live if group.done]:
            self._retire(group)
        self._compact()

    def _feeds(self) -> list[Feed]:
        """What each prefix and row reads in this step, and whose logits are wanted."""
        feeds = []
        for group in self._live:
            if not group.ready:
                tokens = group.tokens[group.fed : group.fed + PREFIX_TOKENS]
                ends = group.fed + len(tokens) == len(group.tokens) and group.reads_prefix
                reads = range(len(tokens) - 1, len(tokens)) if ends else range(0)
                feeds.append(Feed(tokens, group.fed, group, None, None, reads))
            else:
                feeds += [
                    _row_feed(group, column, row)
                    for column, row in enumerate(group.rows)
                    if not row.done
                ]
        return feeds

    def _read(self, feeds: list[Feed], logits: torch.Tensor) -> None:
        """Hand the logits `[N, V]` behind the feeds to those who wait for them."""
        place = 0
        samples: list[tuple[Row, int]] = []
        ratings: list[tuple[Row | Group, int]] = []
        scores: list[tuple[Row, range]] = []
        for feed in feeds:
            last = place + len(feed.reads) - 1
            if feed.row is None:
                self._prefix_read(feed)
                if not feed.reads:
                    continue
                if feed.group.rated is not None:
                    ratings.append((feed.group, last))
                samples += [(row, last) for row in feed.group.rows if not row.pending]
            elif feed.row.wants is Wants.TOKEN:
                samples.append((feed.row, last))
            else:
                ratings.append((feed.row, last))
                if feed.row.wants is Wants.SCORES:
                    scores.append((feed.row, range(place, last)))
            place += len(feed.reads)
        for row, places in scores:
            row.rescored(self._rescore(row, logits[places.start : places.stop]))
        if samples:
            self._sample(samples, logits)
        if ratings:
            self._rate(ratings, logits)

    def _prefix_read(self, feed: Feed) -> None:
        """Store what a group's prefix added to what is known."""
        group = feed.group
        group.fed = feed.start + len(feed.tokens)
        assert group.base is not None
        if not group.ready:
            return
        known = self._stored(group)
        if known < group.fed:
            tokens = group.tokens[known:]
            self._shrink(len(tokens) * self._shape.token_bytes)
            part = self._buffers.prefix_part(group.slot, known, group.fed)
            segment = self._segments.insert(group.base, tokens, part)
            group.base.pins -= 1
            segment.pins += 1
            group.base = segment

    def _stored(self, group: Group) -> int:
        """How many of the prefix's tokens its base and the base's ancestors hold."""
        length, segment = 0, group.base
        while segment is not None:
            length += len(segment.tokens)
            segment = segment.parent
        return length

    def _sample(self, samples: list[tuple[Row, int]], logits: torch.Tensor) -> None:
        rows = [row for row, _ in samples]
        places = [row.place(len(row.thought.ids)) for row in rows]
        choice = choice_of(
            [row.request.sampling for row in rows],
            places,
            [row.uniforms.random() for row in rows],
            logits.device,
        )
        index = torch.tensor([place for _, place in samples], device=logits.device)
        drawn = self._sampler.draw(logits[index], choice)
        for row, figures in zip(rows, figures_of(drawn), strict=True):
            row.sampled(figures)

    def _rescore(self, row: Row, logits: torch.Tensor) -> list[Figures]:
        ids = row.thought.ids
        places = [row.place(index) for index in range(len(ids))]
        choice = choice_of(
            [row.request.sampling] * len(ids), places, [0.0] * len(ids), logits.device
        )
        tokens = torch.tensor(ids, device=logits.device)
        return figures_of(self._sampler.draw(logits, choice, tokens))

    def _rate(self, ratings: list[tuple[Row | Group, int]], logits: torch.Tensor) -> None:
        index = torch.tensor([place for _, place in ratings], device=logits.device)
        values = rating_probability(logits[index], self._codec.positive, self._codec.negative)
        for (who, _), value in zip(ratings, values.tolist(), strict=True):
            if isinstance(who, Row):
                who.rated(value)
                if who.done:
                    self._finished.append((who.ticket, who.thoughts))
            else:
                assert who.rated is not None
                self._values[who.rated] = value
                who.rated = None

    # Ends

    def _retire(self, group: Group) -> None:
        """Keep what the rows have read for later paths, and free the slot."""
        assert group.base is not None
        self._live.remove(group)
        for column, row in enumerate(group.rows):
            # What is not needed goes first: the budget holds at any time.
            self._shrink(len(row.fed) * self._shape.token_bytes)
            parent = group.base
            for start, stop in pairwise(sorted({0, *row.cuts, len(row.fed)})):
                part = self._buffers.suffix_part(group.slot, column, start, stop)
                parent = self._segments.insert(parent, row.fed[start:stop], part)
        group.base.pins -= 1
        self._shrink()

    def _shrink(self, coming: int = 0) -> None:
        """Leave to the segments what the buffers and `coming` bytes do not take."""
        self._segments.shrink(self._memory - self._buffers.bytes - coming)

    def _compact(self) -> None:
        """Move the last group into a gap while most slots are gaps: attention reads them all."""
        while self._live:
            last = max(self._live, key=lambda group: group.slot)
            if last.slot < 2 * len(self._live):
                return
            taken = {group.slot for group in self._live}
            slot = next(slot for slot in range(last.slot) if slot not in taken)
            self._buffers.move(last.slot, slot)
            last.slot = slot


def _row_feed(group: Group, column: int, row: Row) -> Feed:
    start = len(row.fed)
    wants = row.wants
    tokens = row.take()
    reads = range(len(tokens) - 1, len(tokens))
    if wants is Wants.SCORES:
        first = row.scored - 1
        reads_places = [*range(first, first + len(row.thought.ids)), len(tokens) - 1]
        return Feed(tokens, start, group, column, row, reads_places)
    return Feed(tokens, start, group, column, row, reads)
