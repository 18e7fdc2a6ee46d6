"""Which language a model speaks, and what is to be chosen about it. It loads no torch."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from llamao1_cli.errors import UserError
from llamao1_cli.language.answer_forms import BOXED, AnswerForm
from llamao1_cli.language.chat.settings import ChatSettings
from llamao1_cli.language.marked import MARKERS, THOUGHT_END, Meta

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from llamao1_cli.language.protocol import Language

LanguageName = Literal["auto", "marked", "chat"]


@dataclass(frozen=True)
class LanguageChoice:
    """The language that was asked for by name, and its settings."""

    name: LanguageName = "auto"
    chat: ChatSettings = field(default_factory=ChatSettings)

    def marks(self, tokenizer: "PreTrainedTokenizerFast") -> bool:
        """Returns whether a model with this tokenizer speaks the marked language, and so needs its
        markers; UserError where nothing says which one it speaks."""
        if self.name != "auto":
            return self.name == "marked"
        vocabulary = tokenizer.get_vocab()
        if all(marker in vocabulary for marker in MARKERS):
            return True
        if tokenizer.chat_template:
            return False
        raise UserError(
            f"model.language: {tokenizer.name_or_path} has neither the markers of the marked "
            "language nor a chat template; name a chat model in model.path, or teach it the marked "
            "language (language: marked and a section `warmup`)"
        )

    def text_end(self, tokenizer: "PreTrainedTokenizerFast") -> str | None:
        """Returns the token that ends what a model says when it is asked once, in a language that
        programs do not know: None in one that they do."""
        return THOUGHT_END if self.marks(tokenizer) else None

    def make(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        metas: Iterable[Meta],
        answers: AnswerForm = BOXED,
        ends: Iterable[int] = (),
    ) -> "Language":
        """Returns the language by this tokenizer; `metas` are the meta-actions that a model may
        choose, and `ends` the tokens that end its texts, beside the tokenizer's own.

        Raises UserError for a tokenizer that does not fit it.
        """
        from llamao1_cli.language.chat.language import ChatLanguage
        from llamao1_cli.language.marked_language import MarkedLanguage

        if self.marks(tokenizer):
            return MarkedLanguage(tokenizer, metas, answers)
        return ChatLanguage(tokenizer, self.chat, answers, ends)
