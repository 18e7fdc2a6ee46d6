"""Marked text as token ids: paths, headers, and what a thought may contain.

A path's tokens number its nodes by their depth, so that the same thoughts give the same prompt
wherever they stand in the tree, and siblings share their header. Nodes follow each other without
white space, which the language does not require. Sampled ids are kept: they are never made again
from text.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llamao1_cli.language.answer_forms import BOXED, AnswerForm
from llamao1_cli.language.marked import (
    FATHER_END,
    FATHER_START,
    LOCAL_END,
    LOCAL_START,
    MARKERS,
    RATING_END,
    RATING_START,
    THOUGHT_END,
    THOUGHT_START,
    MarkedNode,
    Meta,
    Rating,
    neutralise,
)
from llamao1_cli.language.protocol import NodeTokens, SupervisedIds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Role(IntEnum):
    """What a sampled token is in its thought; the role decides which tokens are allowed."""

    INSIDE = 0  # words, or the end of the thought
    FIRST = 1  # words or a meta-action
    WORDS = 2  # words: a meta-action was written for the model, or it is too early to end


class MarkedLanguage:
    """The marked language (see `Language`) by one tokenizer that has all markers; `answers` is how
    its thoughts state answers. A thought that states one ends the solution."""

    rates = True

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        allowed_metas: Iterable[Meta],
        answers: AnswerForm = BOXED,
    ) -> None:
        self.tokenizer, self.answers = tokenizer, answers
        vocabulary = tokenizer.get_vocab()
        self._id = {marker: vocabulary[marker] for marker in MARKERS}
        self._meta_of = {self._id[meta]: meta for meta in Meta}
        self._number = {
            token[4:-1]: index for token, index in vocabulary.items() if token.startswith("<id_")
        }
        self._allowed_metas = [self._id[meta] for meta in allowed_metas]
        self.thought_end = self._id[THOUGHT_END]
        self.rating_start = self._id[RATING_START]
        self.rating_end = self._id[RATING_END]
        self.positive = self._id[Rating.POSITIVE]
        self.negative = self._id[Rating.NEGATIVE]

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of plain text; markers, too, stay ordinary characters in it."""
        ids = self.tokenizer.encode(
            neutralise(text), add_special_tokens=False, split_special_tokens=True
        )
        return list(ids)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns what `encode` returns for each text, in one call that is faster."""
        plain = [neutralise(text) for text in texts]
        if not plain:
            return []
        batch = self.tokenizer(plain, add_special_tokens=False, split_special_tokens=True)
        return [list(ids) for ids in batch["input_ids"]]

    def decode(
        self, ids: Sequence[int], forced_meta: Meta | None = None
    ) -> tuple[Meta | None, str]:
        """Returns the meta-action and text of a thought's tokens; its end marker is left out."""
        meta = self._meta_of.get(ids[0]) if ids else None
        words = [i for i in ids[meta is not None :] if i != self.thought_end]
        return forced_meta or meta, str(
            self.tokenizer.decode(words, clean_up_tokenization_spaces=False)
        )

    def opening(self, depth: int, meta: Meta | None = None) -> list[int]:
        """Returns a thought's header (depth 0: the root's) and its meta-action, if any."""
        return [*self._header(depth - 1, depth), *([self.meta(meta)] if meta else [])]

    def meta(self, meta: Meta) -> int:
        """Returns the token of a meta-action."""
        return self._id[meta]

    def closing(self, shown: str) -> list[int]:
        """Returns the tokens that follow a thought's end: its rating field."""
        return [self.rating_start, self._id[shown], self.rating_end]

    def ends_thought(self, ids: Sequence[int]) -> bool:
        """Returns whether the last of a thought's sampled tokens is its end marker."""
        return ids[-1] == self.thought_end

    def ends_solution(self, meta: Meta | None, text: str, ids: Sequence[int]) -> bool:
        """Returns whether a thought states an answer, which ends the solution."""
        return self.answers.stated_by(meta, text) is not None

    def before_rating(self, complete: bool) -> list[int]:
        """Returns the end marker of a thought that was cut, and what opens the rating field."""
        return [*([] if complete else [self.thought_end]), self.rating_start]

    def behind_rating(self, shown: str) -> list[int]:
        """Returns the tokens of a rating field behind the one at which the rating is read."""
        return self.closing(shown)[1:]

    def unrated(self, ids: Sequence[int]) -> list[int]:
        """Returns the tokens of a path without the rating field that closes it."""
        return list(ids[: -len(self.closing(Rating.UNKNOWN))])

    def shown_rating(self, rating: float | None, *, show: bool) -> str:
        """Returns the rating token that stands for a rating in the path."""
        if rating is None or not show:
            return Rating.UNKNOWN
        return Rating.POSITIVE if rating >= 0.5 else Rating.NEGATIVE

    def rating_logits(self, logits: Tensor) -> Tensor:
        """Returns the log-odds of the positive rating token against the negative one `[...]`."""
        return logits[..., self.positive].float() - logits[..., self.negative].float()

    @property
    def room_to_close(self) -> int:
        """Returns how many tokens close a thought that was cut: its end and its rating field."""
        return 1 + len(self.closing(Rating.UNKNOWN))

    def problem_room(self, max_length: int, max_tokens: int, *, forced_meta: bool) -> int:
        """Returns how many tokens a problem's text may have at most for one thought of `max_tokens`
        to fit behind it in a path of `max_length`; less than 0 where none does."""
        opening = len(self.root("")) + len(self.opening(1)) + forced_meta
        return max_length - opening - max_tokens - self.room_to_close

    def root(self, problem: str) -> list[int]:
        """Returns the tokens of the root of every path: the problem, unrated."""
        return self.root_node(problem).ids

    def root_node(self, problem: str) -> NodeTokens:
        """Returns the root's tokens, none of which was sampled."""
        words = [self._id[Meta.PROBLEM], *self.encode(problem), self.thought_end]
        return self._closed([*self.opening(0), *words], 0, Rating.UNKNOWN)

    def node(
        self,
        depth: int,
        ids: Sequence[int],
        *,
        forced_meta: Meta | None,
        complete: bool,
        shown: str,
    ) -> NodeTokens:
        """Returns the tokens of one rated thought on a path; the model sampled `ids` of them."""
        opening = self.opening(depth, forced_meta)
        cut = [] if complete else [self.thought_end]
        return self._closed([*opening, *ids, *cut], len(opening), shown)

    def role(self, index: int, forced_meta: bool, min_tokens: int) -> Role:
        """Returns the role of sampled token `index` of a thought of at least `min_tokens` tokens
        before its end."""
        if index == 0:
            return Role.WORDS if forced_meta else Role.FIRST
        return Role.INSIDE if index >= min_tokens else Role.WORDS

    def supervised(
        self, nodes: Sequence[MarkedNode], *, show_ratings: bool, rating_weight: float
    ) -> SupervisedIds:
        """Returns the tokens of a marked tree for supervised training; the nodes keep their ids.

        The model learns the problem, the thoughts to imitate, their ends, and known ratings
        (`rating_weight` each). It does not learn the headers, which it never samples.
        """
        ids = SupervisedIds([], [], [])
        for index, node in enumerate(nodes):
            words = [self._id[node.meta]] if node.meta else []
            words += [*self.encode(node.text), self.thought_end]
            rating = node.rating or Rating.UNKNOWN
            shown = rating if show_ratings else Rating.UNKNOWN
            self._append(ids, self._header(node.father, node.local), 0.0)
            self._append(ids, words, float(node.imitate))
            self._append(ids, self.closing(shown), 0.0)
            if index and rating is not Rating.UNKNOWN:
                ids.labels[-2], ids.weights[-2] = self._id[rating], rating_weight
        return ids

    def grammar(self, size: int) -> Tensor:
        """Returns which tokens are allowed `[3, size]`, a row a `Role`; `size` is the width of the
        model's logits.

        A thought sampled under this mask always parses: no marker stands where it may not.
        """
        special = {*self._id.values(), *self._number.values(), *self.tokenizer.all_special_ids}
        allowed = torch.zeros(len(Role), size, dtype=torch.bool)
        allowed[:, : len(self.tokenizer)] = True
        allowed[:, sorted(special)] = False
        allowed[Role.INSIDE, self.thought_end] = True
        allowed[Role.FIRST, self._allowed_metas] = True
        return allowed

    def _closed(self, ids: list[int], sampled: int, shown: str) -> NodeTokens:
        """Returns an ended thought with its rating field."""
        return NodeTokens([*ids, *self.closing(shown)], sampled, read=len(ids))

    def _header(self, father: int, local: int) -> list[int]:
        return [
            self._id[FATHER_START],
            *self._digits(father),
            self._id[FATHER_END],
            self._id[LOCAL_START],
            *self._digits(local),
            self._id[LOCAL_END],
            self._id[THOUGHT_START],
        ]

    def _digits(self, number: int) -> list[int]:
        """Returns the tokens of a node's number: one of its own where the tokenizer has it, else
        its digits."""
        own = self._number.get(str(number))
        return self.encode(str(number)) if own is None else [own]

    def _append(self, ids: SupervisedIds, tokens: list[int], weight: float) -> None:
        ids.inputs.extend(tokens)
        ids.labels.extend(tokens)
        ids.weights.extend([weight] * len(tokens))
