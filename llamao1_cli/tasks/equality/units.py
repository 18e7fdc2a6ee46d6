"""Units: what each measures, and how many of the base unit it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

# By dimension, the names of a unit (plurals in s are understood) and its size.
_TABLE: dict[str, dict[str, str]] = {
    "length": {
        "m metre meter mtr": "1",
        "km kilometre kilometer kms": "1000",
        "dm decimetre decimeter": "0.1",
        "cm centimetre centimeter cms": "0.01",
        "mm millimetre millimeter mms": "0.001",
        "in inch inches": "0.0254",
        "ft foot feet": "0.3048",
        "yd yard": "0.9144",
        "mi mile": "1609.344",
    },
    "mass": {
        "kg kilogram kilo kgs": "1",
        "g gram gm gms": "0.001",
        "mg milligram": "0.000001",
        "t tonne": "1000",
        "ton": "907.18474",
        "lb pound lbs": "0.45359237",
        "oz ounce": "0.028349523125",
    },
    "time": {
        "s second sec": "1",
        "ms millisecond": "0.001",
        "min minute": "60",
        "h hour hr": "3600",
        "day": "86400",
        "week wk": "604800",
        "fortnight": "1209600",
    },
    "calendar": {"year yr": "12", "month mo": "1", "decade": "120", "century centuries": "1200"},
    "litre": {
        "l litre liter": "1",
        "ml millilitre milliliter mls": "0.001",
        "cl centilitre centiliter": "0.01",
        "gal gallon": "3.785411784",
        "quart": "0.946352946",
        "pint": "0.473176473",
    },
    "angle": {"degree deg °": "1"},
    "radian": {"radian rad": "1"},
    "celsius": {"°c celsius centigrade": "1"},
    "fahrenheit": {"°f fahrenheit": "1"},
    "kelvin": {"kelvin": "1"},
    "force": {"newton": "1"},
    "energy": {"joule": "1", "kj kilojoule": "1000", "kwh": "3600000"},
    "power": {"watt": "1", "kw kilowatt": "1000"},
    "voltage": {"volt": "1"},
    "current": {"ampere amp": "1"},
    "bytes": {"byte": "1", "kb kilobyte": "1000", "mb megabyte": "1000000", "gb gigabyte": "1e9"},
    "$USD": {"usd dollar dollars buck": "1", "cent penny pennies": "0.01"},
    "$EUR": {"eur euro": "1", "cent": "0.01"},
    "$GBP": {"gbp pound sterling quid": "1", "pence penny pennies": "0.01"},
    "$INR": {"inr rs re rupee": "1", "paise paisa": "0.01"},
    "$JPY": {"jpy yen": "1"},
    "$CNY": {"cny rmb yuan": "1"},
    "$KRW": {"krw": "1"},
    "$RUB": {"rub rouble ruble": "1"},
}
_COMPOUND = {
    "mph": ("mile", "hour"),
    "kmph": ("km", "hour"),
    "kmh": ("km", "hour"),
    "kph": ("km", "hour"),
    "mps": ("m", "s"),
}
_VOLUMES = {"cc": "cm", "ccm": "cm"}  # cubes of a length
_AREAS = {"hectare": "10000", "ha": "10000", "acre": "4046.8564224"}
_LITRES_IN_CUBIC_METRE = 1000
CURRENCY_SIGNS = {
    "$": "USD",
    "€": "EUR",
    "£": "GBP",
    "¥": "JPY",
    "₹": "INR",
    "₩": "KRW",
    "₽": "RUB",
    "¢": "cents",
}

Dimensions = tuple[tuple[str, int], ...]
Power = tuple[str, int]  # the name of a unit, and its exponent


@dataclass(frozen=True)
class Unit:
    """Money and measure of a unit, apart: `$18 per day` may be compared with `18 dollars`."""

    money: Dimensions
    money_size: Fraction
    measure: Dimensions
    measure_size: Fraction


def _readings() -> dict[str, list[tuple[str, int, Fraction]]]:
    """Returns by name what it may mean: a dimension, its exponent, and a size."""
    found: dict[str, list[tuple[str, int, Fraction]]] = {}
    for dimension, units in _TABLE.items():
        for names, size in units.items():
            for name in names.split():
                reading = (dimension, 1, Fraction(size))
                if dimension == "litre":
                    reading = ("length", 3, Fraction(size) / _LITRES_IN_CUBIC_METRE)
                found.setdefault(name, []).append(reading)
    for name, size in _AREAS.items():
        found[name] = [("length", 2, Fraction(size))]
    for name, edge in _VOLUMES.items():
        found[name] = [("length", 3, found[edge][0][2] ** 3)]
    # "Degrees" may be of an angle or of a temperature, whose scale is not named.
    found["degree"] += found["°c"] + found["°f"]
    found["°"] += found["°c"] + found["°f"]
    return found


_READINGS = _readings()


def unit_powers(word: str) -> list[Power] | None:
    """Returns the units in a word, such as `km`, `Hours` or `mph`, as powers; None for no unit."""
    lower = word.lower()
    for name in (lower, lower.removesuffix("s")):
        if name in _COMPOUND:
            above, below = _COMPOUND[name]
            return [(above, 1), (below, -1)]
        # "S" is no second and "T" no tonne; a litre is written both ways.
        if name in _READINGS and (len(word) > 1 or word.islower() or word in "L°"):
            return [(name, 1)]
    return None


def readings(powers: Iterable[Power]) -> tuple[Unit, ...]:
    """Returns what a product of units may mean: `pounds` are a mass or money."""
    choices = [[(reading, n) for reading in _READINGS[name]] for name, n in powers]
    return tuple(dict.fromkeys(map(_unit, product(*choices)))) if choices else ()


def _unit(parts: Iterable[tuple[tuple[str, int, Fraction], int]]) -> Unit:
    totals: dict[str, int] = {}
    money = measure = Fraction(1)
    for (dimension, exponent, size), n in parts:
        totals[dimension] = totals.get(dimension, 0) + exponent * n
        if dimension.startswith("$"):
            money *= size**n
        else:
            measure *= size**n
    named = sorted((dimension, n) for dimension, n in totals.items() if n)
    return Unit(
        tuple(pair for pair in named if pair[0].startswith("$")),
        money,
        tuple(pair for pair in named if not pair[0].startswith("$")),
        measure,
    )


def scales(left: Unit, right: Unit) -> tuple[Fraction, Fraction] | None:
    """Returns the factors that bring two quantities to one unit; None where the units contradict.

    What only one of them names is forgiven.
    """
    one = other = Fraction(1)
    if left.money and right.money:
        one, other = one * left.money_size, other * right.money_size
    if left.measure and right.measure:
        one, other = one * left.measure_size, other * right.measure_size
    return None if _clash(left, right) or _clash(right, left) else (one, other)


def _clash(left: Unit, right: Unit) -> bool:
    """Returns whether both name money, or both a measure, and not the same, or the left one names
    only money and the right one only a measure."""
    return bool(
        (left.money and right.money and left.money != right.money)
        or (left.measure and right.measure and left.measure != right.measure)
        or (left.money and not left.measure and right.measure and not right.money)
    )
