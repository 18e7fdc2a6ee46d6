"""Whether a tokenizer gives back what it was given."""

from collections.abc import Sequence
from dataclasses import dataclass

from llamao1_cli.language.marked import neutralise
from llamao1_cli.language.protocol import Language

MUST_SURVIVE = "54"  # in the words that state an answer
SHOWN = 3


@dataclass(frozen=True)
class LostText:
    """A text as it was written, and as its tokens spell it."""

    written: str
    spelled: str


@dataclass(frozen=True)
class TokenizerFacts:
    """The texts that were spelled, and those that came back changed."""

    texts: int
    changed: int
    letters: list[str]  # that no changed text came back with
    examples: list[LostText]


def tokenizer_facts(language: Language, texts: Sequence[str]) -> TokenizerFacts:
    """Returns what becomes of texts, and of a stated answer, in the tokenizer."""
    written = [language.answers.statement(MUST_SURVIVE), *map(neutralise, texts)]
    spelled = [language.decode(ids)[1] for ids in language.encode_all(written)]
    changed = [pair for pair in zip(written, spelled, strict=True) if pair[0] != pair[1]]
    letters = {letter for before, after in changed for letter in {*before} - {*after}}
    return TokenizerFacts(
        texts=len(written),
        changed=len(changed),
        letters=sorted(letters),
        examples=[LostText(*pair) for pair in changed[:SHOWN]],
    )
