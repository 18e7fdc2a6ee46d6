"""The built-in engine: continuations of many trees in one stream of packed steps.

Requests of one path form a group, whose prefix is read once and shared. A step feeds every row
whatever it has pending: a sampled token, or a whole header. A thought that ends is rated in the
same stream. Its row begins the next thought or makes room for the next group in the queue, and its
keys and values stay for the paths that continue it.
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
from llamao1_cli.engine.protocol import Request
from llamao1_cli.engine.rows import Row, Rules, Wants, sample_rows
from llamao1_cli.engine.sampler import Sampler, TokenStats, make_choice, token_stats
from llamao1_cli.engine.tickets import TicketEngine
from llamao1_cli.language.protocol import Language

MAX_COLUMNS = 8  # rows of a group; more requests of one path make several groups
PREFILL_TOKENS = 4096  # of the prefixes whose reading begins in one step
PREFIX_TOKENS = 512  # of one prefix that are read in one step
BURST = 8  # tokens that rows on a GPU decode before the host looks at them


class TreeEngine(TicketEngine):
    """Continues and rates paths with a copy of a transformers model; see `Engine`.

    `rows` continuations at most are in flight, and keys and values take at most `memory` bytes.
    `burst` tokens of a row are decoded at once before the host looks at them; by default none on
    CPU, where this saves nothing.
    Raises UserError for an architecture that the engine's attention does not fit.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        language: Language,
        *,
        dtype: torch.dtype,
        rows: int,
        memory: int,
        max_length: int,
        show_ratings: bool = False,
        burst: int | None = None,
    ) -> None:
        super().__init__(Rules(language, max_length, show_ratings))
        self._source = model
        self.model = rollout_copy(model, dtype)
        self._shape = shape_of(self.model)
        if burst is None:
            burst = BURST if self._shape.device.type == "cuda" else 0
        self._max_rows, self._memory = rows, Memory(self._shape, memory, ahead=burst)
        vocabulary = self.model.get_output_embeddings().out_features
        self._sampler = Sampler(language.grammar(vocabulary).to(self._shape.device))
        self._decoder = self._make_decoder(burst, max_length) if burst else None
        self._queue: list[Group] = []

    def refresh(self) -> None:
        """Take over the model's weights of now; see `Engine.refresh`."""
        refresh(self.model, self._source)
        self._memory.forget()

    @property
    def bytes(self) -> int:
        """Keys and values held now."""
        return self._memory.bytes

    @property
    def _busy(self) -> bool:
        return bool(self._memory.live or self._queue)

    def _queue_path(self, path: list[int], ticket: int) -> None:
        self._queue.append(Group(path, rated=ticket))

    def _queue_requests(self, requests: Sequence[Request], tickets: Sequence[int]) -> None:
        most = min(MAX_COLUMNS, self._max_rows)
        groups, full = make_groups(requests, tickets, self._rules, most)
        self._finished += [(ticket, []) for ticket in full]
        self._queue.extend(groups)

    @torch.no_grad()
    def _make_decoder(self, burst: int, max_length: int) -> Decoder | None:
        """Returns None, with a warning, for a model whose code must see its numbers to go on."""
        decoder = Decoder(self.model, self._sampler, steps=burst, max_length=max_length)
        if reasons := decoder.waits(self._shape):
            name = type(self.model).__name__
            warnings.warn(f"{name} decodes token by token: it has {reasons[0]}", stacklevel=2)
            return None
        return decoder

    def _admit(self) -> None:
        """Begin queued groups, as many as rows, memory and one step allow."""
        begun = 0
        for group in self._memory.admissible(self._queue, self._max_rows):
            if begun >= PREFILL_TOKENS:
                return
            self._queue.pop(0)
            begun += self._memory.admit(group)

    @torch.inference_mode()
    def _step(self) -> None:
        self._admit()
        feeds = self._feeds()
        self._memory.fit_suffixes()
        logits = run_step(self.model, self._memory.buffers, feeds)
        self.forwarded += sum(len(feed.tokens) for feed in feeds)
        self._use(feeds, logits)
        if self._decoder is not None:
            decoded = self._decoder.decode(self._memory.buffers, self._memory.live)
            self.forwarded += decoded.forwarded
            self._finish(decoded.rows)
        for group in [group for group in self._memory.live if group.done]:
            self._memory.retire(group)
        self._memory.compact()

    def _feeds(self) -> list[Feed]:
        """Returns what each prefix and row reads in this step, and where logits are wanted."""
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

    def _use(self, feeds: list[Feed], logits: torch.Tensor) -> None:
        """Use the logits `[N, V]` behind the feeds for what the prefixes and rows want."""
        first = 0  # index of the feed's first logits
        samples: list[tuple[Row, int]] = []
        ratings: list[tuple[Row | Group, int]] = []
        scores: list[tuple[Row, range]] = []
        for feed in feeds:
            last = first + len(feed.reads) - 1
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
                if feed.row.wants is Wants.SCORES:
                    scores.append((feed.row, range(first, first + len(feed.row.thought.ids))))
                if self._language.rates:
                    ratings.append((feed.row, last))
            first += len(feed.reads)
        for row, indices in scores:
            row.rescored(self._rescore(row, logits[indices.start : indices.stop]))
        self._finish([row for row, _ in scores])
        if samples:
            self._sample(samples, logits)
        if ratings:
            self._rate(ratings, logits)

    def _sample(self, samples: list[tuple[Row, int]], logits: torch.Tensor) -> None:
        index = torch.tensor([index for _, index in samples], device=logits.device)
        rows = [row for row, _ in samples]
        sample_rows(rows, logits[index], self._sampler)
        self._finish(rows)

    def _finish(self, rows: Sequence[Row]) -> None:
        """Hand out the thoughts of the rows that are done."""
        self._finished += [(row.ticket, row.thoughts) for row in rows if row.done]

    def _rescore(self, row: Row, logits: torch.Tensor) -> list[TokenStats]:
        ids = row.thought.ids
        roles = [row.role(index) for index in range(len(ids))]
        choice = make_choice(
            [row.request.sampling] * len(ids), roles, [0.0] * len(ids), logits.device
        )
        tokens = torch.tensor(ids, device=logits.device)
        return token_stats(self._sampler.draw(logits, choice, tokens))

    def _rate(self, ratings: list[tuple[Row | Group, int]], logits: torch.Tensor) -> None:
        index = torch.tensor([index for _, index in ratings], device=logits.device)
        read = self._language.rating_logits(logits[index]).sigmoid()
        for (reader, _), rating in zip(ratings, read.tolist(), strict=True):
            if isinstance(reader, Row):
                reader.close(rating)
                self._finish([reader])
            else:
                assert reader.rated is not None
                self._ratings[reader.rated] = rating
                reader.rated = None


def _row_feed(group: Group, column: int, row: Row) -> Feed:
    start, tokens = len(row.fed), row.take()
    reads = [len(tokens) - 1]
    if row.wants is Wants.SCORES:
        first = row.scored - 1
        reads = sorted({*range(first, first + len(row.thought.ids)), *reads})
    return Feed(tokens, start, group, column, row, reads)
