r"""Final answers in text: finding the one that is stated, in time linear in the text.

One function a way to state answers; `answer_forms` says which of them a task uses.
"""

import re
from collections.abc import Iterator

# Each alternative is of bounded width or eats what it scans, so one pass over a text is linear.
_BOX_TOKEN = re.compile(
    r"\\{1,2}(?:boxed|fbox)(?![A-Za-z])\s*+(?:(?P<open>\{)|(?P<bare>[-+]?\.?[0-9][^\s${}\\]*+))?"
    r"|\\.|[{}]",
    re.DOTALL,
)
# What may stand between the boxes of one list: "$\boxed{3}$ and $\boxed{5}$".
_BETWEEN_BOXES = re.compile(
    r"[\s$]*+(?:[,;][\s$]*+(?:(?:and|or)\b)?|(?:\\text\{\s*+)?(?:and|or)\b\s*+\}?)[\s$]*+"
)
_BETWEEN_CHARS = 30
_PHRASE = re.compile(r"\banswers?[*_]{0,2}\s*+(?:(?:is|are)\b\s*+:?|:)[\s*_]*+", re.IGNORECASE)
# The dot of "Rs. 100" ends no sentence.
_SENTENCE_END = re.compile(r"\n|\.(?=[\s*_]|$)(?!(?<=\bRs\.)\s[0-9]|(?<=\bNo\.)\s[0-9])")
_BOX = re.compile(r"\\{1,2}(?:boxed|fbox)(?![A-Za-z])\s*+")
_TAG = re.compile(r"<(/?)answer>")
# Marks before a choice letter, as in "**(B)**" and `\boxed{\text{B}}`, and behind it.
_BEFORE = r"(?:[\s*_`$'\"“({\[]|\\[A-Za-z]++\s*+\{)*+"
_BEHIND = r"[\s*_`$'\"”)}\].,:;!?]"
_CHOICE = re.compile(
    rf"{_BEFORE}(?:(?:the\s++)?(?i:option|choice|letter)\s++{_BEFORE})?"
    # "I think so" chooses nothing.
    rf"(?!I\s++[a-z])(?P<letter>[A-Z]|(?<=\()[a-z])(?={_BEHIND}|$)"
)
_LETTER_ALONE = re.compile(rf"{_BEFORE}(?P<letter>[A-Za-z]){_BEHIND}*+")
_OPTION = re.compile(rf"{_BEFORE}(?P<letter>[A-Z])[*_}}]*+[).:]")  # "B) 12"
_BRACKETED = re.compile(r"(?<!\w)[(\[](?P<letter>[A-Za-z])[)\]]")
_LAST_WORD = re.compile(rf"(?<!\S)(?P<letter>[A-Z]){_BEHIND}*+$")
_NUMBER = re.compile(
    r"(?:(?<![\w)\]}])[-+−])?+(?<![^\W_])(?<!\d\.)"  # a sign stands behind nothing it could link
    r"(?:\d{1,3}(?:,\d{3}(?!\d))++|\d++|(?=\.\d))(?:\.\d++)?+(?:[eE][-+]?\d++)?+(?:/\d++)?+%?+"
)


def stated_answer(text: str) -> str | None:
    r"""Returns the final answer that a text states, stripped but not normalised, or None.

    The last complete non-empty ``\boxed{...}`` counts first, or the boxes of one list together, as
    in ``\boxed{3} and \boxed{5}``; then the last ``#### X``, then the last line ``A: X``, then the
    last "the answer is X" or "answer: X".
    """
    return _boxed(text) or hashed_answer(text) or _lettered(text) or _phrased(text)


def _boxed(text: str) -> str | None:
    """Returns the content of the last complete box that holds more than another box; with those
    of the boxes before it that only a comma, "and" or "or" parts from it, as a list."""
    # One entry per open brace: where the box that it opens begins, and where the content does, -1
    # for other braces.
    opened: list[tuple[int, int]] = []
    innermost = -1  # where the last box began; one that began before it holds it, and is skipped
    answers: list[str] = []
    end = 0  # of the last box
    for token in _BOX_TOKEN.finditer(text):
        start, content = token.start(), ""
        if token["open"]:
            opened.append((start, token.end()))
        elif token["bare"]:
            content = token["bare"].rstrip(".,;:")
        elif token[0] == "{":
            opened.append((-1, -1))
        elif token[0] == "}" and opened:
            start, begin = opened.pop()
            content = text[begin : token.start()].strip() if start > innermost else ""
            innermost = max(innermost, start)
        if content:
            between = text[end:start] if start - end <= _BETWEEN_CHARS else ""
            if not _BETWEEN_BOXES.fullmatch(between):
                answers.clear()
            answers.append(content)
            innermost, end = start, token.end()
    return ", ".join(dict.fromkeys(answers)) or None


def unboxed(text: str) -> str:
    r"""Returns a text without `\boxed`; the braces stay, which keeps x^\boxed{12} one power."""
    return _BOX.sub("", text)


def hashed_answer(text: str) -> str | None:
    """Returns what follows `####` on the last line where anything does, or None."""
    for line in reversed(text.split("\n")):
        before, mark, answer = line.rpartition("####")
        # Five hashes are a heading.
        if mark and answer.strip() and not before.endswith("#"):
            return answer.strip()
    return None


def _lettered(text: str) -> str | None:
    """Returns X of the last line `A: X`."""
    for line in reversed(text.split("\n")):
        mark, answer = line.lstrip()[:2], line.lstrip()[2:].strip()
        if mark == "A:" and answer:
            return answer
    return None


def _phrased(text: str) -> str | None:
    """Returns X of the last "answer is X" or "answer: X", up to the end of its sentence or line."""
    for start in _behind_phrases(text):
        end = _SENTENCE_END.search(text, start)
        answer = text[start : end.start() if end else len(text)].strip(" \t\r*_")
        if answer:
            return answer
    return None


def _behind_phrases(text: str) -> Iterator[int]:
    """Yields where each "answer is" or "answer:" ends, from the last to the first; one that another
    one follows stated nothing."""
    for phrase in reversed(list(_PHRASE.finditer(text))):
        if not _PHRASE.match(text, phrase.end()):
            yield phrase.end()


def tagged_answer(text: str) -> str | None:
    """Returns what the last complete `<answer>…</answer>` that holds anything does, or None."""
    answer, begin = None, -1
    for tag in _TAG.finditer(text):
        if not tag[1]:
            begin = tag.end()
        elif begin >= 0:
            answer = text[begin : tag.start()].strip() or answer
            begin = -1
    return answer


def untagged(text: str) -> str:
    """Returns a text without the tags of its answers."""
    return _TAG.sub("", text)


def stated_letter(text: str) -> str | None:
    """Returns the choice letter, a capital, that a conclusion states, or None.

    The last one behind "answer is" or "answer:" counts first; then a conclusion that is a letter,
    or begins with one as "B) 12" does; then the last one in brackets; then one that ends it.
    """
    behind = (_CHOICE.match(text, start) for start in _behind_phrases(text))
    found = (
        next(filter(None, behind), None)
        or _LETTER_ALONE.fullmatch(text)
        or _OPTION.match(text)
        or next(reversed(list(_BRACKETED.finditer(text))), None)
        or _LAST_WORD.search(text)
    )
    return found["letter"].upper() if found else None


def last_number(text: str) -> str | None:
    """Returns the last number of a text as it is written, or None: 1,234.5, -3/4, 1e-5 or 20%."""
    numbers = _NUMBER.findall(text)
    return numbers[-1] if numbers else None
