"""Worked text cut into its sentences or lines, never inside mathematics.

A paragraph with line breaks is cut into its lines, any other into its sentences. White space around
a displayed formula is layout and no line break: the formula belongs to the sentence that leads up
to it. A drawing is a piece of its own. Everything takes time linear in the text.
"""

import re
from itertools import pairwise

from llamao1_cli.tasks.mathematics import DISPLAY, DISPLAY_END, DRAWING, INLINE, masked

_SHOWN = DISPLAY + DISPLAY_END + DRAWING
_LAYOUT = re.compile(rf"(?<!\s)\s++(?=[{_SHOWN}])|(?<=[{_SHOWN}])\s++")
_DRAWN = re.compile(f"{DRAWING}+")
_PARAGRAPH = re.compile(r"\n\s*\n")
_BEHIND_DISPLAY = re.compile(
    rf"(?<={DISPLAY})\s*+(?=[A-Z])|(?<={DISPLAY_END})\s*+(?=[A-Z{INLINE}])"
)
_FULL_STOP = re.compile(rf"[.!?][)\]\"'’”*]*+\s++(?=[(\[\"'‘“*]*+(?P<next>[A-Z\d{INLINE}\\]))")
_WORD = re.compile(rf"[\w.{INLINE}]*$")
_LONGEST = 16  # letters before a full stop that are looked at
# With a full stop these are shortened words, which end no sentence.
_SHORTENED = re.compile(
    r"[A-Za-z]|(?:[A-Za-z]\.)+[A-Za-z]|[RrMmDdJjSs]rs?|Rs|[Mm]s|[Pp]rof|[Ss]t|[Nn]os|[Ff]igs?"
    r"|[Ee]qs?|vs|cf|resp|approx|ca|[Tt]hm|[Pp]rop|[Ss]ec|[Cc]h|[Vv]ol|pp"
)
_TITLED = re.compile(r"[A-Z][a-z]{0,3}")  # before a number: "No. 5", "Tk. 500"


def pieces(text: str) -> list[str]:
    r"""Returns the sentences or lines of a text, stripped.

    Together they hold all of its characters but white space, and none begins or ends within
    `$…$`, `\(…\)`, a displayed formula, an environment or an `[asy]` drawing.
    """
    mask = _LAYOUT.sub(lambda gap: " " * len(gap[0]), masked(text))
    cuts = {0, len(text)}
    for drawing in _DRAWN.finditer(mask):
        cuts |= {*drawing.span()}
    start = 0
    for end in [*(gap.end() for gap in _PARAGRAPH.finditer(mask)), len(text)]:
        cuts |= {end, *_ends(mask, start, end)}
        start = end
    places = sorted(cuts)
    found = [text[a:b].strip() for a, b in pairwise(places)]
    return [piece for piece in found if piece]


def _ends(mask: str, start: int, end: int) -> list[int]:
    """Returns where the lines of the paragraph mask[start:end] end, or else its sentences."""
    if "\n" in mask[start:end].strip():
        return [line.end() for line in re.compile("\n").finditer(mask, start, end)]
    ends = [gap.end() for gap in _BEHIND_DISPLAY.finditer(mask, start, end)]
    stops = _FULL_STOP.finditer(mask, start, end)
    return ends + [stop.end() for stop in stops if _ends_sentence(stop, start)]


def _ends_sentence(stop: re.Match[str], start: int) -> bool:
    """Returns whether a mark ends a sentence of the paragraph that begins at `start`.

    A full stop ends none behind a shortened word, nor behind the number of an item ("1. First").
    """
    if stop[0][0] != ".":
        return True
    before = stop.string[max(stop.start() - _LONGEST, start) : stop.start()]
    word = before[_WORD.search(before).start() :]  # type: ignore[union-attr]
    if word.isdecimal():
        return before.removesuffix(word).rstrip()[-1:] not in {*".!?", ""}
    if _SHORTENED.fullmatch(word):
        return False
    return not (stop["next"].isdecimal() and _TITLED.fullmatch(word))
