"""Formulas: the units behind them, and the LaTeX that a mathematics library reads rightly."""

import re
from typing import NamedTuple

from llamao1_cli.tasks.equality.normal_form import unboxed
from llamao1_cli.tasks.equality.quantity import Description, describe
from llamao1_cli.tasks.equality.units import CURRENCY_SIGNS

_BOX = re.compile(r" ?\\text\{(?P<words>[^{}]*+)\}(?P<power>\^(?:[0-9]|\{-?[0-9]\}))?$")
_WORDS = re.compile(r"(?<=[0-9})\]A-Za-z]) (?P<words>[A-Za-z]{2}[A-Za-z /^0-9]*+)$")
_SIGN = re.compile(r" ?(?P<words>[%°])$")
# What may precede a unit: `\text{ cm}` behind a subscript or a comma is no unit.
_BEFORE_UNIT = re.compile(r"[0-9][^_^,;=]*$")

_FUNCTIONS = {
    *("sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan"),
    *("log", "ln", "exp", "sqrt", "min", "max", "gcd"),
}
_LETTERS = re.compile(
    r"\\(?:begin|end|operatorname)\*?\{[^{}]*+\}|\\[A-Za-z]++|(?P<word>[A-Za-z]{2,}+)"
)
_REWRITINGS = (
    (re.compile(rf"\b(?:{'|'.join(CURRENCY_SIGNS.values())})\b|°"), ""),
    (re.compile(r"(?<![A-Za-z\\])infinity(?![A-Za-z])"), r"\\infty"),
    (re.compile(r"\\?sqrt ?\(([^()]*+)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<=[0-9]) ?x ?(?=10 ?\^)"), r"\\times "),
    (
        re.compile(r"(?<![A-Za-z0-9])([0-9.]++)[eE]([-+]?[0-9]++)(?![0-9A-Za-z.])"),
        r"\1\\times 10^{\2}",
    ),
    (re.compile(r"10 ?\^ ?(-?[0-9]++)"), r"10^{\1}"),
    (re.compile(r"(?<![0-9.])([0-9]++) ([0-9]++)/([0-9]++)"), r"\1\\frac{\2}{\3}"),
    (re.compile("<="), r"\\le "),
    (re.compile(">="), r"\\ge "),
    (re.compile(r",? (?:and|or) "), ", "),
)
_BETWEEN = re.compile(
    r"(?P<low>[^<>=]+?) ?(?P<left><|\\le(?![a-z])) ?(?P<variable>[a-z]) ?"
    r"(?P<right><|\\le(?![a-z])) ?(?P<high>[^<>=]+)"
)
_BOUND = re.compile(r"(?P<variable>[a-z]) ?(?P<sign>[<>]|\\[lg]e(?![a-z])) ?(?P<bound>[^<>=]+)")


class Formula(NamedTuple):
    """A formula and what the units behind it say."""

    core: str
    description: Description


def split_formula(form: str) -> Formula:
    """Returns a normal form as a formula, the units and words behind it apart."""
    for pattern in (_BOX, _WORDS, _SIGN):
        match = pattern.search(form)
        if not match or not _BEFORE_UNIT.search(form[: match.start()]):
            continue
        description = describe(match["words"] + (match.groupdict().get("power") or ""))
        if description and description.multiplier == 1 and (pattern != _WORDS or description.units):
            return Formula(form[: match.start()].strip(), description)
    return Formula(form, Description())


def latex(core: str) -> str:
    r"""Returns LaTeX in which letters that are no product are one name: `\text{AB}` for `AB`, and
    `\log` for `log`."""
    form = unboxed(core)
    for pattern, replacement in _REWRITINGS:
        form = pattern.sub(replacement, form)
    return _LETTERS.sub(_letters, form).strip()


def union(form: str) -> str | None:
    r"""Returns `(-\infty,1)\cup(2,\infty)` for `x<1 or x>2`, and None for anything else."""
    parts = re.split(r",? or ", form)
    intervals = [_interval(part) for part in parts]
    variables = {interval[0] for interval in intervals if interval}
    if len(parts) < 2 or None in intervals or len(variables) > 1:
        return None
    return r" \cup ".join(interval[1] for interval in intervals if interval)


def _interval(form: str) -> tuple[str, str] | None:
    """Returns the variable of an inequality, and the interval that it is."""
    if both := _BETWEEN.fullmatch(form):
        opening = "(" if both["left"] == "<" else "["
        closing = ")" if both["right"] == "<" else "]"
        return both["variable"], f"{opening}{both['low']}, {both['high']}{closing}"
    one = _BOUND.fullmatch(form)
    if not one:
        return None
    if one["sign"] in ("<", r"\le"):
        closing = ")" if one["sign"] == "<" else "]"
        return one["variable"], rf"(-\infty, {one['bound']}{closing}"
    opening = "(" if one["sign"] == ">" else "["
    return one["variable"], rf"{opening}{one['bound']}, \infty)"


def _letters(match: re.Match[str]) -> str:
    word = match["word"]
    if not word:
        return match[0]
    if word in _FUNCTIONS:
        return f"\\{word} "
    return rf"\text{{{word}}}" if word.isupper() or len(word) > 3 else word
