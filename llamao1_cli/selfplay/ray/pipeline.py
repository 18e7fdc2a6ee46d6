"""Jobs that wait, jobs that are being played, and trees that have come back: every problem once.

The pipeline knows no Ray. A pool of actors takes jobs a chunk at a time and returns each chunk
once, with its trees or lost. Lost jobs are handed out again, as are those whose trees are too old.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llamao1_cli.engine.protocol import Thought
from llamao1_cli.errors import RunFailedError
from llamao1_cli.search.protocol import OnGrowth, unwatched
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem

Key = tuple[int, int]  # iteration that a problem was drawn for, and its index there
MOST_LOSSES = 5  # actors that may die over one problem


@dataclass(frozen=True)
class Job:
    """A problem to play, the seed of its tree, and the thoughts that the tree begins behind."""

    key: Key
    problem: Problem
    seed: int
    given: tuple[Thought, ...] = ()


class ActorPool(Protocol):
    """Actors that play."""

    def has_room(self) -> bool:
        """Returns whether an actor can take another chunk now."""
        ...

    def submit(self, jobs: Sequence[Job]) -> None:
        """Hand a chunk to an actor; there must be room."""
        ...

    def wait(self) -> list[tuple[Sequence[Job], list[Tree] | None]]:
        """Wait until something has changed; returns the chunks that came back, each with its trees
        in order, or None where it was lost with the actor that played it."""
        ...


class Pipeline:
    """Hands jobs out, oldest first, and returns their trees, oldest first."""

    def __init__(self, pool: ActorPool, chunk: int, max_staleness: int) -> None:
        self._pool, self._chunk, self._max_staleness = pool, chunk, max_staleness
        self._waiting: deque[Job] = deque()
        self._playing: dict[Key, Job] = {}
        self._ready: dict[Key, tuple[Job, Tree]] = {}
        self._losses: Counter[Key] = Counter()
        self.dropped = self.replayed = 0  # trees too old and jobs lost with an actor, so far

    def add(self, jobs: Sequence[Job]) -> None:
        """Queue jobs behind those that wait."""
        self._waiting.extend(jobs)

    def outstanding(self) -> list[Key]:
        """Returns the keys of the jobs whose trees have not been collected, in order."""
        return sorted([*(job.key for job in self._waiting), *self._playing, *self._ready])

    def collect(self, count: int, number: int, on_growth: OnGrowth = unwatched) -> list[Tree]:
        """Returns the first `count` trees to come back, in the order of their jobs; at least so
        many must be outstanding.

        A tree is too old if iteration `number` is more than the allowed staleness after that whose
        weights grew it. Jobs that are not collected now are played on.
        """
        self._drop_older(number - self._max_staleness)
        while len(self._ready) < count:
            self._hand_out()
            for jobs, trees in self._pool.wait():
                self._take(jobs, trees)
            self._drop_older(number - self._max_staleness)
            on_growth([tree for _, tree in self._ready.values()])
        self._hand_out()
        return [self._ready.pop(key)[1] for key in sorted(self._ready)[:count]]

    def _hand_out(self) -> None:
        while self._waiting and self._pool.has_room():
            size = min(self._chunk, len(self._waiting))
            jobs = [self._waiting.popleft() for _ in range(size)]
            self._playing |= {job.key: job for job in jobs}
            self._pool.submit(jobs)

    def _take(self, jobs: Sequence[Job], trees: list[Tree] | None) -> None:
        for job in jobs:
            del self._playing[job.key]
        if trees is not None:
            self._ready |= {job.key: (job, tree) for job, tree in zip(jobs, trees, strict=True)}
            return
        self.replayed += len(jobs)
        self._losses.update(job.key for job in jobs)
        for job in jobs:
            if self._losses[job.key] == MOST_LOSSES:
                raise RunFailedError(
                    f"self-play: {MOST_LOSSES} actors died over problem {job.problem.id}; see the "
                    "logs of the Ray cluster"
                )
        self._requeue(jobs)

    def _drop_older(self, iteration: int) -> None:
        old = [job for job, tree in self._ready.values() if tree.iteration < iteration]
        for job in old:
            del self._ready[job.key]
        self.dropped += len(old)
        self._requeue(old)

    def _requeue(self, jobs: Sequence[Job]) -> None:
        """Put jobs in front of all that wait, in order."""
        self._waiting.extendleft(sorted(jobs, key=lambda job: job.key, reverse=True))
