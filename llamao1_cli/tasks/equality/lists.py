"""Lists: answers of several items, and values with the names of variables."""

import re
from collections.abc import Callable

from llamao1_cli.tasks.equality.numbers import NUMBER

_SEPARATOR = re.compile(r" ?[,;] ?(?:\\text\{ ?)?(?:and |or )?\}? ?| (?:and|or) ")
_SPACED = re.compile(r" ?[,;] (?:and |or )?| (?:and|or) ")
_BRACES = ((r"\{", r"\}"), ("{", "}"))
_NAMED = re.compile(
    r"(?P<name>[A-Za-z]\w*|\\[a-z]+|[A-Za-z]\([a-z]\)|\([a-z](?:, ?[a-z])*\))"
    r" ?(?:=|\\in(?![A-Za-z])) ?(?P<value>[^=<>]+)"
)

Equal = Callable[[str, str], bool | None]


def items(form: str) -> list[str]:
    """Returns the items of an unboxed normal form: those of a list without brackets or of a set;
    one item if it is neither."""
    for opening, closing in _BRACES:
        if form.startswith(opening) and form.endswith(closing) and form.count(opening) == 1:
            form = form[len(opening) : -len(closing)].strip()
            break
    if NUMBER.fullmatch(form):
        return [form]
    # With a space behind the commas that divide, those without one belong to numbers.
    pattern = _SPACED if _SPACED.search(form) else _SEPARATOR
    parts, begin = [], 0
    for separator in pattern.finditer(form):
        if _depth(form[: separator.start()]) == 0:
            parts.append(form[begin : separator.start()].strip())
            begin = separator.end()
    return [*parts, form[begin:].strip()]


def _depth(text: str) -> int:
    return sum(text.count(mark) for mark in "([{") - sum(text.count(mark) for mark in ")]}")


def same_items(left: list[str], right: list[str], equal: Equal) -> bool | None:
    """Returns whether two lists have the same items in any order; None if an item is undecided."""
    if len(left) != len(right) or not all(left + right):
        return None
    table = [[equal(one, other) for other in right] for one in left]
    if _can_be_paired(table, (True,)):
        return True
    return None if _can_be_paired(table, (True, None)) else False


def _can_be_paired(table: list[list[bool | None]], accepted: tuple[bool | None, ...]) -> bool:
    """Returns whether every row can have a column of its own whose entry is accepted."""
    owners: dict[int, int] = {}  # by column, its row

    def place(row: int, tried: set[int]) -> bool:
        for column, entry in enumerate(table[row]):
            if entry in accepted and column not in tried:
                tried.add(column)
                if column not in owners or place(owners[column], tried):
                    owners[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(table)))


def named(item: str) -> tuple[str, str] | None:
    """Returns the name and the value of `x = 5`, or None."""
    match = _NAMED.fullmatch(item)
    return (match["name"], match["value"].strip()) if match else None


def values(form: str) -> str:
    """Returns `(2, 3)` for `y = 3, x = 2` and `2, 3` for `x = 2 or x = 3`; all else as it is."""
    pairs = [named(item) for item in items(form)]
    if len(pairs) < 2:
        return form
    known = [pair for pair in pairs if pair]
    if len(known) < len(pairs):
        return form
    names = {name for name, _ in known}
    if len(names) == 1:
        return ", ".join(value for _, value in known)
    if len(names) == len(known):
        return f"({', '.join(value for _, value in sorted(known))})"
    return form
