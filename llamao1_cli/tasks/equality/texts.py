"""Answers in words: names, yes and no, choice letters."""

import re

from llamao1_cli.tasks.equality.moments import MONTHS, WEEKDAYS
from llamao1_cli.tasks.equality.words import COMPASS, SHORT_WORDS

_WORDS = re.compile(r"[^\W\d_]+(?:[ .'’-]+[^\W\d_]+)*[.!]?")
_LABEL = re.compile(r"[A-Za-z]{1,3}[0-9]{1,4}")
_SAME = {
    "dne": "does not exist",
    "infinity": r"\infty",
    r"\emptyset": "no solution",
    r"\varnothing": "no solution",
    r"\{\}": "no solution",
    "empty set": "no solution",
    "the empty set": "no solution",
    "no solutions": "no solution",
    "anticlockwise": "counterclockwise",
    "ccw": "counterclockwise",
} | {short.lower(): full for short, full in COMPASS.items() if len(short) > 1}
_SAME |= {name[:length]: name for name in [*MONTHS, *WEEKDAYS] for length in (3, 4)}
_OPTION = r"(?:the )?(?:correct )?(?:(?:option|choice|answer)(?: is)?:? )?"
_LETTER = r"(?:\(([A-J])\)|\[([A-J])\]|([A-J]) ?[).:](?= |$|[A-Za-z0-9])|([A-J])(?=$| - [A-Za-z]))"
_CHOICE = re.compile(
    rf"{_OPTION}{_LETTER} ?+(?:: |- )?+(?P<text>(?!and\b|or\b)[^(^_=+*/,].*)?", re.IGNORECASE
)


def text_key(form: str) -> str | None:
    """Returns what two texts have in common that say the same, or None for a formula.

    `IV`, `CAT1` and `No` are names, not products of letters, and `xy` is a product.
    """
    form = _SAME.get(form.lower(), form)
    if _LABEL.fullmatch(form) and not form[0].islower():
        return form
    if not _WORDS.fullmatch(form) or len(form) < 2:
        return None
    if len(form) == 2 and form.islower() and form.isascii() and form not in SHORT_WORDS:
        return None
    key = re.sub(r"[\W_]+", " ", form.replace("-", "").replace("'", "").casefold()).strip()
    return _SAME.get(key, key)


def same_text(one: str, two: str) -> bool | None:
    """Returns whether two texts say the same, or None if one of them is a formula."""
    left, right = text_key(one), text_key(two)
    if left and right:
        return left == right
    if not (left or right) or not (one.isalpha() and two.isalpha()):
        return None
    # A single letter is a name where it stands beside one, and N is the north.
    keys = [key or COMPASS.get(word, word).casefold() for key, word in ((left, one), (right, two))]
    return keys[0] == keys[1]


def synonym(form: str) -> str:
    r"""Returns the form by which a notion with several names is known: `\infty` for infinity."""
    return _SAME.get(form.lower(), form)


def read_choice(form: str) -> tuple[str, str] | None:
    """Returns the letter and the text, if any, of a choice: `(C) 12`, `C)`, `Option C`."""
    match = _CHOICE.fullmatch(form)
    if not match:
        return None
    letter = match[1] or match[2] or match[3] or match[4]
    return letter.upper(), (match["text"] or "").strip()
