r"""The normal form of an answer: LaTeX and Markdown that only change its looks are taken off.

It keeps every number, word and unit; what they mean is for the other modules to say.
"""

import re

from llamao1_cli.tasks.equality.characters import plain_characters
from llamao1_cli.tasks.equality.units import CURRENCY_SIGNS

# No real answer is longer. A longer one only has its spaces collapsed, so that a hostile one costs
# next to nothing.
MAX_ANSWER_CHARS = 1000

_SIGNS = re.compile(rf"(?P<minus>(?:^-)?) ?(?:\bUS)?(?:\\?(?P<sign>[{''.join(CURRENCY_SIGNS)}]))")
# `\\` before a mark ends a matrix row: the mark is no spacing.
_REWRITINGS = (
    (re.compile(r",\\! ?|\{,\}"), ","),
    (re.compile(r"(?<!\\)\\!"), ""),
    (re.compile(r"(?<!\\)\\[ ,;:]|\\q?quad(?![A-Za-z])|~"), " "),
    (re.compile(r"\\(?:left|right|displaystyle|[bB]igg?[lr]?)(?![A-Za-z])"), ""),
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"\\(?:text[a-z]*|mbox|hbox|math(?:rm|bf|it|sf)) ?\{"), r"\\text{"),
    (re.compile(r"\\text\{\}"), " "),
    (re.compile(r"(?<![0-9A-Za-z)*])\*\*([^*]++)\*\*"), r"\1"),
    (re.compile(r"\^ ?\{? ?\\circ(?![A-Za-z]) ?\}?|\\degree(?![A-Za-z])"), "°"),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\(?:leq?|geq?|neq?)(?:slant)?(?![A-Za-z])"), lambda m: m[0][:3]),
    (re.compile(r"([_^])\{([0-9A-Za-z])\}"), r"\1\2"),
)
_WRAPPINGS = (
    (r"\(", r"\)"),
    (r"\[", r"\]"),
    ("**", "**"),
    ("*", "*"),
    ("_", "_"),
    ("`", "`"),
    ('"', '"'),
    ("'", "'"),
)
_MOST_WRAPPINGS = 4  # one in another, as in **$\\(5\\)$**
_OPENING = re.compile(r"(?:\\approx(?![A-Za-z])|\\therefore(?![A-Za-z])|=|:) ?")
# A sentence ends in a dot, an abbreviation ("6 p.m.") keeps it until its words are read.
_LAST_DOT = re.compile(r"(?<!\.) ?[.,;]$")
_NEGATIVE = re.compile(r"\b(negative|minus|positive|plus) (?=[0-9.\\])", re.IGNORECASE)
_BOXED_TEXT = re.compile(r" ?\\text\{([^{}]*+)\} ?(?=(.?))")
# A space is kept between two digits or two letters ("1 1/2", "\cot x"), after a matrix row's `\\`,
# and where it tells the list "100, 200" from a number with a thousands comma.
_IDLE_SPACE = re.compile(
    r"(?<![0-9A-Za-z\\]) (?!(?<=[0-9], )[0-9]{3}(?![0-9]))| (?![0-9A-Za-z])"
    r"|(?<=[0-9]) (?=[A-Za-z])|(?<=[A-Za-z]) (?=[0-9])"
)


def normal_form(answer: str) -> str:
    r"""Returns the answer without spacing, delimiters and emphasis: `$\dfrac{1}{2}\,$` becomes
    `\frac{1}{2}`, `\textbf{(C) }` becomes `\text{(C) }`, `\$5` becomes `USD 5`."""
    form = " ".join(answer.split())
    if len(form) > MAX_ANSWER_CHARS:
        return form
    form = _with_named_currencies(plain_characters(form))
    for pattern, replacement in _REWRITINGS:
        form = pattern.sub(replacement, form)
    form = _unwrapped(" ".join(form.split()))
    return _NEGATIVE.sub(lambda word: "-" if word[1][0] in "nNmM" else "", form)


def _with_named_currencies(form: str) -> str:
    """Returns the form with `USD 5` for `$5` and `USD -5` for `-$5`, and without the dollar signs
    that delimit formulas, which come in pairs."""
    dollars = len(re.findall(r"(?<!\\)\$", form))
    if dollars % 2 == 0:
        form = re.sub(r"(?<!\\)\$", "", form)
    return _SIGNS.sub(lambda sign: f" {CURRENCY_SIGNS[sign['sign']]} {sign['minus']}", form)


def _unwrapped(form: str) -> str:
    """Returns the form without what may stand around a whole answer."""
    for _ in range(_MOST_WRAPPINGS):
        form = _LAST_DOT.sub("", form.strip())
        if opening := _OPENING.match(form):
            form = form[opening.end() :]
        for begin, end in _WRAPPINGS:
            if len(form) > len(begin + end) and form.startswith(begin) and form.endswith(end):
                form = form[len(begin) : -len(end)]
    return form.strip()


def unboxed(form: str) -> str:
    r"""Returns a normal form with the words of `\text{...}` as plain words."""
    plain = _BOXED_TEXT.sub(lambda box: f" {box[1].strip()}{'' if box[2] == '^' else ' '}", form)
    return _LAST_DOT.sub("", " ".join(plain.split()))


def without_idle_spaces(form: str) -> str:
    """Returns a normal form with the spaces alone that tell two answers apart."""
    return _IDLE_SPACE.sub("", form)
