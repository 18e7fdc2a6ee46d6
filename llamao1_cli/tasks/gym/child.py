"""The process that makes problems of reasoning-gym's data sets: run as a module.

Its argument is a JSON object with the arguments of `Entries`. Each line on its standard input is a
JSON list of ids, which it answers with a line: a JSON list of questions and answers, or an object
with what is wrong under "error". Its first line answers an empty list.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from llamao1_cli.tasks.gym.entries import Entries


def main() -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends when it is done
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # some data sets print
    try:
        entries = Entries(**json.loads(sys.argv[1]))
    except ValueError as error:
        _reply(replies, {"error": str(error)})
        return
    _reply(replies, [])
    for line in sys.stdin:
        _reply(replies, _problems(entries, json.loads(line)))


def _problems(entries: Entries, entry_ids: Sequence[str]) -> Any:
    made = []
    for entry_id in entry_ids:
        try:
            made.append(entries.problem(entry_id))
        except Exception as error:  # a data set may fail at options that it took
            name = entry_id.partition(":")[0]
            cause = f"{type(error).__name__}: {error}"
            return {
                "error": f"task.config: {name} cannot make its entry {entry_id} ({cause:.200}); "
                "give it other options"
            }
    return made


def _reply(replies: TextIO, value: Any) -> None:
    print(json.dumps(value), file=replies, flush=True)


if __name__ == "__main__":
    main()
