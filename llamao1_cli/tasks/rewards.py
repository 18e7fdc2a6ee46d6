"""What solutions earn: by equal answers, or by a task's own reward in worker processes."""

import json
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from llamao1_cli.config import GradingConfig
from llamao1_cli.errors import UserError
from llamao1_cli.tasks.equality.groups import Equal
from llamao1_cli.tasks.problem import Problem, RewardFile, Solution
from llamao1_cli.tasks.worker_pool import Lost, WorkerError, WorkerPool

_WORKER_SCRIPT = Path(__file__).with_name("reward_worker.py")
_CACHED_REWARDS = 65536

Solved = tuple[Problem, Solution]

# Returns what each solution earns, in [0, 1]; None where its reward failed, which counts as 0.
RewardFunction = Callable[[Sequence[Solved]], Sequence[float | None]]


@dataclass(frozen=True)
class Rewards:
    """What solutions earn, and how much one must earn to count as solved."""

    of: RewardFunction
    solved_at: float = 1.0


def rewards_by_equality(equal: Equal) -> RewardFunction:
    """Returns the reward of 1 for a stated answer that equals the problem's, and else 0."""

    def of(solved: Sequence[Solved]) -> list[float]:
        return [*map(float, equal([(said.answer, problem.answer) for problem, said in solved]))]

    return of


class RewardWorkers:
    """Calls a task's own reward in worker processes that can be killed.

    A call that raises, takes too long or ends its process earns nothing, and each kind of failure
    is shown once: in a line, with its traceback in the file `log`, or where the folder of that is
    missing, behind the line.
    """

    def __init__(self, source: RewardFile, config: GradingConfig, log: Path) -> None:
        arguments = [source.path, json.dumps(source.options)]
        self._pool = WorkerPool(_WORKER_SCRIPT, arguments, config.workers, config.timeout_s)
        self._path, self._log = source.path, log
        self._known: OrderedDict[Solved, float] = OrderedDict()
        self._shown: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop the worker processes; a later call starts new ones."""
        self._pool.close()

    def of(self, solved: Sequence[Solved]) -> list[float | None]:
        """Returns what each solution earns, None where its reward failed.

        Raises UserError for a reward that is no number in [0, 1], or a file that a worker process
        cannot load.
        """
        with self._lock:
            new = [*dict.fromkeys(each for each in solved if each not in self._known)]
            earned = dict(zip(new, self._asked(new), strict=True))
            found = [self._known[e] if e in self._known else earned[e] for e in solved]
            # A failure is not kept: the next call may be in time.
            self._known |= {each: got for each, got in earned.items() if got is not None}
            while len(self._known) > _CACHED_REWARDS:
                self._known.popitem(last=False)
        return found

    def _asked(self, solved: Sequence[Solved]) -> list[float | None]:
        try:
            replies = self._pool.ask([[astuple(part) for part in each] for each in solved])
        except WorkerError as error:
            said = str(error) or "it did not start"
            raise UserError(f"{self._path}: a worker process cannot load it: {said}") from None
        return [self._read(each[0], reply) for each, reply in zip(solved, replies, strict=True)]

    def _read(self, problem: Problem, reply: Any) -> float | None:
        """Returns the reward that a reply tells; None for a failure, which is shown."""
        if isinstance(reply, Lost):
            self._show(problem, "reward", reply.value, "")
        elif "reward" in reply:
            return float(reply["reward"])
        elif "failed" in reply:
            self._show(problem, reply["where"], reply["failed"], reply["traceback"])
        else:
            raise UserError(
                f"{self._path}: the reward of problem {problem.id} is {reply['invalid']} "
                f"({reply['type']}); return a number from 0 to 1"
            )
        return None

    def _show(self, problem: Problem, where: str, said: str, traceback: str) -> None:
        kind = (where, said.partition(":")[0])
        if kind in self._shown:
            return
        self._shown.add(kind)
        line = f"{self._path}: {where}: {said} (problem {problem.id}, which earns 0; shown once)"
        logged = bool(traceback) and self._log.parent.is_dir()
        if logged:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n{traceback}\n")
        rest = f"; traceback in {self._log}" if logged else f"\n{traceback}".rstrip()
        print(f"llamao1: {line}{rest}", file=sys.stderr)
