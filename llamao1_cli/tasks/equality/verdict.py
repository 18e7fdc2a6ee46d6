"""Whether two answers are equal, as far as it can be told without mathematics."""

import re
from collections.abc import Callable

from llamao1_cli.tasks.equality.formulas import latex, split_formula, union
from llamao1_cli.tasks.equality.lists import items, named, same_items, values
from llamao1_cli.tasks.equality.moments import read_date, read_time
from llamao1_cli.tasks.equality.normal_form import (
    MAX_ANSWER_CHARS,
    normal_form,
    unboxed,
    without_idle_spaces,
)
from llamao1_cli.tasks.equality.quantity import count_different_things, read_compound, read_quantity
from llamao1_cli.tasks.equality.texts import read_choice, same_text, synonym, text_key

Pair = tuple[str, str]
Rule = Callable[[str, str], bool | None]  # None: the rule does not apply

_PLAIN = re.compile(r"0|-?[1-9][0-9]{0,17}")
_IN_BASE = re.compile(r"(?P<digits>[0-9A-F]+) ?_ ?(?:\{ ?)?(?P<base>[0-9]+|[a-z]+)(?: ?\})?")
_BASES = {
    name: str(base)
    for base, name in enumerate(
        (
            *("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
            *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"),
        ),
        start=2,
    )
}
_MOST_ITEMS = 40
_MOST_NARROWINGS = 3  # a choice letter, then a name; the last round only compares


def verdict(predicted: str, reference: str) -> bool | Pair:
    """Returns whether two answers are equal, or the two formulas that only mathematics can
    compare."""
    if _PLAIN.fullmatch(predicted) and _PLAIN.fullmatch(reference):
        return predicted == reference
    left, right = normal_form(predicted), normal_form(reference)
    if not left or not right:
        return False
    if max(len(left), len(right)) > MAX_ANSWER_CHARS:
        return left == right
    return _verdict(left, right)


def _verdict(left: str, right: str) -> bool | Pair:
    one, two = synonym(unboxed(left)), synonym(unboxed(right))
    for _ in range(_MOST_NARROWINGS):
        if without_idle_spaces(one) == without_idle_spaces(two):
            return True
        narrowed = _narrowed(one, two)
        if not narrowed:
            break
        one, two = left, right = narrowed
    known = _first(one, two, (_choices, *_WRITTEN[:-1], _lists, _texts))
    if known is not None:
        return known
    first, second = split_formula(left), split_formula(right)
    scales = first.description.scales(second.description)
    if first.description.contradicts(second.description) or all(a != b for a, b in scales):
        return False
    pair = latex(union(one) or first.core), latex(union(two) or second.core)
    return True if pair[0] == pair[1] else pair


def _first(one: str, two: str, rules: tuple[Rule, ...]) -> bool | None:
    """Returns the verdict of the first rule that both answers fall under, None if none does."""
    verdicts = (rule(one, two) for rule in rules)
    return next((known for known in verdicts if known is not None), None)


def _choices(one: str, two: str) -> bool | None:
    """The letter decides, unless both have a text and these differ."""
    left, right = read_choice(one), read_choice(two)
    if not left or not right:
        return None
    texts = left[1], right[1]
    return left[0] == right[0] and not (all(texts) and _first(*texts, _WRITTEN) is False)


def _times(one: str, two: str) -> bool | None:
    """Times of day, where at least one says which half; else `3:30` may be a ratio."""
    left, right = read_time(one), read_time(two)
    if not left or not right or not (left.definite or right.definite):
        return None
    return bool(left.seconds & right.seconds)


def _dates(one: str, two: str) -> bool | None:
    left, right = read_date(one), read_date(two)
    return left.equals(right) if left and right else None


def _in_bases(one: str, two: str) -> bool | None:
    """Numbers with their base, which mathematics libraries drop."""
    left, right = _IN_BASE.fullmatch(one), _IN_BASE.fullmatch(two)
    if not left or not right:
        return None
    bases = [_BASES.get(match["base"], match["base"]) for match in (left, right)]
    return left["digits"] == right["digits"] and bases[0] == bases[1]


def _quantities(one: str, two: str) -> bool | None:
    left = read_quantity(one) or read_compound(one)
    right = left and (read_quantity(two) or read_compound(two))
    return left.equals(right) if left and right else None


def _texts(one: str, two: str) -> bool | None:
    if (known := same_text(one, two)) is not None:
        return known
    for text, other in ((one, two), (two, one)):
        if text_key(text) and read_quantity(other):
            return False
    return None


_WRITTEN: tuple[Rule, ...] = (_times, _dates, _in_bases, _quantities, _texts)


def _lists(one: str, two: str) -> bool | None:
    """Items in any order; names may be repeated, as in a set."""
    left, right = items(one), items(two)
    if not 1 < max(len(left), len(right)) <= _MOST_ITEMS:
        return None
    keys = [
        [text_key(item) or (item if item.isalpha() else None) for item in each]
        for each in (left, right)
    ]
    if all(key is not None for each in keys for key in each):
        return {*keys[0]} == {*keys[1]}
    return same_items(left, right, _same_item)


def _same_item(one: str, two: str) -> bool | None:
    left, right = read_quantity(one), read_quantity(two)
    if left and right and count_different_things(left, right):
        return False
    return True if one == two else _first(one, two, (_choices, *_WRITTEN))


def _narrowed(one: str, two: str) -> Pair | None:
    """Returns the pair without a name or a choice letter that only one of the answers has, or that
    both share; None if there is nothing to take off."""
    for left, right, turned in ((one, two, False), (two, one, True)):
        short = _without_name(left, right) or _without_letter(left, right)
        if short:
            return (short[1], short[0]) if turned else short
    return None


def _without_name(left: str, right: str) -> Pair | None:
    """Returns `5` for `x = 5`, and `(2, 3)` for `x = 2, y = 3`."""
    mine, other = named(left), named(right)
    if mine and other:
        return (mine[1], other[1]) if mine[0] == other[0] else None
    if "=" in right:
        return None
    if mine:
        return mine[1], right
    return (values(left), right) if values(left) != left else None


def _without_letter(left: str, right: str) -> Pair | None:
    """Returns `12` for `(C) 12`, where the other answer has no letter."""
    choice = read_choice(left)
    if choice and choice[1] and left[:2].strip("([").isupper() and not read_choice(right):
        return choice[1], right
    return None
