r"""The fields of a row as text: numbers, lists and nested objects, and what is no value at all.

Rows come from anywhere: a field is looked up by its name and nothing else, and whatever is no text,
number, truth value or list of these is refused with where it stands.
"""

import difflib
import math
import re
from decimal import Decimal
from typing import Any

from llamao1_cli.config.template import TemplateParts
from llamao1_cli.errors import UserError

Row = dict[str, Any]

_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can escape one, but no encoding can write it
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_EXACT = 10**16  # a float below it that is whole is written as one
_MISSING = ("nan", "NaN")  # how programs write a value that is not there; "Nan" is a name

_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}+")  # and no command of LaTeX
_NEXT_SENTENCE = re.compile(r"(?<![a-z])[a-z]{4,}+[.!?]\s++[A-Z]\w++ ")
_LONGEST_PLAIN = 20  # words


def text_field(row: Row, field: str, where: str) -> str:
    """Returns the text in a field of a row; numbers become text, 145.0 becomes 145.

    A dot in the name leads into a nested object; a field whose own name has the dot comes first.
    Raises UserError, naming `where`.
    """
    return _text(_value(row, field, where), field, where)


def answer_field(row: Row, field: str, where: str) -> str:
    """Returns the answer in a field: text or a number as `text_field` has it, `True` or `False`, or
    a list of these as `1, 2, 3`. Raises UserError, naming `where`."""
    value = _value(row, field, where)
    items = value if isinstance(value, list) else [value]
    return ", ".join(
        str(item) if isinstance(item, bool) else _text(item, field, where) for item in items
    )


def filled(parts: TemplateParts, row: Row, where: str) -> str:
    """Returns the text of a template over the fields of a row.

    A list becomes lettered lines, as the options of a choice are written. Raises UserError, naming
    `where`.
    """
    text = ""
    for literal, field in parts:
        text += literal
        if field is not None:
            value = _value(row, field, where)
            lettered = isinstance(value, list)
            text += (
                _options(value, field, where) if lettered else _text(value, field, where).strip()
            )
    return text


def is_rationale(answer: str) -> bool:
    """Returns whether a text is longer than a plain answer can be: it has several lines (unless a
    LaTeX environment has them), several sentences, or more than 20 words."""
    lines = [line for line in answer.splitlines() if line.strip()]
    several = len(lines) > 1 and "\\begin" not in answer
    wordy = len(_WORD.findall(answer)) > _LONGEST_PLAIN
    return several or wordy or _NEXT_SENTENCE.search(answer) is not None


def _value(row: Row, field: str, where: str) -> Any:
    try:
        return _looked_up(row, field)
    except KeyError:
        known = _names(row)
        close = difflib.get_close_matches(field, known, n=1)
        hint = f"; did you mean `{close[0]}`?" if close else ""
        raise UserError(
            f"{where}: field `{field}` is missing; it has "
            f"{', '.join(known)[:500] or 'nothing'}{hint}"
        ) from None


def _looked_up(row: Row, field: str) -> Any:
    if field in row:
        return row[field]
    parts = field.split(".")
    for count in range(len(parts) - 1, 0, -1):
        inner = row.get(".".join(parts[:count]))
        if isinstance(inner, dict):
            return _looked_up(inner, ".".join(parts[count:]))
    raise KeyError(field)


def _names(row: Row) -> list[str]:
    """Returns the names that a row has, each nested one behind its object."""
    names: list[str] = []
    for name, value in list(row.items())[:100]:
        inner = list(value)[:100] if isinstance(value, dict) else []
        names += [name, *(f"{name}.{each}" for each in inner)]
    return names


def _text(value: Any, field: str, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise UserError(f"{where}: field `{field}` must be text or a number, not {value!r:.60}")
    text = value if isinstance(value, str) else _number(value)
    if text is None or text.strip() in _MISSING:
        raise UserError(
            f"{where}: field `{field}` holds {value!r:.60}, which is no value; fill it in, or drop "
            "the row"
        )
    if _SURROGATE.search(text):
        raise UserError(f"{where}: field `{field}` holds half a character (\\ud800 to \\udfff)")
    return text


def _number(value: float | Decimal) -> str | None:
    """Returns a number as people write it, or None if it is not finite."""
    if not math.isfinite(value):
        return None
    whole = -_EXACT < value < _EXACT and value == int(value)
    return str(int(value)) if whole else str(value)


def _options(options: list[Any], field: str, where: str) -> str:
    """Returns a line for each option, behind its letter in brackets; letters that all of them bring
    along are written alike."""
    if len(options) > len(_LETTERS):
        raise UserError(
            f"{where}: field `{field}` lists {len(options)} options; there are letters for "
            f"{len(_LETTERS)}"
        )
    texts = [_text(option, field, where).strip() for option in options]
    own = [
        re.match(rf"\(?{letter}[).:]\s*", text)
        for letter, text in zip(_LETTERS, texts, strict=False)
    ]
    if all(own):
        texts = [text[each.end() :] for each, text in zip(own, texts, strict=True) if each]
    return "\n".join(f"({letter}) {text}" for letter, text in zip(_LETTERS, texts, strict=False))
