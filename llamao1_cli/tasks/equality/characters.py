"""Unicode in answers, spelled as ASCII and LaTeX, which is what all other rules read."""

import re
import unicodedata

_SPELLED = {
    **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\u2014\uff0d", "-"),
    **dict.fromkeys("“”„«»″", '"'),
    **dict.fromkeys("‘’′", "'"),
    "º": "°",
    "×": r"\times ",
    **dict.fromkeys("·⋅∙", r"\cdot "),
    "÷": r"\div ",
    "±": r"\pm ",
    "≤": r"\le ",
    "⩽": r"\le ",
    "≥": r"\ge ",
    "⩾": r"\ge ",
    "≠": r"\ne ",
    "≈": r"\approx ",
    "∞": r"\infty ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "∈": r"\in ",
    "∖": r"\setminus ",
    "∅": r"\emptyset ",
    "ℝ": r"\mathbb{R}",
    "ℤ": r"\mathbb{Z}",
    "ℕ": r"\mathbb{N}",
    "ℚ": r"\mathbb{Q}",
    "…": r"\ldots ",
    "٬": ",",
    "٫": ".",
    "\u200b": "",
}
_GREEK = dict(
    zip(
        "αβγδεθλμπρστφω",
        (
            r"\alpha ",
            r"\beta ",
            r"\gamma ",
            r"\delta ",
            r"\epsilon ",
            r"\theta ",
            r"\lambda ",
            r"\mu ",
            r"\pi ",
            r"\rho ",
            r"\sigma ",
            r"\tau ",
            r"\phi ",
            r"\omega ",
        ),
        strict=True,
    )
)
_TABLE = str.maketrans(_SPELLED | _GREEK)
_RANGE = re.compile(r"(?<=[0-9]) ?[\u2013\u2014] ?(?=[0-9])")
_RAISED, _LOWERED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+"), re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_ROOT = re.compile(r"([√∛]) ?(?:\(([^()]*+)\)|\{([^{}]*+)\}|([0-9.]++|\\?[A-Za-z]++))")


def plain_characters(text: str) -> str:
    r"""Returns the text in ASCII and LaTeX: `2√3` as `2\sqrt{3}`, `1½` as `1\frac{1}{2}`, digits of
    every script as 0 to 9, spaces of every width as a space. Other letters stay as they are."""
    if text.isascii():
        return text
    text = _RANGE.sub(" to ", text).translate(_TABLE)
    text = _RAISED.sub(lambda match: f"^{{{match[0]}}}", text)
    text = _LOWERED.sub(lambda match: f"_{{{match[0]}}}", text)
    text = unicodedata.normalize("NFKC", "".join(map(_character, text)))
    return _ROOT.sub(_root, text.replace("\u2212", "-"))


def _root(match: re.Match[str]) -> str:
    degree = "[3]" if match[1] == "∛" else ""
    return rf"\sqrt{degree}{{{match[2] or match[3] or match[4] or ''}}}"


def _character(letter: str) -> str:
    if letter.isascii():
        return letter
    if (digit := unicodedata.decimal(letter, None)) is not None:
        return str(digit)
    kind, _, _ = unicodedata.decomposition(letter).partition(" ")
    written = unicodedata.normalize("NFKC", letter)
    if kind == "<fraction>" and "\u2044" in written:
        above, below = written.split("\u2044")
        return rf"\frac{{{above}}}{{{below or 1}}}"
    return letter
