"""A request in flight: what it must feed next, and what the logits behind that are for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from torch import Tensor

from llamao1_cli.engine.protocol import Request, Thought
from llamao1_cli.engine.sampler import NO_TOKEN, Sampler, TokenStats, make_choice, token_stats
from llamao1_cli.language.marked import METAS
from llamao1_cli.language.protocol import Language

FIGURES = ("ids", "logprobs", "entropy", "varentropy")  # of a thought, one entry a sampled token


class Wants(Enum):
    """What a row does with the logits behind its last pending token."""

    TOKEN = "sample a token"
    RATING = "read a rating"
    SCORES = "read the figures of every token of a thought, then its rating if it has one"


@dataclass
class Rules:
    """What all rows of an engine have in common."""

    language: Language
    max_length: int
    show_ratings: bool


@dataclass
class Row:
    """One request in flight. Its suffix is what was fed behind the tokens that its group shares."""

    request: Request
    ticket: int
    rules: Rules
    shared: int  # tokens of the group's prefix
    pending: list[int] = field(default_factory=list)
    fed: list[int] = field(default_factory=list)
    thoughts: list[Thought] = field(default_factory=list)
    wants: Wants = Wants.TOKEN
    done: bool = False
    scored: int = 0  # SCORES: index in `pending` of the thought's first sampled token
    hinted: int = 0  # length of `fed` before the hint of the thought in the making

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.request.seed)
        self._drawn: list[float] = []  # random numbers that no sample has used yet

    @property
    def thought(self) -> Thought:
        """The thought in the making."""
        return self.thoughts[-1]

    def role(self, index: int) -> int:
        """Returns the role of sampled token `index` of the thought."""
        forced, least = self.thought.forced_meta, self.request.sampling.min_tokens
        return self.rules.language.role(index, forced, least)

    @property
    def decodes(self) -> bool:
        """Whether it has one token to feed, and samples the next one behind it."""
        return not self.done and self.wants is Wants.TOKEN and len(self.pending) == 1

    def roles(self, count: int) -> list[int]:
        """Returns the roles of the thought's next tokens."""
        first = len(self.thought.ids)
        return [self.role(index) for index in range(first, first + count)]

    def uniforms(self, count: int) -> list[float]:
        """Returns its own next random numbers in [0, 1), of which every sample uses up one."""
        self._drawn += self._random.random(max(count - len(self._drawn), 0)).tolist()
        return self._drawn[:count]

    @property
    def spent(self) -> bool:
        """Whether its thoughts have all the tokens that the request allows them together."""
        most = self.request.budget
        return most is not None and sum(t.generated for t in self.thoughts) >= most

    @property
    def barred(self) -> frozenset[int]:
        """The tokens that its next sample may not be."""
        first = len(self.thoughts) == 1 and len(self.thought.ids) == self.thought.known
        return self.request.begins.barred if first else frozenset()

    @property
    def max_suffix(self) -> int:
        """How many tokens its suffix can have at most."""
        language, deepest = self.rules.language, self.request.depth + len(self.request.metas)
        hints = (len(language.encode(hint)) for hint in self.request.hints if hint)
        opening = max(len(language.opening(deepest, meta)) for meta in METAS)
        thought = opening + self.request.sampling.max_tokens + language.room_to_close
        longest = len(self.request.metas) * thought + max(hints, default=0)
        return min(longest, self.rules.max_length - self.shared)

    def opening(self) -> list[int] | None:
        """Returns the tokens before the next thought's first sample, among them those that it
        begins with; None where the path has no room left.

        A hint stands before them, and is removed once the thought is there.
        """
        language, index = self.rules.language, len(self.thoughts)
        meta, sentence = self.request.metas[index], self.request.hints[index]
        tokens = language.encode(sentence) if sentence else []
        tokens += language.opening(self.request.depth + index, meta)
        length = self.shared + len(self.fed) + len(self.pending) + len(tokens)
        # The thought and what closes it must fit behind the opening.
        longest = length + self.request.sampling.max_tokens + language.room_to_close
        if longest > self.rules.max_length:
            return None
        return tokens if index else [*tokens, *self.request.begins.ids]

    def begin(self, tokens: list[int], known: int = 0) -> None:
        """Begin the next thought with its opening, of which the group shares the first `known`."""
        index = len(self.thoughts)
        meta = self.request.metas[index]
        self.hinted = len(self.fed) + len(self.pending)
        self.pending += tokens[known:]
        thought = Thought(meta=meta, text="", forced_meta=meta is not None)
        if index == 0:
            begins = self.request.begins
            thought.known = len(begins.ids)
            for name in FIGURES:
                getattr(thought, name).extend(getattr(begins, name))
        self.thoughts.append(thought)
        self.wants = Wants.TOKEN

    def take(self) -> list[int]:
        """Returns what is fed now: everything pending."""
        tokens, self.pending = self.pending, []
        self.fed += tokens
        return tokens

    def sampled(self, stats: TokenStats) -> None:
        """Take in a sampled token, and line up what must follow it; end with no thought where
        nothing was left to sample."""
        thought, sampling, language = self.thought, self.request.sampling, self.rules.language
        if stats.token == NO_TOKEN:
            self.thoughts, self.done = [], True
            return
        self._drawn.pop(0)
        _add(thought, stats)
        self.pending = [stats.token]
        ended = len(thought.ids) >= sampling.min_tokens and language.ends_thought(thought.ids)
        full = len(thought.ids) == sampling.max_tokens or self.spent
        stopped = stats.token in sampling.stop_ids or full
        if not (ended or stopped):
            return
        thought.complete = ended
        if self.request.hints[len(self.thoughts) - 1]:
            self._unhint()
        elif language.rates:
            self.pending += language.before_rating(ended)
            self.wants = Wants.RATING
        else:
            self.close(None)

    def rescored(self, stats: list[TokenStats]) -> None:
        """Replace a hinted thought's figures by those it has without the hint; close it where it is
        not rated."""
        for name in FIGURES:
            getattr(self.thought, name).clear()
        for each in stats:
            _add(self.thought, each)
        if not self.rules.language.rates:
            self.pending = self.thought.ids[-1:]
            self.close(None)

    def close(self, rating: float | None) -> None:
        """Close the thought with its rating, and begin the next one unless the path has ended."""
        thought, language = self.thought, self.rules.language
        thought.meta, thought.text = language.decode(thought.ids, thought.meta)
        thought.rating = rating
        thought.shown = language.shown_rating(rating, show=self.rules.show_ratings)
        last = len(self.thoughts) == len(self.request.metas) or self.spent
        thought.final = language.ends_solution(thought.meta, thought.text, thought.ids)
        if last or thought.final:
            self.done = True
            return
        self.pending += language.behind_rating(thought.shown)
        opening = self.opening()
        if opening is None:
            self.done = True
        else:
            self.begin(opening)

    def _unhint(self) -> None:
        """Go back to before the hint and read the thought again as the path will show it."""
        thought, language = self.thought, self.rules.language
        tokens = language.node(
            self.request.depth + len(self.thoughts) - 1,
            thought.ids,
            forced_meta=thought.meta if thought.forced_meta else None,
            complete=thought.complete,
            shown=language.shown_rating(None, show=False),
        )
        # What predicts the first token: the token before it, if nothing opens the thought.
        start = self.hinted - (tokens.sampled == 0)
        before = self.fed[start : self.hinted]
        self.fed = self.fed[:start]
        self.scored = len(before) + tokens.sampled
        self.pending = [*before, *tokens.ids[: tokens.read + language.rates]]
        self.wants = Wants.SCORES


def sample_rows(rows: Sequence[Row], logits: Tensor, sampler: Sampler) -> None:
    """Sample the next token of every row from its logits `[B, V]`, and let the rows take it in."""
    choice = make_choice(
        [row.request.sampling for row in rows],
        [row.roles(1)[0] for row in rows],
        [row.uniforms(1)[0] for row in rows],
        logits.device,
    )
    barred = [(index, token) for index, row in enumerate(rows) for token in row.barred]
    drawn = sampler.draw(logits, choice, barred=barred)
    for row, stats in zip(rows, token_stats(drawn), strict=True):
        row.sampled(stats)


def _add(thought: Thought, stats: TokenStats) -> None:
    thought.ids.append(stats.token)
    thought.logprobs.append(stats.logprob)
    thought.entropy.append(stats.entropy)
    thought.varentropy.append(stats.varentropy)
