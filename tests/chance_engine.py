"""An engine that draws from small tables, so that all of its solutions can be listed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from llamao1_cli.engine.protocol import Request, Thought
from llamao1_cli.language.marked import Rating
from llamao1_cli.language.marked_language import MarkedLanguage

ANSWERS = ("7", "8")


@dataclass(frozen=True)
class Solution:
    """A whole solution: the sampled tokens of each thought, and its probability."""

    thoughts: tuple[tuple[int, ...], ...]
    probability: float
    right: bool


class ChanceEngine:
    """Thoughts of `length` tokens at most from `width` words; the last thought states an answer.

    What follows depends on all that was sampled since the root, and on `seed`.
    """

    def __init__(
        self,
        language: MarkedLanguage,
        *,
        seed: int = 0,
        width: int = 2,
        length: int = 2,
        depth: int = 2,
        evenness: float = 0.7,
    ) -> None:
        self._language, self._seed, self._length, self._depth = language, seed, length, depth
        self._evenness = evenness
        self._words = [language.encode(str(number))[0] for number in range(width)]
        self._queue: list[tuple[int, Request]] = []
        self.asked = 0

    def submit(self, requests: Sequence[Request]) -> list[int]:
        """Tickets in the order of asking."""
        tickets = [*range(self.asked, self.asked + len(requests))]
        self.asked += len(requests)
        self._queue += zip(tickets, requests, strict=True)
        return tickets

    def poll(self) -> list[tuple[int, list[Thought]]]:
        """Everything that was asked, the last request first."""
        queue, self._queue = self._queue[::-1], []
        return [(ticket, self._chain(request)) for ticket, request in queue]

    def refresh(self) -> None:
        """It has no weights."""

    def rate(self, paths: Sequence[list[int]]) -> list[float]:
        """The same for all."""
        return [0.5] * len(paths)

    def solutions(self) -> list[Solution]:
        """All whole solutions, by listing every sequence of tokens."""
        return [*self._below((), 1.0)]

    def _below(self, done: tuple[tuple[int, ...], ...], chance: float) -> Iterator[Solution]:
        if len(done) == self._depth:
            yield Solution(done, chance, self._answer(done) == ANSWERS[0])
            return
        for thought, own in self._thoughts(done, ()):
            yield from self._below((*done, thought), chance * own)

    def _thoughts(
        self, done: tuple[tuple[int, ...], ...], begun: tuple[int, ...]
    ) -> Iterator[tuple[tuple[int, ...], float]]:
        if len(begun) == self._length or begun[-1:] == (self._language.thought_end,):
            yield begun, 1.0
            return
        for token, chance in self.next_tokens(done, begun).items():
            for thought, rest in self._thoughts(done, (*begun, token)):
                yield thought, chance * rest

    def next_tokens(
        self, done: tuple[tuple[int, ...], ...], begun: tuple[int, ...]
    ) -> dict[int, float]:
        """The distribution of the next token."""
        words = [*self._words, *([self._language.thought_end] if begun else [])]
        key = [self._seed, *(t + 1 for thought in done for t in (*thought, -1)), 0, *begun]
        chances = np.random.default_rng(key).dirichlet([self._evenness] * len(words))
        return dict(zip(words, chances.tolist(), strict=True))

    def _answer(self, done: tuple[tuple[int, ...], ...]) -> str:
        key = [self._seed, 1, *(token + 1 for thought in done for token in (*thought, -1))]
        return ANSWERS[int(np.random.default_rng(key).integers(2))]

    def _chain(self, request: Request) -> list[Thought]:
        rng = np.random.default_rng(request.seed)
        done, chain = self._parsed(request), list[Thought]()
        while len(done) < self._depth:
            begins = request.begins if not chain else None
            thought = self._thought(done, begins.ids if begins else (), rng, request, not chain)
            if thought is None:
                return []
            done = (*done, tuple(thought.ids))
            if len(done) == self._depth:
                thought.text += f" \\boxed{{{self._answer(done)}}}"
            chain.append(thought)
            if len(chain) == len(request.metas):
                break
        return chain

    def _thought(
        self,
        done: tuple[tuple[int, ...], ...],
        begun: tuple[int, ...],
        rng: np.random.Generator,
        request: Request,
        first: bool,
    ) -> Thought | None:
        logprobs = [*request.begins.logprobs] if first else []
        ids, known = list(begun), len(begun)
        while len(ids) < self._length and ids[-1:] != [self._language.thought_end]:
            chances = self.next_tokens(done, tuple(ids))
            barred = request.begins.barred if first and len(ids) == known else frozenset()
            left = {token: p for token, p in chances.items() if token not in barred}
            if not left:
                return None
            weights = np.array([*left.values()])
            drawn = rng.choice(len(weights), p=weights / weights.sum())
            token = [*left][int(drawn if request.sampling.temperature else weights.argmax())]
            ids.append(token)
            logprobs.append(math.log(chances[token]))
        text = self._language.decode(ids)[1]
        ended = ids[-1] == self._language.thought_end
        figures = [0.0] * len(ids)
        return Thought(
            None, text, ids, logprobs, figures, figures, known, complete=ended,
            shown=Rating.UNKNOWN,
        )  # fmt: skip

    def _parsed(self, request: Request) -> tuple[tuple[int, ...], ...]:
        """The sampled tokens of the thoughts on the request's path."""
        language, path, done = self._language, list(request.path), list[tuple[int, ...]]()
        closing = len(language.closing(Rating.UNKNOWN))
        at = path.index(language.thought_end) + 1 + closing  # behind the root
        for depth in range(1, request.depth):
            start = at + len(language.opening(depth))
            stop = path.index(language.thought_end, start)
            ended = stop - start < self._length
            done.append(tuple(path[start : stop + ended]))
            at = stop + 1 + closing
        return tuple(done)
