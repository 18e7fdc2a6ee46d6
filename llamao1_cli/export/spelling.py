"""Paths as text that a model's own tokenizer reads as exactly the tokens it was trained on."""

from collections.abc import Sequence
from itertools import chain

from transformers import PreTrainedTokenizerFast

from llamao1_cli.export.steps import Step
from llamao1_cli.language.protocol import Language


class Speller:
    """Spells steps for a tokenizer, and refuses those that it would read as other tokens."""

    def __init__(self, language: Language, tokenizer: PreTrainedTokenizerFast) -> None:
        self._language, self._tokenizer = language, tokenizer

    def node(self, step: Step) -> list[int]:
        """Returns the tokens of a step from its header to its rating, as in supervised training."""
        return self._language.supervised([step.said], show_ratings=True, rating_weight=0.0).inputs

    def asked(self, path: Sequence[Step]) -> list[int]:
        """Returns the tokens of a prompt: the path, and the header of the thought to come."""
        return [*chain(*map(self.node, path)), *self._language.opening(len(path))]

    def answered(self, steps: Sequence[Step]) -> list[int]:
        """Returns the tokens of what follows the prompt: the steps without the first one's header,
        up to the end of the last thought."""
        header = len(self._language.opening(steps[0].said.local))
        return self._language.unrated(list(chain(*map(self.node, steps)))[header:])

    def texts(self, *pieces: Sequence[int]) -> list[str] | None:
        """Returns the text of each piece; None if the tokenizer reads the joined texts as other
        tokens, as it does with words that are one of its special tokens."""
        texts = [
            self._tokenizer.decode(
                piece, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
            for piece in pieces
        ]
        read = self._tokenizer("".join(texts))["input_ids"]
        return texts if read == list(chain(*pieces)) else None
