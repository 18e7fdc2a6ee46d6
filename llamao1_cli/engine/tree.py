"""The built-in engine: continuations of many trees in one stream of packed steps.

Requests of one path form a group, whose prefix is read once and shared. A step feeds every row
whatever it has pending: a sampled token, or a whole header. A thought that ends is rated in the
same stream, its row rolls on or makes room for the next group in the queue, and its keys and values
stay for the paths that continue it.
"""

from collections import deque
from collections.abc import Sequence
from itertools import islice

import torch
from transformers import PreTrainedModel

from llamao1_cli.codec import Codec
from llamao1_cli.engine.buffers import Buffers
from llamao1_cli.engine.copy import refresh, rollout_copy, shape_of
from llamao1_cli.engine.groups import Group, make_groups
from llamao1_cli.engine.protocol import Request, Thought
from llamao1_cli.engine.rows import Row, Rules, Wants
from llamao1_cli.engine.sampler import Figures, Sampler, choice_of, figures_of
from llamao1_cli.engine.segments import Segments
from llamao1_cli.engine.step import Feed, run_step
from llamao1_cli.errors import UserError
from llamao1_cli.sampling import rating_probability

MAX_COLUMNS = 8  # rows of a group; a larger one is split
PREFILL_TOKENS = 4096  # of prefixes in one step


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
            self._queue.append(Group([*path, self._codec.rating_start], rated=ticket))
        while any(ticket not in self._values for ticket in tickets):
            self._step()
        return [self._values.pop(ticket) for ticket in tickets]

    def submit(self, requests: Sequence[Request]) -> list[int]:
        """Queue requests; see `Engine.submit`."""
        tickets = [self._ticket() for _ in requests]
        groups, full = make_groups(requests, tickets, self._rules, MAX_COLUMNS)
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
        if not self._queue:
            return
        if not self._live:
            self._set_columns()
        slots, prefill = self._slots(), 0
        while self._queue and len(self._live) < slots and prefill < PREFILL_TOKENS:
            if len(self._queue[0].rows) > self._buffers.columns:
                return  # it waits until nothing is in flight and the columns can be chosen anew
            group = self._queue.popleft()
            self._buffers.ensure(slots, len(group.tokens), 0)
            prefill += self._place(group)

    def _set_columns(self) -> None:
        """Choose the rows of a group for what is in the queue; only when nothing is in flight."""
        columns = min(max(len(group.rows) for group in self._queue) or 1, MAX_COLUMNS)
        if columns != self._buffers.columns:
            self._buffers = Buffers(self._shape, columns)

    def _slots(self) -> int:
        """Groups that can be in flight: as many as there are, at most the configured rows, and
        what fits into memory were each as long as it can become.

        Raises UserError if not even one group fits.
        """
        most = -(-self._max_rows // self._buffers.columns)
        coming = [*self._live, *islice(self._queue, max(most - len(self._live), 1))]
        prefix = max(len(group.tokens) for group in coming)
        reach = max(group.reach for group in coming)
        slots = min(len(coming), most)
        while self._buffers.bytes_for(slots, prefix, reach) > self._memory:
            slots -= 1
        if slots:
            return slots
        needed = self._buffers.bytes_for(1, prefix, reach) / 2**30
        raise UserError(
            f"engine.memory_gib: {self._buffers.columns} continuations of one path need up to "
            f"{needed:.2f} GiB; raise it, or lower model.max_length"
        )

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
        self._buffers.ensure(0, 0, longest)
        self._shrink()
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
                tokens = group.tokens[group.fed :]
                reads = range(len(tokens) - 1, len(tokens)) if group.reads_prefix else range(0)
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
        group.fed = len(group.tokens)
        assert group.base is not None
        known = self._stored(group)
        if known < group.fed:
            tokens = group.tokens[known:]
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
        for column, row in enumerate(group.rows):
            parent = group.base
            for start, stop in zip(row.cuts, [*row.cuts[1:], len(row.fed)], strict=True):
                if start < stop:
                    part = self._buffers.suffix_part(group.slot, column, start, stop)
                    parent = self._segments.insert(parent, row.fed[start:stop], part)
        group.base.pins -= 1
        self._live.remove(group)
        self._shrink()

    def _shrink(self) -> None:
        """Leave to the segments what the buffers do not take."""
        self._segments.shrink(self._memory - self._buffers.bytes)

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
