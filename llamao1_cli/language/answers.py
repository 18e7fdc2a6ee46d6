r"""Final answers in text: finding the one that is stated, and a cheap normal form of it.

Nothing here evaluates anything; every function takes time linear in its input and never raises.
"""

import re

# No real answer is longer. A longer one is only stripped, so that a hostile one costs next to
# nothing.
MAX_ANSWER_CHARS = 1000

# Each alternative is of bounded width or eats what it scans, so one pass over a text is linear.
_BOX_TOKEN = re.compile(
    r"\\{1,2}(?:boxed|fbox)(?![A-Za-z])\s*+(?:(?P<open>\{)|(?P<bare>[-+]?\.?[0-9][^\s${}\\]*+))?"
    r"|\\.|[{}]",
    re.DOTALL,
)
_PHRASE = re.compile(r"\banswers?[*_]{0,2}\s*+(?:(?:is|are)\b\s*+:?|:)[\s*_]*+", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\n|\.(?=[\s*_]|$)")


def stated_answer(text: str) -> str | None:
    r"""Returns the final answer that a text states, stripped but not normalised, or None.

    The last complete non-empty ``\boxed{...}`` counts first, then the last ``#### X``, then the
    last line ``A: X``, then the last "the answer is X" or "answer: X".
    """
    return _boxed(text) or _hashed(text) or _lettered(text) or _phrased(text)


def _boxed(text: str) -> str | None:
    """Returns the content of the last complete box that holds more than another box."""
    # One entry per open brace: where the content of the box it opens begins, -1 for other braces.
    opened: list[int] = []
    innermost = -1  # where the last box began; one that began before it holds it, and is skipped
    answer = None
    for token in _BOX_TOKEN.finditer(text):
        if token["open"]:
            opened.append(token.end())
        elif token["bare"]:
            answer, innermost = token["bare"].rstrip(".,;:"), token.start()
        elif token[0] == "{":
            opened.append(-1)
        elif token[0] == "}" and opened:
            start = opened.pop()
            if start > innermost:
                answer = text[start : token.start()].strip() or answer
                innermost = start
    return answer


def _hashed(text: str) -> str | None:
    """Returns what follows `####` on the last line where anything does."""
    for line in reversed(text.split("\n")):
        before, mark, answer = line.rpartition("####")
        # Five hashes are a heading.
        if mark and answer.strip() and not before.endswith("#"):
            return answer.strip()
    return None


def _lettered(text: str) -> str | None:
    """Returns X of the last line `A: X`."""
    for line in reversed(text.split("\n")):
        mark, answer = line.lstrip()[:2], line.lstrip()[2:].strip()
        if mark == "A:" and answer:
            return answer
    return None


def _phrased(text: str) -> str | None:
    """Returns X of the last "answer is X" or "answer: X", up to the end of its sentence or line."""
    for phrase in reversed(list(_PHRASE.finditer(text))):
        if _PHRASE.match(text, phrase.end()):
            continue  # followed by another one, which stated nothing
        end = _SENTENCE_END.search(text, phrase.end())
        answer = text[phrase.end() : end.start() if end else len(text)].strip(" \t\r*_")
        if answer:
            return answer
    return None


_TEXT_BOX = r"\\(?:text[a-z]*|mbox|hbox|math(?:rm|bf|it)) ?\{([^{}]*)\}"
_TRAILING_TEXT = re.compile(rf" ?{_TEXT_BOX}(?:\^(?:[0-9]|\{{[0-9]\}}))?$")
_TRAILING_WORDS = re.compile(r"([-+]?[0-9.][0-9.,/]*%?) ([A-Za-z]+(?: [A-Za-z]+)*)")
_THOUSANDS = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_NUMBER = re.compile(r"([-+]?)([0-9]*)(?:\.([0-9]*))?")
_SLASH = re.compile(r"([-+]?)([0-9]+)/([-+]?)([0-9]+)")
_FRAC = re.compile(
    r"([-+]?)\\frac(?:\{([-+]?)([0-9]+)\}|()([0-9])) ?(?:\{([-+]?)([0-9]+)\}|()([0-9]))"
)
_MIXED = re.compile(r"([-+]?)([0-9]+)(?: |(?=\\frac))([0-9\\].*)")
_CHOICE = re.compile(r"\(([A-Za-z])\)")

# Each rewriting shortens the form or, for the sign and the case, can happen once per character, so
# repeating them all comes to an end. `\\` before a mark ends a matrix row: the mark is no spacing.
_REWRITINGS = (
    (re.compile(r"\u2212"), "-"),
    (re.compile(r"\\?\$|[€£°]|\\degree(?![A-Za-z])|\^ ?\{? ?\\circ(?![A-Za-z]) ?\}?"), ""),
    (re.compile(r",\\! ?|\{,\}"), ","),
    (re.compile(r"(?<!\\)\\[ ,;:!]|\\q?quad(?![A-Za-z])|~"), " "),
    (re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])"), ""),
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"([_^])\{([0-9A-Za-z])\}"), r"\1\2"),
)
# A space is kept between two digits or two letters ("1 1/2", "\cot x"), after a matrix row's `\\`,
# and where it tells the list "100, 200" from a number with a thousands comma.
_IDLE_SPACE = re.compile(
    r"(?<![0-9A-Za-z\\]) (?!(?<=[0-9], )[0-9]{3}(?![0-9]))| (?![0-9A-Za-z])"
    r"|(?<=[0-9]) (?=[A-Za-z])|(?<=[A-Za-z]) (?=[0-9])"
)

_SHORT_UNIT = re.compile(r"cm|mm|km|kg|mg|ml|ft|in|lb|oz|am|pm")
# Words that change the value of the number before them, and so are no units.
_NO_UNIT = re.compile(
    r"hundreds?|thousands?|millions?|billions?|trillions?|dozens?|half|halves|thirds?|quarters?"
    r"|fourths?|fifths?|squared|cubed|factorial|base|mod|modulo|choose|plus|minus|times|over|and"
    r"|or|not|sin|cos|tan|cot|sec|csc|log|exp|sqrt"
)


def canonical_answer(answer: str) -> str:
    r"""Returns a normal form: answers that are written alike have the same one.

    Spaces, dollar signs, units, degrees, per cent signs and thousands commas are removed, signs
    are kept; `18.00` becomes `18`, `\frac{1}{2}` becomes `1/2`, `1\frac{1}{2}` becomes `1 1/2`.
    Whatever else is kept is still LaTeX. The normal form of a normal form is itself. An answer
    beyond MAX_ANSWER_CHARS only has its spaces collapsed.
    """
    form = " ".join(answer.split())
    if len(form) > MAX_ANSWER_CHARS:
        return form
    while (simpler := _simplified(form)) != form:
        form = simpler
    return _plain_number(form) or _plain_fraction(form) or _mixed_number(form) or form


def _simplified(form: str) -> str:
    """Returns the form after every rewriting, each applied once."""
    for pattern, replacement in _REWRITINGS:
        form = pattern.sub(replacement, form)
    form = " ".join(form.split()).strip(" *`").rstrip(". ")
    for opening, closing in ((r"\(", r"\)"), (r"\[", r"\]")):
        if form.startswith(opening) and form.endswith(closing) and len(form) >= 4:
            form = form[2:-2]
    form = _without_units(form)
    form = re.sub(_TEXT_BOX, r"\1", form)
    if choice := _CHOICE.fullmatch(form):
        form = choice[1]
    form = _IDLE_SPACE.sub("", form)
    return form.lower() if is_words(form) else form


def is_words(form: str) -> bool:
    """Returns whether a normal form is plain words, such as a name, and so no formula."""
    # Two letters or fewer are more likely variables.
    return len(form) > 2 and form.isascii() and form.replace(" ", "").isalpha()


def _without_units(form: str) -> str:
    """Returns the form without the unit after its number.

    A unit is a per cent sign, plain words, or a LaTeX text box.
    """
    if words := _TRAILING_WORDS.fullmatch(form):
        names = words[2].lower().split()
        if all(len(name) > 2 or _SHORT_UNIT.fullmatch(name) for name in names):
            return form if any(map(_NO_UNIT.fullmatch, names)) else words[1]
    box = _TRAILING_TEXT.search(form)
    if box and re.search(r"[0-9][^_^,;=]*$", form[: box.start()]):
        names = re.findall("[a-z]+", box[1].lower())
        return form if any(map(_NO_UNIT.fullmatch, names)) else form[: box.start()]
    if form.endswith("%") and len(form) > 1:
        return form[:-1].removesuffix("\\")
    return form


def _plain_number(form: str) -> str | None:
    """Returns a decimal without plus sign, commas and idle zeros; None for anything else."""
    if _THOUSANDS.fullmatch(form):
        form = form.replace(",", "")
    number = _NUMBER.fullmatch(form)
    if not number or not (number[2] or number[3]):
        return None
    whole, decimals = number[2].lstrip("0") or "0", (number[3] or "").rstrip("0")
    value = f"{whole}.{decimals}" if decimals else whole
    return f"-{value}" if number[1] == "-" and value != "0" else value


def _plain_fraction(form: str) -> str | None:
    """Returns a fraction of two integers as `a/b`, unreduced; None for anything else."""
    match = _SLASH.fullmatch(form) or _FRAC.fullmatch(form)
    if not match:
        return None
    parts = [part for part in match.groups() if part]
    signs = "".join(part for part in parts if part in "+-")
    above, below = (part.lstrip("0") or "0" for part in parts if part not in "+-")
    return f"{'-' if signs.count('-') % 2 and above != '0' else ''}{above}/{below}"


def _mixed_number(form: str) -> str | None:
    """Returns an integer followed by a fraction as `n a/b`; None for anything else."""
    match = _MIXED.fullmatch(form)
    fraction = _plain_fraction(match[3]) if match else None
    if not match or not fraction or fraction.startswith("-"):
        return None
    return f"{'-' if match[1] == '-' else ''}{match[2].lstrip('0') or '0'} {fraction}"
