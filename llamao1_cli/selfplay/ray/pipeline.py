"""What is to be played, what is being played, and what has come back: every problem once.

The pipeline knows no Ray. A crew takes plays a chunk at a time and gives each chunk back once,
with its trees or lost; what is lost is handed out again, and so is what has become too old.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from llamao1_cli.errors import RunFailedError
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem

Key = tuple[int, int]  # iteration that a problem was drawn for, and its place there
MOST_LOSSES = 5  # actors that may die over one problem


@dataclass(frozen=True)
class Play:
    """A problem to play, and the seed of its tree."""

    key: Key
    problem: Problem
    seed: int


class Crew(Protocol):
    """Those who play."""

    def room(self) -> bool:
        """Whether another chunk can be taken now."""
        ...

    def submit(self, plays: Sequence[Play]) -> None:
        """Take a chunk; there must be room."""
        ...

    def wait(self) -> list[tuple[Sequence[Play], list[Tree] | None]]:
        """Wait until something has changed; gives the chunks that came back, each with its trees
        in order, or None where it was lost with the actor that played it."""
        ...


class Pipeline:
    """Hands plays out, oldest first, and gives their trees back, oldest first."""

    def __init__(self, crew: Crew, chunk: int, max_staleness: int) -> None:
        self._crew, self._chunk, self._max_staleness = crew, chunk, max_staleness
        self._waiting: deque[Play] = deque()
        self._playing: dict[Key, Play] = {}
        self._ready: dict[Key, tuple[Play, Tree]] = {}
        self._losses: Counter[Key] = Counter()
        self.dropped = self.replayed = 0  # trees too old, plays lost with an actor; so far

    def add(self, plays: Sequence[Play]) -> None:
        """Queue plays behind those that are there."""
        self._waiting.extend(plays)

    def outstanding(self) -> list[Key]:
        """The plays whose trees have not been collected, in order."""
        return sorted([*(play.key for play in self._waiting), *self._playing, *self._ready])

    def collect(
        self,
        count: int,
        number: int,
        on_turn: Callable[[list[Tree]], None] = lambda trees: None,
    ) -> list[Tree]:
        """The first `count` trees to come back, in the order of their plays; at least so many must
        be outstanding.

        A tree is too old if iteration `number` is more than the allowed staleness after that whose
        weights grew it. What is not collected goes on meanwhile.
        """
        self._drop_older(number - self._max_staleness)
        while len(self._ready) < count:
            self._hand_out()
            for plays, trees in self._crew.wait():
                self._take(plays, trees)
            self._drop_older(number - self._max_staleness)
            on_turn([tree for _, tree in self._ready.values()])
        self._hand_out()
        return [self._ready.pop(key)[1] for key in sorted(self._ready)[:count]]

    def _hand_out(self) -> None:
        while self._waiting and self._crew.room():
            size = min(self._chunk, len(self._waiting))
            plays = [self._waiting.popleft() for _ in range(size)]
            self._playing |= {play.key: play for play in plays}
            self._crew.submit(plays)

    def _take(self, plays: Sequence[Play], trees: list[Tree] | None) -> None:
        for play in plays:
            del self._playing[play.key]
        if trees is not None:
            self._ready |= {p.key: (p, t) for p, t in zip(plays, trees, strict=True)}
            return
        self.replayed += len(plays)
        self._losses.update(play.key for play in plays)
        for play in plays:
            if self._losses[play.key] == MOST_LOSSES:
                raise RunFailedError(
                    f"self-play: {MOST_LOSSES} actors died over problem {play.problem.id}; see the "
                    "logs of the Ray cluster"
                )
        self._again(plays)

    def _drop_older(self, iteration: int) -> None:
        old = [play for play, tree in self._ready.values() if tree.iteration < iteration]
        for play in old:
            del self._ready[play.key]
        self.dropped += len(old)
        self._again(old)

    def _again(self, plays: Sequence[Play]) -> None:
        """Put plays in front of all that wait, in order."""
        self._waiting.extendleft(sorted(plays, key=lambda play: play.key, reverse=True))
