"""Prompts by a tokenizer's chat template, and the token that ends the model's turn in it."""

import re
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from llamao1_cli.errors import UserError
from llamao1_cli.language.chat.settings import ChatSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Messages = list[dict[str, str]]

_SAID = "said-by-the-model"  # stands for the model's words where only what follows them matters


class ChatTemplate:
    """Writes problems as prompts: system prompt, worked examples as turns, the problem as the
    user's turn, and what opens the model's turn."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", settings: ChatSettings) -> None:
        if not tokenizer.chat_template:
            raise UserError(
                f"model.language: chat: {tokenizer.name_or_path} has no chat template; name a chat "
                "model in model.path, or set model.language: marked"
            )
        self._tokenizer, self._settings = tokenizer, settings
        added = tokenizer.added_tokens_decoder
        special = {added[i].content for i in special_ids(tokenizer) if i in added}
        longest_first = sorted(special, key=lambda text: (-len(text), text))
        self._special = re.compile("|".join(map(re.escape, longest_first)))

    def messages(self, problem: str) -> Messages:
        """Returns the turns before the model's."""
        said = [] if self._settings.system is None else [("system", self._settings.system)]
        for asked, answered in self._settings.examples:
            said += [("user", asked), ("assistant", answered)]
        return [{"role": role, "content": text} for role, text in (*said, ("user", problem))]

    def prompt(self, problem: str) -> list[int]:
        """Returns the tokens of a problem's prompt. Special tokens in its text become ordinary
        characters."""
        text = self._rendered(self.messages(self._harmless(problem)), opens=True)
        return self._read(text)

    def turn_end(self) -> int | None:
        """Returns the token that ends the model's turn in the template, None if it shows none."""
        said: Messages = [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": _SAID},
        ]
        behind = self._read(self._rendered(said, opens=False).rpartition(_SAID)[2])
        added = self._tokenizer.added_tokens_decoder
        return behind[0] if behind and behind[0] in added else None

    def _rendered(self, messages: Messages, *, opens: bool) -> str:
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    messages,
                    add_generation_prompt=opens,
                    tokenize=False,
                    **self._settings.arguments,
                )
            )
        except (TemplateError, TypeError, ValueError) as error:
            why = " ".join(str(error).split())
            raise UserError(
                f"model.chat: the chat template of {self._tokenizer.name_or_path} refuses what "
                f"model.chat asks for: {why:.200}; change model.chat (system, examples, arguments)"
            ) from None

    def _read(self, text: str) -> list[int]:
        """Returns the tokens of a rendered text, which has its own first token if it needs one."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _harmless(self, text: str) -> str:
        """Returns a text in which no special token stands."""
        if not self._special.pattern:
            return text
        return self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def special_ids(tokenizer: "PreTrainedTokenizerFast") -> set[int]:
    """Returns the tokens that stand for no text."""
    added = tokenizer.added_tokens_decoder
    return {*tokenizer.all_special_ids, *(i for i, token in added.items() if token.special)}
