"""This process's side of the ones in which reasoning-gym runs."""

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from llamao1_cli.errors import UserError

# Some data sets walk through sets of words, in an order that the hash seed decides.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}


class Library:
    """Makes problems of data sets in a process of its own, which ends with this object.

    `arguments` are those of `Entries`. Raises UserError for what they name wrongly, and without the
    extra. May be called from several threads.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            _command("child", json.dumps(arguments)),
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        weakref.finalize(self, _stop, self._process)
        self._lock = threading.Lock()
        self._read()

    def problems(self, entry_ids: Sequence[str]) -> list[tuple[str, str | None]]:
        """Returns question and answer of each entry. Raises UserError for one that fails."""
        assert self._process.stdin is not None
        with self._lock:
            try:
                self._process.stdin.write(json.dumps(entry_ids) + "\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                pass  # then there is no reply either
            return [(question, answer) for question, answer in self._read()]

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise UserError(
                f"task: the process that makes the problems ended (exit code "
                f"{self._process.wait()}); its own words stand above"
            )
        reply = json.loads(line)
        if isinstance(reply, dict):
            raise UserError(reply["error"])
        return reply


def described(names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns what `catalog` tells of the data sets, of all without names.

    Raises UserError for a name that does not exist, and without the extra.
    """
    done = subprocess.run(
        _command("catalog", *names),
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    reply = json.loads(done.stdout)
    if isinstance(reply, dict):
        raise UserError(reply["error"])
    return list(reply)


def is_installed() -> bool:
    """Returns whether the extra is."""
    return find_spec("reasoning_gym") is not None


def _command(module: str, *arguments: str) -> list[str]:
    if not is_installed():
        raise UserError(
            "task.kind: reasoning_gym needs the extra: pip install 'llamao1-cli[reasoning-gym]'"
        )
    # With -P no file of the current folder shadows a library.
    return [sys.executable, "-P", "-W", "ignore", "-m", f"{__package__}.{module}", *arguments]


def _stop(process: "subprocess.Popen[str]") -> None:
    """End the process, and release its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
