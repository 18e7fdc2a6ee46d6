"""Units: what each measures, and how many of the base unit it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

# Symbols, which keep their case, and names, both with the prefixes: the dimension of each.
_METRIC = {
    "length": "m metre meter",
    "mass": "g gram gramme",
    "time": "s second",
    "litre": "l L litre liter",
    "force": "N newton",
    "energy": "J joule",
    "power": "W watt",
    "voltage": "V volt",
    "current": "A ampere amp",
    "pressure": "Pa pascal",
    "frequency": "Hz hertz",
    "bytes": "B byte",
}
_PREFIXES = {
    "k kilo": "1e3",
    "M mega": "1e6",
    "G giga": "1e9",
    "T tera": "1e12",
    "d deci": "0.1",
    "c centi": "0.01",
    "m milli": "1e-3",
    "n nano": "1e-9",
}
# By dimension, the names of other units (plurals in s are understood) and the size of each.
_TABLE: dict[str, dict[str, str]] = {
    "length": {
        "in inch inches": "0.0254",
        "ft foot feet": "0.3048",
        "yd yard": "0.9144",
        "mi mile": "1609.344",
        "mtr": "1",
    },
    "mass": {
        "gm": "1",
        "kilo": "1000",
        "t tonne": "1e6",
        "ton": "907184.74",
        "lb pound": "453.59237",
        "oz ounce": "28.349523125",
    },
    "time": {
        "sec": "1",
        "min minute": "60",
        "h hour hr": "3600",
        "day": "86400",
        "week wk": "604800",
        "fortnight": "1209600",
    },
    "calendar": {"year yr": "12", "month mo": "1", "decade": "120", "century centuries": "1200"},
    "litre": {"gal gallon": "3.785411784", "quart": "0.946352946", "pint": "0.473176473"},
    "angle": {"degree deg °": "1"},
    "radian": {"radian rad": "1"},
    "celsius": {"°c degree ° celsius centigrade": "1"},
    "fahrenheit": {"°f degree ° fahrenheit": "1"},
    "kelvin": {"K kelvin": "1"},
    "energy": {"kwh": "3.6e6"},
    "$USD": {"usd dollar dollars buck": "1", "cent penny pennies": "0.01"},
    "$EUR": {"eur euro": "1", "cent": "0.01"},
    "$GBP": {"gbp pound sterling quid": "1", "pence penny pennies": "0.01"},
    "$INR": {"inr rs re rupee": "1", "paise paisa": "0.01"},
    "$JPY": {"jpy yen": "1"},
    "$CNY": {"cny rmb yuan": "1"},
    "$KRW": {"krw": "1"},
    "$RUB": {"rub rouble ruble": "1"},
    "$MXN": {"mxn peso": "1"},
}
_COMPOUND = {
    "mph": ("mile", "hour"),
    "kmph": ("km", "hour"),
    "kmh": ("km", "hour"),
    "kph": ("km", "hour"),
    "mps": ("m", "s"),
}
_CUBIC_CENTIMETRE = ("cc", "ccm")
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
Reading = tuple[str, int, Fraction]  # a dimension, its exponent, and a size
Power = tuple[str, int]  # the name of a unit, and its exponent


@dataclass(frozen=True)
class Unit:
    """Money and measure of a unit, apart: `$18 per day` may be compared with `18 dollars`."""

    money: Dimensions
    money_size: Fraction
    measure: Dimensions
    measure_size: Fraction


def _readings() -> dict[str, list[Reading]]:
    """Returns by name what it may mean: `degree` is of an angle or of a temperature."""
    found: dict[str, list[Reading]] = {}

    def add(names: str, dimension: str, size: Fraction) -> None:
        reading = (dimension, 1, size)
        if dimension == "litre":
            reading = ("length", 3, size / _LITRES_IN_CUBIC_METRE)
        for name in names.split():
            found.setdefault(name, []).append(reading)

    for dimension, metric in _METRIC.items():
        add(metric, dimension, Fraction(1))
        symbol, *full = metric.split()
        for prefix, size in _PREFIXES.items():
            short, long = prefix.split()
            forms = [short + symbol, *(long + name for name in full)]
            add(" ".join(forms), dimension, Fraction(size))
    for dimension, units in _TABLE.items():
        for names, size in units.items():
            add(names, dimension, Fraction(size))
    for name, size in _AREAS.items():
        found[name] = [("length", 2, Fraction(size))]
    for name in _CUBIC_CENTIMETRE:
        found[name] = [("length", 3, Fraction(1, 10**6))]
    return found


_READINGS = _readings()


def unit_powers(word: str) -> list[Power] | None:
    """Returns the units in a word, such as `km`, `Hours` or `mph`, as powers; None for no unit."""
    lower = word.lower()
    # A symbol of one letter keeps its case: "S" is no second and "T" no tonne.
    names = (word, lower, lower.removesuffix("s")) if len(word) > 1 else (word,)
    for name in names:
        if name in _COMPOUND:
            above, below = _COMPOUND[name]
            return [(above, 1), (below, -1)]
        if name in _READINGS:
            return [(name, 1)]
    return None


def readings(powers: Iterable[Power]) -> tuple[Unit, ...]:
    """Returns what a product of units may mean: `pounds` are a mass or money."""
    choices = [[(reading, n) for reading in _READINGS[name]] for name, n in powers]
    return tuple(dict.fromkeys(map(_unit, product(*choices)))) if choices else ()


def _unit(parts: Iterable[tuple[Reading, int]]) -> Unit:
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
