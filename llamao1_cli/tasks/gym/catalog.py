"""Tells of reasoning-gym's data sets: run as a module, with their names or none for all.

It prints a JSON list, or an object with what is wrong under "error".
"""

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from reasoning_gym.factory import DATASETS

from llamao1_cli.tasks.gym.entries import NAMES, Entries, defaults, levels_of, settings


def catalog(names: Sequence[str], examples: int) -> list[dict[str, Any]]:
    """Returns name, area, levels, options with their defaults, and examples of each data set.

    Raises ValueError for a name that does not exist.
    """
    for name in names:
        settings(name, {}, None)
    return [_described(name, examples) for name in names]


def _described(name: str, examples: int) -> dict[str, Any]:
    entries = Entries({name: {}}, 1)
    made = [entries.problem(f"{name}:1:0:{index}") for index in range(examples)]
    return {
        "name": name,
        "area": DATASETS[name][0].__module__.split(".")[1],
        "levels": levels_of(name),
        "options": defaults(name),
        "examples": [{"problem": question, "answer": answer} for question, answer in made],
    }


def main() -> None:
    """Print what is asked for."""
    names = sys.argv[1:]
    try:
        with redirect_stdout(StringIO()):  # some data sets print
            reply: Any = catalog(names or NAMES, 3 if names else 1)
    except ValueError as error:
        reply = {"error": str(error)}
    print(json.dumps(reply, default=str))


if __name__ == "__main__":
    main()
