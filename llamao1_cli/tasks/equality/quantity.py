"""A number with what is said of it: its units, and words such as `profit` or `east`."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from llamao1_cli.tasks.equality.numbers import NUMBER, Number, read_number
from llamao1_cli.tasks.equality.units import Power, Unit, readings, scales, unit_powers
from llamao1_cli.tasks.equality.words import (
    CHANGING,
    COMPASS,
    MULTIPLIERS,
    OPENING,
    SENSES,
    SHORT_WORDS,
    Sense,
    contradict,
)

_TOKEN = re.compile(
    r" *+(?:(?P<word>per cent|° ?[CF]\b|°|[A-Za-z]+(?:\.[A-Za-z]+)*+\.?)|(?P<percent>%)"
    r"|(?P<slash>/)|\^ ?(?:\{ ?(?P<power>-?[0-9]) ?\}|(?P<power1>-?[0-9]))|(?P<digit>[23])"
    r"|(?P<mark>[()\[\],-]|\\cdot(?![A-Za-z])))"
)
_PERCENT = frozenset(["percent", "percentage", "pct"])
_EXPONENTS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_RAISED = {"squared": 2, "cubed": 3}
_PER = frozenset(["per", "a", "an", "each", "every"])
_NUMBER_START = re.compile(r"(?<![0-9.,^/A-Za-z])[0-9]")
# The dot that ends a word, as in "Rs.250", is no decimal point.
_START = re.compile(r"[-+]? ?(?:[0-9]|(?<![A-Za-z])\.[0-9]|\\frac)")
_SCALE = re.compile(r"(?:°|\bdegrees?\b) ?(celsius|fahrenheit|[CF]\b)", re.IGNORECASE)
_HYPHEN = re.compile(r"(?<=[A-Za-z])-(?=[A-Za-z])")
_MOST_UNITS = 4  # as in a force times a distance
_BRACKETED = re.compile(r"[(\[](?P<words>[A-Za-z°%/^ .0-9]*+)[)\]]$")


@dataclass(frozen=True)
class Description:
    """What the words beside a number say."""

    units: tuple[Unit, ...] = ()  # all that they may mean; empty where no unit is named
    senses: frozenset[Sense] = frozenset()
    nouns: frozenset[str] = frozenset()  # what is counted
    percent: bool = False
    multiplier: int = 1

    def contradicts(self, other: "Description") -> bool:
        """Returns whether a sense or the units of two descriptions exclude each other."""
        clash = self.units and other.units and not self.scales(other)
        return bool(clash) or contradict(self.senses, other.senses)

    def scales(self, other: "Description") -> list[tuple[Fraction, Fraction]]:
        """Returns the pairs of factors that bring both to one unit, in every reading."""
        if not (self.units and other.units):
            return [(Fraction(1), Fraction(1))]
        found = [scales(left, right) for left in self.units for right in other.units]
        return [pair for pair in found if pair]


@dataclass(frozen=True)
class Quantity:
    """A plain number and its description."""

    number: Number
    description: Description

    def equals(self, other: "Quantity") -> bool:
        """Returns whether both are the same quantity; what only one of them names is forgiven.

        "50%" is 50 where the question asks for per cent, and else 0.5.
        """
        left, right = self.description, other.description
        if left.contradicts(right):
            return False
        pairs = left.scales(right)
        if left.percent != right.percent:
            hundredth = Fraction(1, 100)
            pairs += [
                (one * hundredth, two) if left.percent else (one, two * hundredth)
                for one, two in pairs
            ]
        return any(self.number.times(one).equals(other.number.times(two)) for one, two in pairs)


def read_quantity(form: str) -> Quantity | None:
    """Returns the quantity that an unboxed normal form is, or None."""
    found = _first_number(form)
    if not found:
        return None
    number, opening, rest = found
    before, after = _opening(opening), describe(rest)
    if before is None or after is None:
        return None
    description = replace(
        after,
        units=_joined(before.units, after.units),
        senses=before.senses | after.senses,
        percent=before.percent or after.percent,
    )
    return Quantity(number.times(Fraction(after.multiplier)), description)


def _first_number(form: str) -> tuple[Number, str, str] | None:
    """Returns the first number with the words before it and what stands behind it."""
    start = _START.search(form)
    match = NUMBER.match(form, start.start()) if start else None
    number = read_number(match) if match else None
    if not match or number is None:
        return None
    rest = form[match.end() :]
    # A letter that touches the number is a variable, and so are letters that name no unit.
    touching = re.match(r"[A-Za-z]+", rest)
    if touching and (len(touching[0]) == 1 or not _is_known(touching[0])):
        return None
    return number, form[: match.start()], rest


def _is_known(word: str) -> bool:
    lower = word.lower()
    return bool(unit_powers(word)) or lower in SENSES or lower in _PERCENT or lower in MULTIPLIERS


def _joined(before: tuple[Unit, ...], after: tuple[Unit, ...]) -> tuple[Unit, ...]:
    """Returns the units of `$5 per day`, whose money stands before the number."""
    if not (before and after):
        return before or after
    return tuple(
        replace(rate, money=money.money, money_size=money.money_size) if not rate.money else rate
        for money in before
        for rate in after
    )


def _opening(text: str) -> Description | None:
    """Returns what the words before a number say; None if they are no such words."""
    powers: list[Power] = []
    senses: frozenset[Sense] = frozenset()
    for raw in text.split():
        word = raw.replace(".", "").rstrip(":").lower()
        if word in SENSES:
            senses |= SENSES[word]
        elif (units := unit_powers(word)) and len(word) > 1 and not powers:
            powers += units
        elif word not in OPENING:
            return None
    return Description(readings(powers), senses)


def describe(text: str) -> Description | None:
    """Returns what the text behind a number says of it; None if it is more than words."""
    bracketed = _BRACKETED.search(text)
    if bracketed:
        text = f"{text[: bracketed.start()]} {bracketed['words']}"
    tokens, end = [], 0
    text = _SCALE.sub(lambda scale: f"°{scale[1][0]}", _HYPHEN.sub("", text)).rstrip()
    while end < len(text):
        token = _TOKEN.match(text, end)
        if not token:
            return None
        tokens.append(token)
        end = token.end()
    return _Reader().read(tokens)


class _Reader:
    """Reads the words behind a number one by one."""

    def __init__(self) -> None:
        self._powers: list[Power] = []
        self._senses: frozenset[Sense] = frozenset()
        self._nouns: frozenset[str] = frozenset()
        self._percent = False
        self._multiplier = 1
        self._sign, self._exponent = 1, 1  # of the next unit
        self._after_unit = False

    def read(self, tokens: list[re.Match[str]]) -> Description | None:
        """Returns what the words and marks say together; None if one of them cannot be read."""
        for index, token in enumerate(tokens):
            last = index + 1 == len(tokens) or not tokens[index + 1]["word"]
            known = self._word(token["word"], last) if token["word"] else self._mark(token)
            if not known:
                return None
        units = readings(self._powers)
        return Description(units, self._senses, self._nouns, self._percent, self._multiplier)

    def _mark(self, token: re.Match[str]) -> bool:
        """Take in what is no word; returns whether it can be read."""
        power = token["power"] or token["power1"] or token["digit"]
        if token["percent"]:
            self._percent = True
        elif token["slash"]:
            self._sign = -1
        elif power:
            if not self._after_unit:
                return False
            self._raise(int(power))
        else:
            return token["mark"].startswith("\\") and bool(self._powers)
        self._after_unit = False
        return True

    def _raise(self, exponent: int) -> None:
        name, power = self._powers[-1]
        self._powers[-1] = (name, power * exponent)

    def _word(self, word: str, last: bool) -> bool:
        """Take in a word; returns whether it can be read."""
        plain = word.replace(".", "").replace(" ", "")
        lower = plain.lower()
        after_unit, self._after_unit = self._after_unit, False
        if lower in _PERCENT:
            self._percent = True
        elif lower in _RAISED and after_unit:
            self._raise(_RAISED[lower])
        elif lower in CHANGING:
            return False
        elif lower.removesuffix("s") in MULTIPLIERS and not self._powers:
            self._multiplier *= MULTIPLIERS[lower.removesuffix("s")]
        elif lower in _EXPONENTS:
            self._exponent = _EXPONENTS[lower]
        elif lower in _PER:
            self._sign = -1
        else:
            return self._noun(plain, last)
        return True

    def _noun(self, word: str, last: bool) -> bool:
        """Take in a unit, a word with a sense, or the name of what is counted."""
        # N is the north behind what is counted, as in "5 km N", and else the newton.
        is_point = word in COMPASS and (len(word) > 1 or self._powers or self._nouns)
        named = COMPASS[word] if is_point else word.lower()
        # "In" is an inch at the end, and elsewhere the word.
        units = unit_powers(word) if last or word != "in" else None
        if named in SENSES:
            self._senses |= SENSES[named]
        elif units:
            self._powers += [(name, n * self._sign * self._exponent) for name, n in units]
            self._after_unit = True
            if len(self._powers) > _MOST_UNITS:
                return False
        elif len(word) > 2:
            self._nouns |= {word.lower().removesuffix("s")}
        elif word.lower() not in SHORT_WORDS:
            return False  # variables
        self._sign = self._exponent = 1
        return True


def count_different_things(left: Quantity, right: Quantity) -> bool:
    """Returns whether both say what they count, and not the same: it tells the items of a list
    apart, while a whole answer may name it as it likes."""
    one, two = left.description.nouns, right.description.nouns
    return bool(one and two and not one & two)


def read_compound(form: str) -> Quantity | None:
    """Returns the sum that `2 hours and 30 minutes` is, in the first unit, or None."""
    starts = [match.start() for match in _NUMBER_START.finditer(form)]
    if not 2 <= len(starts) <= 4 or starts[0]:
        return None
    parts = [form[a:b] for a, b in pairwise([*starts, len(form)])]
    read = [read_quantity(re.sub(r",? *(?:and)? *$", "", part)) for part in parts]
    quantities = [quantity for quantity in read if quantity and quantity.description.units]
    if len(quantities) < len(parts):
        return None
    total = quantities[0].number
    for larger, smaller in pairwise(quantities):
        pairs = smaller.description.scales(quantities[0].description)
        steps = smaller.description.scales(larger.description)
        if not pairs or not steps or steps[0][0] >= steps[0][1]:
            return None  # "5 feet by 6 feet" and "3 hours or 5 hours" are no sums
        value = smaller.number.value * pairs[0][0] / pairs[0][1]
        total = Number(total.value + value, total.exact and smaller.number.exact)
    return Quantity(total, quantities[0].description)
