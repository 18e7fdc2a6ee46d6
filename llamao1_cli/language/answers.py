r"""Final answers in text: finding the one that is stated, in time linear in the text."""

import re

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


def stated_answer(text: str) -> str | None:
    r"""Returns the final answer that a text states, stripped but not normalised, or None.

    The last complete non-empty ``\boxed{...}`` counts first, or the boxes of one list together, as
    in ``\boxed{3} and \boxed{5}``; then the last ``#### X``, then the last line ``A: X``, then the
    last "the answer is X" or "answer: X".
    """
    return _boxed(text) or _hashed(text) or _lettered(text) or _phrased(text)


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


def _hashed(text: str) -> str | None:
    """Returns what follows `####` on the last line where anything does."""
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
    for phrase in reversed(list(_PHRASE.finditer(text))):
        if _PHRASE.match(text, phrase.end()):
            continue  # followed by another one, which stated nothing
        end = _SENTENCE_END.search(text, phrase.end())
        answer = text[phrase.end() : end.start() if end else len(text)].strip(" \t\r*_")
        if answer:
            return answer
    return None
