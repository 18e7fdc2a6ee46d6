"""The process in which a task's reward runs: run as a script, and killed at any time.

Its arguments are the time limit of a call in seconds, the Python file of the task, and the task's
options as JSON. It answers each line of JSON on its standard input, a problem and a solution, with
a line that says what the solution earns, or why there is none. It imports nothing of ours.
"""

import json
import numbers
import os
import resource
import signal
import sys
import traceback
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

MEMORY_BYTES = 4 << 30
MOST_TEXT = 4000  # characters of a traceback, the last ones
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Problem:
    """A problem as a reward sees it."""

    id: str
    text: str
    answer: str


@dataclass(frozen=True)
class Solution:
    """A solution as a reward sees it: all of its thoughts, a line each, and its answer."""

    text: str
    answer: str


class _Fresh(SourceFileLoader):
    """Reads a file as it is now. Bytecode of a file is kept, and used as long as size and whole
    second of its last change are the same; without them there is none."""

    def path_stats(self, path: str) -> NoReturn:
        raise OSError


def run_file(path: str) -> ModuleType:
    """Returns a Python file as a module; what it raises goes through."""
    spec = spec_from_file_location(f"task file {path}", loader=_Fresh(f"task file {path}", path))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # as dataclasses ask for it
    folder = str(Path(path).resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last: its files shadow no library
    spec.loader.exec_module(module)
    return module


def made_task(module: ModuleType, options: dict[str, Any]) -> Any:
    """Returns what has a task's functions: an object of the file's class `Task`, made with the
    options, or without such a class the file itself."""
    return module.Task(**options) if hasattr(module, "Task") else module


def explain(error: BaseException, path: str) -> tuple[str, str, str]:
    """Returns what an error says in a line, the line of the file at `path` that it came through
    last, and its traceback, cut at its beginning."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename == path]
    where = f"line {frames[-1].lineno}" if frames else "before any line of it"
    shown = "".join(traceback.format_exception(error, limit=-20))
    return _line(error), where, shown if len(shown) <= MOST_TEXT else f"…{shown[-MOST_TEXT:]}"


def _line(error: BaseException) -> str:
    said = traceback.format_exception_only(error)
    return " ".join(said[-1].split())[:200]


def _earned(value: Any) -> dict[str, Any]:
    """Returns the reply that a reward's result makes."""
    if isinstance(value, numbers.Real) and 0 <= (number := float(value)) <= 1:
        return {"reward": number}
    return {"invalid": f"{value!r:.60}", "type": type(value).__name__}


def _call(task: Any, path: str, problem: list[str], solution: list[str]) -> dict[str, Any]:
    """Returns the reply to one question."""
    try:
        return _earned(task.reward(Problem(*problem), Solution(*solution)))
    except BaseException as error:  # whatever it is, it ends this call alone
        said, where, shown = explain(error, path)
        return {"failed": said, "where": where, "traceback": shown}


def _limit_memory() -> None:
    """Limit memory, so that a greedy reward raises MemoryError and takes down nothing else."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _left_processes() -> bool:
    """Returns whether a process that the reward started is still there."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def main() -> None:
    """Reward solutions until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers itself
    timeout_s, path, options = float(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    _limit_memory()
    questions, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    # What the reward reads and prints must not mix with these, nor fill the parent's terminal.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    try:
        task = made_task(run_file(path), options)
    except BaseException as error:
        said, where, _ = explain(error, path)
        print(json.dumps(f"{where}: {said}"), file=replies, flush=True)
        return
    print("ready", file=replies, flush=True)
    own = os.getpid()
    for line in questions:
        # The parent kills a slow worker. Should the parent be gone, the kernel does so here:
        # the default action of the alarm ends the process, whatever it is computing.
        signal.setitimer(signal.ITIMER_REAL, 2 * timeout_s + 1)
        reply = _call(task, path, *json.loads(line))
        if os.getpid() != own:
            os._exit(0)  # a fork that the reward came back from
        signal.setitimer(signal.ITIMER_REAL, 0)
        last = "last " if _left_processes() else ""  # the parent kills what is left, and this too
        print(f"{last}{json.dumps(reply)}", file=replies, flush=True)
    os.killpg(0, signal.SIGKILL)  # with all that was started


if __name__ == "__main__":
    main()
