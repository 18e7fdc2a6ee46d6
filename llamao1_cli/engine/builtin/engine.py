"""The built-in engine: continuations of many trees in one stream of packed steps.

Requests of one path form a group, whose prefix is read once and shared. A step feeds every row
whatever it has pending: a sampled token, or a whole header. A thought that ends is rated in the
same stream, its row rolls on or makes room for the next group in the queue, and its keys and values
stay for the paths that continue it.
"""

import warnings
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from llamao1_cli.engine.builtin.decode import Decoder
from llamao1_cli.engine.builtin.groups import Group, make_groups
from llamao1_cli.engine.builtin.memory import Memory
from llamao1_cli.engine.builtin.step import Feed, run_step
from llamao1_cli.engine.builtin.weights import refresh, rollout_copy, shape_of
from llamao1_cli.engine.protocol import UNREAD, Request, Thought
from llamao1_cli.engine.rows import Row, Rules, Wants, sample_rows
from llamao1_cli.engine.sampler import Figures, Sampler, choice_of, figures_of
from llamao1_cli.language.codec import Codec
from llamao1_cli.language.distribution import rating_probability

MAX_COLUMNS = 8  # rows of a group; a larger one is split
PREFILL_TOKENS = 4096  # of prefixes whose reading begins in one step
PREFIX_TOKENS = 512  # of one prefix in one step
BURST = 8  # tokens that rows on a GPU decode before the host looks


class TreeEngine:
    """Continues and rates paths with a copy of a transformers model; see `Engine`.

    `rows` continuations at most are in flight, and keys and values take at most `memory` bytes.
    `burst` tokens of a row are decoded at once before the host looks at them; by default none on
    CPU, where this saves nothing.
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
        burst: int | None = None,
    ) -> None:
        self._source, self._codec = model, codec
        self.model = rollout_copy(model, dtype)
        self._shape = shape_of(self.model)
        if burst is None:
            burst = BURST if self._shape.device.type == "cuda" else 0
        self._max_rows, self._memory = rows, Memory(self._shape, memory, ahead=burst)
        self._rules = Rules(codec, max_length, show_ratings)
        vocabulary = self.model.get_output_embeddings().out_features
        self._sampler = Sampler(codec.grammar(vocabulary).to(self._shape.device))
        self._decoder = self._decoder_of(burst, max_length) if burst else None
        self._queue: list[Group] = []
        self._finished: list[tuple[int, list[Thought]]] = []
        self._values: dict[int, float] = {}
        self._tickets = 0
        self.forwarded = 0  # tokens the model has read

    def refresh(self) -> None:
        """Take over the model's weights of now; see `Engine.refresh`."""
        refresh(self.model, self._source)
        self._memory.forget()

    @property
    def bytes(self) -> int:
        """Keys and values held now."""
        return self._memory.bytes

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
        while not self._finished and (self._memory.live or self._queue):
            self._step()
        finished, self._finished = self._finished, []
        return finished

    @torch.no_grad()
    def _decoder_of(self, burst: int, max_length: int) -> Decoder | None:
        """None, with a warning, for a model whose code must see its numbers to go on."""
        decoder = Decoder(self.model, self._sampler, steps=burst, max_length=max_length)
        if reasons := decoder.waits(self._shape):
            name = type(self.model).__name__
            warnings.warn(f"{name} decodes token by token: it has {reasons[0]}", stacklevel=2)
            return None
        return decoder

    def _ticket(self) -> int:
        self._tickets += 1
        return self._tickets

    # One step

    def _admit(self) -> None:
        """Begin queued groups, as far as rows, memory and one step go."""
        begun = 0
        for group in self._memory.admissible(self._queue, self._max_rows):
            if begun >= PREFILL_TOKENS:
                return
            self._queue.pop(0)
            begun += self._memory.place(group)

    @torch.inference_mode()
    def _step(self) -> None:
        self._admit()
        feeds = self._feeds()
        self._memory.reach()
        logits = run_step(self.model, self._memory.buffers, feeds)
        self.forwarded += sum(len(feed.tokens) for feed in feeds)
        self._read(feeds, logits)
        if self._decoder is not None:
            self.forwarded += self._decoder.decode(self._memory.buffers, self._memory.live)
        for group in [group for group in self._memory.live if group.done]:
            self._memory.retire(group)
        self._memory.compact()

    def _feeds(self) -> list[Feed]:
        """What each prefix and row reads in this step, and whose logits are wanted."""
        feeds = []
        for group in self._memory.live:
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
                feed.group.fed = feed.start + len(feed.tokens)
                if feed.group.ready:
                    self._memory.keep_prefix(feed.group)
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

    def _sample(self, samples: list[tuple[Row, int]], logits: torch.Tensor) -> None:
        index = torch.tensor([place for _, place in samples], device=logits.device)
        sample_rows([row for row, _ in samples], logits[index], self._sampler)

    def _rescore(self, row: Row, logits: torch.Tensor) -> list[Figures]:
        ids = row.thought.ids
        roles = [row.role(index) for index in range(len(ids))]
        choice = choice_of(
            [row.request.sampling] * len(ids), roles, [0.0] * len(ids), logits.device
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


def _row_feed(group: Group, column: int, row: Row) -> Feed:
    start, tokens = len(row.fed), row.take()
    reads = [len(tokens) - 1]
    if row.wants is Wants.SCORES:
        first = row.scored - 1
        reads = [*range(first, first + len(row.thought.ids)), *reads]
    return Feed(tokens, start, group, column, row, reads)
