"""The built-in engine: all requests in one left-padded stream with a key/value cache.

Every sequence advances by one token a step. A thought that ends is rated in the same stream, and
a continuation rolls on to its next thought without encoding anything again.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import PreTrainedModel

from llamao1_cli.answers import stated_answer
from llamao1_cli.codec import Codec, Place
from llamao1_cli.engine.cache import Stream
from llamao1_cli.engine.merged import merged
from llamao1_cli.engine.protocol import Request, Thought
from llamao1_cli.language import Rating
from llamao1_cli.sampling import action_logprobs, draw, entropy_and_varentropy, rating_probability


@dataclass
class _Row:
    """A sequence in the stream: what it must be fed next, and what its logits are for then."""

    request: Request
    uniforms: np.random.Generator
    pending: deque[int]
    length: int  # tokens fed or pending so far
    thoughts: list[Thought] = field(default_factory=list)
    place: Place = Place.FIRST
    rating: bool = False  # the next logits rate a thought; else they sample a token
    done: bool = False


class StreamEngine:
    """Continues and rates paths with a transformers model; see `Engine` for the protocol."""

    def __init__(
        self,
        model: PreTrainedModel,
        codec: Codec,
        *,
        rows: int,
        max_length: int,
        show_ratings: bool = False,
    ) -> None:
        self._model = model
        self._codec = codec
        self._rows = rows
        self._max_length = max_length
        self._show_ratings = show_ratings
        self._grammar: torch.Tensor | None = None
        self.generated_tokens = 0

    def expand(self, requests: Sequence[Request]) -> list[list[Thought]]:
        """The new thoughts of each request; see `Engine.expand`.

        Hinted thoughts come back with the log-probs, entropies and values they have without hints.
        """
        rows = [self._open(request) for request in requests]
        with _inference(self._model):
            for batch in _batches(rows, self._rows):
                self._stream(batch)
            for row in rows:
                if any(row.request.hints):
                    self._score_unhinted(row)
        self.generated_tokens += sum(len(t.ids) for row in rows for t in row.thoughts)
        return [row.thoughts for row in rows]

    def rate(self, paths: Sequence[list[int]]) -> list[float]:
        """Probability of success of each path; see `Engine.rate`."""
        values: list[float] = []
        with _inference(self._model):
            for start in range(0, len(paths), self._rows):
                chunk = [
                    [*path, self._codec.rating_start] for path in paths[start : start + self._rows]
                ]
                values += self._value(Stream(self._model, chunk).logits[:, -1]).tolist()
        return values

    def _open(self, request: Request) -> _Row:
        row = _Row(
            request=request,
            uniforms=np.random.default_rng(request.seed),
            pending=deque(request.path),
            length=len(request.path),
        )
        self._begin_thought(row)
        return row

    def _begin_thought(self, row: _Row) -> None:
        """Queue the header of the row's next thought, or end the row where there is no room."""
        index = len(row.thoughts)
        meta, sentence = row.request.metas[index], row.request.hints[index]
        forced = self._codec.encode(sentence) if sentence else []
        forced += self._codec.header(row.request.depth + index)
        forced += [self._codec.meta(meta)] if meta else []
        # The thought, its forced end and its rating field must fit behind the header.
        if row.length + len(forced) + row.request.max_tokens + 4 > self._max_length:
            row.done = True
            return
        row.pending.extend(forced)
        row.length += len(forced)
        row.place = Place.AFTER_META if meta else Place.FIRST
        row.thoughts.append(Thought(meta=meta, text="", forced_meta=meta is not None))

    def _stream(self, rows: list[_Row]) -> None:
        """Run the rows until each is done."""
        rows = [row for row in rows if not row.done]
        if not rows:
            return
        stream = Stream(self._model, [list(row.pending) for row in rows])
        for row in rows:
            row.pending.clear()
        while True:
            self._read(rows, stream.logits[:, -1])
            active = [index for index, row in enumerate(rows) if not row.done]
            if not active:
                return
            if len(active) <= 0.75 * len(rows):
                stream.keep(active)
                rows = [rows[index] for index in active]
            # A finished row is fed its end again; nobody reads what comes of it.
            stream.feed(
                [row.pending.popleft() if row.pending else self._codec.thought_end for row in rows]
            )

    def _read(self, rows: list[_Row], logits: torch.Tensor) -> None:
        """Give every row that waits for logits `[B, V]` its sample or its rating."""
        ready = [index for index, row in enumerate(rows) if not row.pending and not row.done]
        raters = [index for index in ready if rows[index].rating]
        samplers = [index for index in ready if not rows[index].rating]
        if raters:
            for index, value in zip(raters, self._value(logits[raters]).tolist(), strict=True):
                self._rated(rows[index], value)
        if samplers:
            self._sample([rows[index] for index in samplers], logits[samplers])

    def _value(self, logits: torch.Tensor) -> torch.Tensor:
        return rating_probability(logits, self._codec.positive, self._codec.negative)

    def _sample(self, rows: list[_Row], logits: torch.Tensor) -> None:
        """Sample one token for each row from its logits `[B, V]`."""
        temperatures = torch.tensor([row.request.temperature for row in rows], device=logits.device)
        # Greedy choices are scored under temperature 1.
        scale = torch.where(temperatures > 0, temperatures, 1.0).unsqueeze(-1)
        places = torch.tensor([row.place for row in rows], device=logits.device)
        allowed = self._allowed(logits)[places]
        logprobs = action_logprobs(logits, allowed, scale)
        uniforms = torch.tensor(
            [row.uniforms.random() for row in rows], device=logits.device, dtype=torch.float64
        )
        tokens = torch.where(temperatures > 0, draw(logprobs, uniforms), logprobs.argmax(-1))
        chosen = logprobs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        entropy, varentropy = entropy_and_varentropy(logprobs)
        figures = zip(
            rows,
            tokens.tolist(),
            chosen.tolist(),
            entropy.tolist(),
            varentropy.tolist(),
            strict=True,
        )
        for row, *figure in figures:
            self._sampled(row, *figure)

    def _sampled(
        self, row: _Row, token: int, logprob: float, entropy: float, varentropy: float
    ) -> None:
        thought = row.thoughts[-1]
        thought.ids.append(token)
        thought.logprobs.append(logprob)
        thought.entropy.append(entropy)
        thought.varentropy.append(varentropy)
        row.pending.append(token)
        row.length += 1
        row.place = Place.INSIDE
        ended = token == self._codec.thought_end
        if ended or len(thought.ids) == row.request.max_tokens:
            thought.complete = ended
            tail = (
                [self._codec.rating_start]
                if ended
                else [self._codec.thought_end, self._codec.rating_start]
            )
            row.pending.extend(tail)
            row.length += len(tail)
            row.rating = True

    def _rated(self, row: _Row, value: float) -> None:
        """Close the thought with its value, and roll on unless the row has reached its end."""
        thought = row.thoughts[-1]
        row.rating = False
        meta, thought.text = self._codec.decode(thought.ids)
        thought.meta = thought.meta or meta
        thought.value = value
        thought.shown = self._shown(value)
        if stated_answer(thought.text) is not None or len(row.thoughts) == len(row.request.metas):
            row.done = True
            return
        closing = self._codec.closing(Rating(thought.shown))[1:]
        row.pending.extend(closing)
        row.length += len(closing)
        self._begin_thought(row)

    def _shown(self, value: float) -> Rating:
        if not self._show_ratings:
            return Rating.UNKNOWN
        return Rating.POSITIVE if value >= 0.5 else Rating.NEGATIVE

    def _allowed(self, logits: torch.Tensor) -> torch.Tensor:
        if self._grammar is None:
            self._grammar = self._codec.grammar(logits.shape[-1]).to(logits.device)
        return self._grammar

    def _score_unhinted(self, row: _Row) -> None:
        """Replace what hints influenced by what the model says of the same tokens without them."""
        ids, starts = list(row.request.path), []
        for depth, thought in enumerate(row.thoughts, start=row.request.depth):
            tokens, offset = self._codec.node(
                depth,
                thought.ids,
                forced_meta=thought.meta if thought.forced_meta else None,
                complete=thought.complete,
                rating=Rating(thought.shown),
            )
            starts.append(len(ids) + offset)
            ids += tokens
        logits = self._model(input_ids=torch.tensor([ids], device=self._model.device)).logits[0]
        for thought, start in zip(row.thoughts, starts, strict=True):
            self._rescore(thought, logits[start - 1 :], row.request.temperature)

    def _rescore(self, thought: Thought, logits: torch.Tensor, temperature: float) -> None:
        """Figures of a thought from logits `[T, V]` that begin before its first sampled token."""
        count = len(thought.ids)
        first = Place.AFTER_META if thought.forced_meta else Place.FIRST
        places = [first] + [Place.INSIDE] * (count - 1)
        logprobs = action_logprobs(
            logits[:count], self._allowed(logits)[places], temperature or 1.0
        )
        tokens = torch.tensor(thought.ids, device=logits.device)
        thought.logprobs = logprobs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).tolist()
        entropy, varentropy = entropy_and_varentropy(logprobs)
        thought.entropy, thought.varentropy = entropy.tolist(), varentropy.tolist()
        # The rating is read behind the last token, the end if it was cut, and the rating's start.
        thought.value = float(self._value(logits[count + 1 + (not thought.complete)]))


def _batches(rows: list[_Row], size: int) -> Iterator[list[_Row]]:
    """Rows of like length together, so that little of a batch is padding."""
    ordered = sorted(rows, key=lambda row: row.length)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


@contextmanager
def _inference(model: PreTrainedModel) -> Iterator[None]:
    """No gradients and no dropout inside; the training mode is as before afterwards."""
    training = model.training
    model.eval()
    try:
        with merged(model), torch.inference_mode():
            yield
    finally:
        model.train(training)
