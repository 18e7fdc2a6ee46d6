"""Plain numbers, read exactly."""

import re
from dataclasses import dataclass
from fractions import Fraction

_SIGN = r"(?P<sign>[-+]?+) ?"
_FRAC = (
    r"\\frac ?(?:\{ ?(?P<above>[-+]?[0-9]++) ?\}|(?P<above1>[0-9]))"
    r" ?(?:\{ ?(?P<below>[-+]?[0-9]++) ?\}|(?P<below1>[0-9]))"
)
_SLASH = r"(?P<top>[0-9]++) ?/ ?(?P<bottom>[-+]?[0-9]++)"
_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3})++|[0-9]{1,3}(?: [0-9]{3})++"
# Alternatives go from the longest reading to the shortest: "1 1/2" is no 1, "1/2" is no 1.
NUMBER = re.compile(
    _SIGN
    + rf"(?:(?:(?P<whole>[0-9]++)(?: |(?=\\frac)))?+(?:{_FRAC}|{_SLASH})"
    + r"|(?P<begin>[0-9]*+)\.(?P<fixed>[0-9]*+) ?\\(?:overline|bar) ?\{?(?P<cycle>[0-9]++)\}?"
    + r"|10 ?\^ ?(?:\{ ?(?P<ten>[-+]?[0-9]{1,3}+) ?\}|(?P<ten1>-?[0-9]{1,3}+))"
    + rf"|(?P<digits>(?:(?:{_GROUPED})(?![0-9])|[0-9]++)(?:\.[0-9]*+)?|\.[0-9]++)"
    + r"(?:[eE](?P<e>[-+]?[0-9]{1,3}+)(?![0-9A-Za-z])"
    + r"| ?(?:x|\*|\\times|\\cdot) ?10 ?\^ ?"
    + r"(?:[{(] ?(?P<power>[-+]?[0-9]{1,3}+) ?[})]|(?P<power1>[-+]?[0-9]{1,3}+)))?+)"
)
# Where a decimal stands for a fraction, it has been rounded at this place.
_RELATIVE_ERROR = Fraction(1, 10**9)


@dataclass(frozen=True)
class Number:
    """A value, and whether it was written exactly: without a decimal point."""

    value: Fraction
    exact: bool

    def times(self, factor: Fraction) -> "Number":
        """Returns the number multiplied by an exact factor."""
        return Number(self.value * factor, self.exact)

    def equals(self, other: "Number") -> bool:
        """Returns whether the values are equal; decimals, up to their rounding."""
        if self.exact and other.exact:
            return self.value == other.value
        size = max(abs(self.value), abs(other.value))
        return abs(self.value - other.value) <= _RELATIVE_ERROR * size


def read_number(match: re.Match[str]) -> Number | None:
    """Returns the number that NUMBER matched, or None for a division by zero."""
    part = {name: text for name, text in match.groupdict().items() if text}
    exact = "." not in part.get("digits", "")
    try:
        value = _value(part)
    except ZeroDivisionError:
        return None
    return Number(-value if part.get("sign") == "-" else value, exact)


def _value(part: dict[str, str]) -> Fraction:
    if above := part.get("above") or part.get("above1"):
        return Fraction(part.get("whole", 0)) + Fraction(
            int(above), int(part.get("below") or part["below1"])
        )
    if "top" in part:
        return Fraction(part.get("whole", 0)) + Fraction(int(part["top"]), int(part["bottom"]))
    if "cycle" in part:
        fixed = part.get("fixed", "")
        period = Fraction(int(part["cycle"]), 10 ** len(part["cycle"]) - 1)
        return Fraction(f"{part.get('begin', 0)}.{fixed}0") + period / 10 ** len(fixed)
    if ten := part.get("ten") or part.get("ten1"):
        return Fraction(10) ** int(ten)
    digits = part["digits"].replace(",", "").replace(" ", "")
    power = part.get("e") or part.get("power") or part.get("power1") or "0"
    return Fraction(digits) * Fraction(10) ** int(power)
