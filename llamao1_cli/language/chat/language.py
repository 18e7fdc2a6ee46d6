"""The chat language: a model's own words, cut into thoughts at separators.

A path is a prompt and exactly the tokens that were sampled behind it: nothing opens a thought but
the words of a meta-action that was chosen for it, nothing follows one, and no token is ever made
from text again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llamao1_cli.errors import UserError
from llamao1_cli.language.answer_forms import BOXED, AnswerForm
from llamao1_cli.language.chat.settings import ChatSettings
from llamao1_cli.language.chat.template import ChatTemplate, special_ids
from llamao1_cli.language.chat.thoughts import Pieces, Separator
from llamao1_cli.language.marked import MarkedNode, Meta
from llamao1_cli.language.protocol import NodeTokens, SupervisedIds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

OPENERS: dict[Meta, str] = {
    Meta.CRITIC: "Let me check this step.",
    Meta.REFINE: "Let me redo this step.",
    Meta.CONCLUSION: "So the final answer is",
}
PROMPTS = 4096  # of problems that are kept, for a template takes longer than a search's step


class Role(IntEnum):
    """What a sampled token may be."""

    ANY = 0  # words, or the end of the turn
    EARLY = 1  # words, for it is too early to end


class ChatLanguage:
    """The chat language (see `Language`) by a tokenizer with a chat template.

    The model's turn ends at the template's own token, the tokenizer's, or one of `ends`. `answers`
    are read from the whole solution once it has ended. Raises UserError for a tokenizer without a
    template, or without a token that ends a turn.
    """

    rates = False
    room_to_close = 0

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        settings: ChatSettings,
        answers: AnswerForm = BOXED,
        ends: Iterable[int] = (),
    ) -> None:
        self.tokenizer, self.answers = tokenizer, replace(answers, whole=True)
        template = ChatTemplate(tokenizer, settings)
        self._turn_end = template.turn_end()
        own = (self._turn_end, tokenizer.eos_token_id, *ends)
        self.turn_ends = frozenset(token for token in own if token is not None)
        if not self.turn_ends:
            raise UserError(
                f"model.language: chat: {tokenizer.name_or_path} has no token that ends a turn; "
                "give its tokenizer an eos_token"
            )
        self._separator_text, self._pieces = settings.separator, Pieces(tokenizer)
        self._separator = Separator(settings.separator, self._pieces)
        self._prompt = lru_cache(maxsize=PROMPTS)(template.prompt)
        self._openers = {meta: self.encode(text) for meta, text in OPENERS.items()}

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of plain text; special tokens in it stay ordinary characters."""
        ids = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return list(ids)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns what `encode` returns for each text, in one call that is faster."""
        if not texts:
            return []
        batch = self.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)
        return [list(ids) for ids in batch["input_ids"]]

    def decode(
        self, ids: Sequence[int], forced_meta: Meta | None = None
    ) -> tuple[Meta | None, str]:
        """Returns the meta-action that was chosen for a thought, and its text with that one's
        words."""
        words = [token for token in ids if token not in self.turn_ends]
        return forced_meta, self._pieces.of([*self.opening(1, forced_meta), *words])

    def opening(self, depth: int, meta: Meta | None = None) -> list[int]:
        """Returns the words of a meta-action that was chosen, if it has some."""
        return list(self._openers.get(meta, ())) if meta else []

    def ends_thought(self, ids: Sequence[int]) -> bool:
        """Returns whether the last of a thought's tokens is a separator, or ends the turn."""
        return ids[-1] in self.turn_ends or self._separator.ends(ids)

    def ends_solution(self, meta: Meta | None, text: str, ids: Sequence[int]) -> bool:
        """Returns whether the model has ended its turn."""
        return ids[-1] in self.turn_ends

    def before_rating(self, complete: bool) -> list[int]:
        """Returns nothing, for nothing is rated."""
        return []

    def behind_rating(self, shown: str) -> list[int]:
        """Returns nothing, for nothing closes a thought."""
        return []

    def unrated(self, ids: Sequence[int]) -> list[int]:
        """Returns the path as it is."""
        return list(ids)

    def shown_rating(self, rating: float | None, *, show: bool) -> str:
        """Returns nothing, for nothing is rated."""
        return ""

    def rating_logits(self, logits: Tensor) -> Tensor:
        """Returns even odds `[...]`, for nothing is rated."""
        return logits.new_zeros(logits.shape[:-1], dtype=torch.float32)

    def problem_room(self, max_length: int, max_tokens: int, *, forced_meta: bool) -> int:
        """Returns how many tokens a problem's text may have; see `Language`."""
        opening = max(map(len, self._openers.values())) if forced_meta else 0
        return max_length - len(self.root("")) - opening - max_tokens

    def root(self, problem: str) -> list[int]:
        """Returns the tokens of a problem's prompt."""
        return list(self._prompt(problem))

    def root_node(self, problem: str) -> NodeTokens:
        """Returns the prompt as a node."""
        ids = self.root(problem)
        return NodeTokens(ids, 0, len(ids) - 1)

    def node(
        self,
        depth: int,
        ids: Sequence[int],
        *,
        forced_meta: Meta | None,
        complete: bool,
        shown: str,
    ) -> NodeTokens:
        """Returns a thought's tokens: the words of its meta-action, and those sampled."""
        opening = self.opening(depth, forced_meta)
        whole = [*opening, *ids]
        return NodeTokens(whole, len(opening), len(whole) - 1)

    def role(self, index: int, forced_meta: bool, min_tokens: int) -> Role:
        """Returns the role of sampled token `index` of a thought of at least `min_tokens` tokens,
        its end among them."""
        return Role.ANY if index + 1 >= min_tokens else Role.EARLY

    def grammar(self, size: int) -> Tensor:
        """Returns which tokens are allowed `[2, size]`, a row a `Role`: all that stand for text,
        and those that end the turn."""
        allowed = torch.zeros(len(Role), size, dtype=torch.bool)
        allowed[:, : len(self.tokenizer)] = True
        allowed[:, sorted(special_ids(self.tokenizer))] = False
        allowed[:, sorted(self.turn_ends)] = False
        allowed[Role.ANY, sorted(self.turn_ends)] = True
        return allowed

    def supervised(
        self, nodes: Sequence[MarkedNode], *, show_ratings: bool, rating_weight: float
    ) -> SupervisedIds:
        """Returns a worked solution as the model's turn, thoughts apart by the separator. The model
        learns its words and its end; a solution with a thought that is not to be imitated, and what
        is rated of it, teach nothing."""
        problem, *thoughts = nodes
        text = self._separator_text.join(thought.text.strip() for thought in thoughts)
        end = self._turn_end if self._turn_end is not None else min(self.turn_ends)
        prompt, words = self.root(problem.text), [*self.encode(text), end]
        learned = float(all(thought.imitate for thought in thoughts))
        ids = [*prompt, *words]
        return SupervisedIds(ids, ids, [0.0] * len(prompt) + [learned] * len(words))
