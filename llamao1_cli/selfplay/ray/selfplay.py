"""Self-play by actors on a Ray cluster."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from accelerate import Accelerator

from llamao1_cli.config import RunConfig, SearchConfig, SelfPlayConfig
from llamao1_cli.distributed.interrupts import Interrupts
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.errors import UserError
from llamao1_cli.search.protocol import OnGrowth, unwatched
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay.local import SelfPlay, padded, play_seeds
from llamao1_cli.selfplay.player import Player
from llamao1_cli.selfplay.ray.pipeline import Job, Pipeline
from llamao1_cli.selfplay.ray.pool import RayPool
from llamao1_cli.selfplay.ray.weights import pack_weights
from llamao1_cli.tasks.problem import Problem
from llamao1_cli.tasks.rewards import Rewards


class RaySelfPlay(SelfPlay):
    """Has the iterations of self-play played by actors, which have verifiers of their own. What is
    played otherwise, such as an evaluation, the ranks play.

    Of several ranks the first alone has actors, and every rank gets the trees.
    """

    def __init__(
        self,
        player: Player,
        accelerator: Accelerator,
        pool: RayPool,
        settings: SelfPlayConfig,
        run: RunConfig,
        problems: int,
        interrupts: Interrupts | None = None,
    ) -> None:
        """`problems` is the number of problems of an iteration."""
        super().__init__(
            player.engine, player.language, accelerator, run.seed, player.value_function, interrupts
        )
        self._model, self._ahead = player.language_model.model, settings.max_staleness
        self._iterations = run.iterations
        chunk = settings.problems_at_once or math.ceil(problems / settings.actors)
        self._pool = pool
        self._pipeline = Pipeline(pool, chunk, settings.max_staleness)
        self._next: int | None = None  # iteration whose problems are handed out next
        self._owed: list[list[int]] = []  # keys of jobs that a resumed run had handed out
        self._reported = {"dropped_trees": 0.0, "replayed_trees": 0.0}
        self._staleness = 0.0

    def iterate(
        self,
        problems: Callable[[int], Sequence[Problem]],
        search: SearchConfig,
        number: int,
        *,
        begin: int = 0,
        given: Sequence[Sequence[Thought]] = (),
        rewards: Rewards,
        on_growth: OnGrowth = unwatched,
    ) -> list[Tree]:
        """Returns the trees of self-play iteration `number`; see `SelfPlay.iterate`.

        With staleness allowed they are the first to come back, some of problems drawn for a later
        iteration, and the actors play on when this returns.
        """
        whole = (self._model, self._value_function, self._accelerator)
        weights = None if begin else pack_weights(*whole)  # the actors have them already

        def collected() -> list[Tree]:
            if not self._accelerator.is_main_process:
                return []
            asked = problems(number)
            if weights is None:
                self._pipeline.add(self._jobs(asked, number, given)[begin:])
            else:
                self._pool.use(weights, number, search)
                self._add_problems(problems, number, given)
            count = min(len(asked) - begin, len(self._pipeline.outstanding()))
            return self._pipeline.collect(count, number, on_growth)

        trees = self._together(collected)
        self._staleness = sum(number - tree.iteration for tree in trees) / max(len(trees), 1)
        return trees

    def _add_problems(
        self,
        problems: Callable[[int], Sequence[Problem]],
        number: int,
        given: Sequence[Sequence[Thought]],
    ) -> None:
        """Queue what a resumed run owes, and problems as far ahead as allowed; none of iterations
        that were skipped."""
        self._next = max(self._next or number, number)
        for iteration, index in self._owed:
            jobs = self._jobs(problems(iteration), iteration)
            if index >= len(jobs):
                raise UserError(
                    f"--resume: the checkpoint owes problem {index} of iteration {iteration}, "
                    f"which has {len(jobs)}; use the data that the run was started with"
                )
            self._pipeline.add([jobs[index]])
        self._owed = []
        while self._next <= min(number + self._ahead, max(self._iterations, number)):
            own = given if self._next == number else ()
            self._pipeline.add(self._jobs(problems(self._next), self._next, own))
            self._next += 1

    def drain(self) -> dict[str, float]:
        """Returns the mean staleness of the last trees, and how many were dropped and replayed
        since the last call."""
        now = {
            "dropped_trees": float(self._pipeline.dropped),
            "replayed_trees": float(self._pipeline.replayed),
        }
        since = {name: now[name] - self._reported[name] for name in now}
        self._reported = now
        return {"staleness": self._staleness} | since

    def state(self) -> dict[str, Any]:
        """Returns the problems that are handed out and not yet learned from: those of iterations
        to come. In turn there are none, as an iteration that was interrupted is played again."""
        if not self._ahead:
            return {}
        return {"next": self._next, "outstanding": self._pipeline.outstanding()}

    def restore(self, state: dict[str, Any]) -> None:
        """Have the problems of `state` handed out again; see `SelfPlay.restore`."""
        self._next, self._owed = state.get("next"), state.get("outstanding", [])

    def close(self) -> None:
        """Stop the actors, and the cluster if it was started here."""
        self._pool.close()

    def _jobs(
        self,
        problems: Sequence[Problem],
        iteration: int,
        given: Sequence[Sequence[Thought]] = (),
    ) -> list[Job]:
        seeds = play_seeds(self._seed, iteration, len(problems))
        rows = zip(problems, seeds, padded(given, len(problems)), strict=True)
        return [
            Job((iteration, index), problem, seed, tuple(thoughts))
            for index, (problem, seed, thoughts) in enumerate(rows)
        ]
