"""Where a thought ends in a text that was not written in thoughts: at a separator."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Pieces:
    """The text of every token, and of tokens together, as it stands behind other text."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        # Some tokenizers take the space from the beginning of a text: something stands before it.
        self._tokenizer = tokenizer.backend_tokenizer
        self._before = tokenizer.encode("a", add_special_tokens=False)[-1:]
        self._skipped = len(self._decode([]))
        pairs = [[*self._before, token] for token in range(len(tokenizer))]
        texts = self._tokenizer.decode_batch(pairs, skip_special_tokens=False)
        self.texts = [text[self._skipped :] for text in texts]

    def of(self, ids: Sequence[int]) -> str:
        """Returns the text of tokens together."""
        return self._decode(ids)[self._skipped :]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode([*self._before, *ids], skip_special_tokens=False))


class Separator:
    """Ends a thought at the first token with which the separator stands behind a visible
    character. Tokenizers merge separators with what is around them, so that a thought may end with
    the first characters of the next line."""

    def __init__(self, separator: str, pieces: Pieces) -> None:
        self._separator, self._texts = separator, pieces.texts
        self._may_end = {i for i, text in enumerate(pieces.texts) if separator[-1] in text}

    def ends(self, ids: Sequence[int]) -> bool:
        """Returns whether the last of a thought's tokens ends it."""
        if ids[-1] not in self._may_end:
            return False
        return self._separator in "".join(self._texts[token] for token in ids).lstrip()
