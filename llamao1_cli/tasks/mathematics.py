r"""Where mathematics and drawings stand in a text: `$…$`, `\(…\)`, displayed formulae,
environments, `[asy]` blocks. They are found in time linear in the text."""

import re

# Each hides one character of what it stands for, so that places in a text and its mask agree.
INLINE, DISPLAY, DISPLAY_END, DRAWING = "\ue000", "\ue001", "\ue002", "\ue003"

_OPENING = re.compile(r"\\begin\{|\[asy\]|\\\[|\\\(|\$\$|\$|\\.", re.DOTALL)
_CLOSING = {
    "[asy]": ("[/asy]", DRAWING),
    r"\[": (r"\]", DISPLAY),
    r"\(": (r"\)", INLINE),
    "$$": ("$$", DISPLAY),
}
_ENVIRONMENT = re.compile(r"\\(?:(begin)|end)\{[^{}\\]*\}")
_TO_DOLLAR = re.compile(r"(?:[^\\$]|\\.)*+\$", re.DOTALL)
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")


def masked(text: str) -> str:
    """Returns the text with every character of mathematics and drawings replaced by a letter for
    its kind. A formula that ends with a full stop keeps one as its last character where it is
    inline, and DISPLAY_END where it is displayed."""
    parts, position = [], 0
    for start, end, kind in _spans(text):
        inner = text[start:end].rstrip("$\\)]").rstrip()
        last = kind
        if kind is not DRAWING and inner.endswith("."):
            last = "." if kind is INLINE else DISPLAY_END
        parts += [text[position:start], kind * (end - start - 1), last]
        position = end
    return "".join([*parts, text[position:]])


def _spans(text: str) -> list[tuple[int, int, str]]:
    """Returns start, end and kind of each outermost formula or drawing that is closed."""
    environments = _environments(text)
    last = {closing: text.rfind(closing) for closing, _ in _CLOSING.values()}
    spans, position = [], 0
    while opening := _OPENING.search(text, position):
        start, position = opening.span()
        end, kind = None, DISPLAY
        if opening[0] == r"\begin{":
            end = environments.get(start)
        elif opening[0] == "$":
            end, kind = _inline_end(text, position), INLINE
        elif opening[0] in _CLOSING:
            closing, kind = _CLOSING[opening[0]]
            if last[closing] >= position:
                end = text.index(closing, position) + len(closing)
        if end is not None:
            spans.append((start, end, kind))
            position = end
    return spans


def _environments(text: str) -> dict[int, int]:
    r"""Returns where the environment that begins at a place ends, for all that are closed."""
    ends: dict[int, int] = {}
    opened: list[int] = []
    for mark in _ENVIRONMENT.finditer(text):
        if mark[1]:
            opened.append(mark.start())
        elif opened:
            ends[opened.pop()] = mark.end()
    return ends


def _inline_end(text: str, start: int) -> int | None:
    """Returns the end of the formula whose content begins at `start`, None if the dollar sign
    before it is one of money.

    A sum of money stands before the sign or behind it: "5$", "$5 and $6", "US$5 and US$6". No
    formula holds a blank line.
    """
    closing = _TO_DOLLAR.match(text, start)
    if closing is None or closing.end() == start + 1:
        return None
    content, end = closing[0][:-1], closing.end()
    uneven = content[0].isspace() != content[-1].isspace()
    number = content.lstrip(" .")[:1].isdecimal()
    money = (
        text[start - 2 : start - 1].isdecimal()
        or text[end : end + 1].isdecimal()
        or (number and (uneven or content[-1] in "(=+*/-–"))
        or ("\n" in content and (uneven or number))
    )
    return None if money or _BLANK_LINE.search(content) else end
