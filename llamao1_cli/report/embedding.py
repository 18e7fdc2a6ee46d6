"""Data inside a page, where no text can leave it."""

import json
from typing import Any

from markupsafe import Markup


def embedded(data: Any) -> Markup:
    """Returns JSON for a script element, with all escaped that HTML or JavaScript reads otherwise.

    Raises ValueError for numbers that are not finite, which JSON does not know.
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII, so U+2028 is escaped
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)
