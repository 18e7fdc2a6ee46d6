"""Times of day and dates, in the ways people write them."""

import re
from dataclasses import dataclass

_HALF = r"(?P<half>[ap]\.? ?m\b\.?|noon|midnight|o'?clock|in the (?:morning|afternoon|evening))"
_TIME = re.compile(
    rf"(?:at )?(?P<hour>[0-9]{{1,2}})(?:[:.](?P<minute>[0-5][0-9]))?(?::(?P<second>[0-5][0-9]))?"
    rf" ?(?:{_HALF})?(?: (?:sharp|exactly))?",
    re.IGNORECASE,
)
_NAMED_HOURS = {"noon": "12 pm", "midday": "12 pm", "midnight": "12 am"}
_DAY_S, _HALF_DAY_S = 86400, 43200
MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NUMBERED = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})")
_ERAS = {"ad": "ad", "ce": "ad", "bc": "bc", "bce": "bc"}


@dataclass(frozen=True)
class Time:
    """The seconds of the day that a text may mean, and whether it says that it is one."""

    seconds: frozenset[int]
    definite: bool


@dataclass(frozen=True)
class Date:
    """A date; a part that is not named is None."""

    month: int
    day: int | None = None
    year: int | None = None
    weekday: int | None = None
    era: str | None = None

    def equals(self, other: "Date") -> bool:
        """Returns whether both are the same day; year, weekday and era are forgiven where only one
        of them is named."""
        return (self.month, self.day) == (other.month, other.day) and all(
            one is None or two is None or one == two
            for one, two in (
                (self.year, other.year),
                (self.weekday, other.weekday),
                (self.era, other.era),
            )
        )


def read_time(form: str) -> Time | None:
    """Returns the time that an unboxed normal form is, or None: a bare number is an hour."""
    match = _TIME.fullmatch(_NAMED_HOURS.get(form.lower(), form))
    if not match or int(match["hour"]) > 24:
        return None
    half, hour = _half(match["half"]), int(match["hour"])
    past = 60 * int(match["minute"] or 0) + int(match["second"] or 0)
    if half:
        seconds = {hour % 12 * 3600 + past + _HALF_DAY_S * (half == "p")}
    elif hour > 12 or match["hour"].startswith("0"):
        seconds = {(hour * 3600 + past) % _DAY_S}  # by 24 hours
    else:
        seconds = {(hour % 12 * 3600 + past) + shift for shift in (0, _HALF_DAY_S)}
    return Time(frozenset(seconds), match["half"] is not None)


def _half(words: str | None) -> str | None:
    """Returns a or p for what tells the half of the day."""
    if not words or words.lower().startswith("o"):
        return None
    last = words.lower().split()[-1]
    return {"noon": "p", "midnight": "a", "morning": "a", "afternoon": "p", "evening": "p"}.get(
        last, words[0].lower()
    )


def read_date(form: str) -> Date | None:
    """Returns the date that an unboxed normal form is, or None: it names a month, and a day or a
    year."""
    if numbered := _NUMBERED.fullmatch(form):
        return Date(int(numbered["month"]), int(numbered["day"]), int(numbered["year"]))
    parts: dict[str, int | str] = {}
    for word in re.findall(r"[A-Za-z]+|[0-9]+(?:st|nd|rd|th)?|[^ ,.-]", form.replace(".", "")):
        part = _date_part(word.lower(), parts)
        if part is None:
            return None
        parts |= part
    if "month" not in parts or not ("day" in parts or "year" in parts):
        return None
    return Date(**parts)  # type: ignore[arg-type]


def _date_part(word: str, known: dict[str, int | str]) -> dict[str, int | str] | None:
    """Returns the part of a date that a word is; None if it is none, or one that is known."""
    if word in ("the", "of", "on", "in"):
        return {}
    name, value = "", 0
    for kind, names in (("month", MONTHS), ("weekday", WEEKDAYS)):
        for index, full in enumerate(names, start=1):
            if word == full or (3 <= len(word) <= 5 and word.isalpha() and full.startswith(word)):
                name, value = kind, index
    if word in _ERAS and "era" not in known:
        return {"era": _ERAS[word]}
    if number := re.fullmatch(r"([0-9]{1,4})(?:st|nd|rd|th)?", word):
        value = int(number[1])
        name = "day" if 1 <= value <= 31 and "day" not in known else "year"
    return {name: value} if name and name not in known else None
