"""Self-play whose iterations actors on a Ray cluster play."""

import importlib.util
import math
from collections.abc import Callable, Sequence
from typing import Any

from accelerate import Accelerator
from torch import nn

from llamao1_cli.config import Config, SearchConfig
from llamao1_cli.distributed.interrupts import Interrupts
from llamao1_cli.engine.protocol import Engine
from llamao1_cli.errors import UserError
from llamao1_cli.language.codec import Codec
from llamao1_cli.search.protocol import Grade
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay.local import SelfPlay, play_seeds
from llamao1_cli.selfplay.ray.crew import RayCrew
from llamao1_cli.selfplay.ray.pipeline import Pipeline, Play
from llamao1_cli.selfplay.ray.weights import pack_weights
from llamao1_cli.tasks.problem import Problem
from llamao1_cli.value.adapter import ValueAdapter
from llamao1_cli.value.head import ValueHead


class RaySelfPlay(SelfPlay):
    """Has the iterations of self-play played by actors on a cluster, which grade by graders of
    their own; all else the ranks play.

    Of several ranks the first alone has actors, and every rank gets the trees. Raises UserError
    where Ray is not installed.
    """

    def __init__(
        self,
        config: Config,
        model: nn.Module,
        engine: Engine,
        codec: Codec,
        accelerator: Accelerator,
        value_head: ValueHead | ValueAdapter | None,
        interrupts: Interrupts | None = None,
    ) -> None:
        if importlib.util.find_spec("ray") is None:
            raise UserError(
                "self_play.backend is ray, which is not installed: pip install 'llamao1-cli[ray]'"
            )
        super().__init__(engine, codec, accelerator, config.run.seed, value_head, interrupts)
        settings, problems = config.self_play, config.learn.problems
        self._model, self._ahead = model, settings.max_staleness
        self._iterations = config.run.iterations
        chunk = settings.problems_at_once or math.ceil(problems / settings.actors)
        self._crew = RayCrew(config)
        self._pipeline = Pipeline(self._crew, chunk, settings.max_staleness)
        self._next: int | None = None  # iteration whose problems are handed out next
        self._owed: list[list[int]] = []  # what a run that is resumed had handed out
        self._told = {"dropped_trees": 0.0, "replayed_trees": 0.0}
        self._staleness = 0.0

    def iterate(
        self,
        problems: Callable[[int], Sequence[Problem]],
        search: SearchConfig,
        number: int,
        *,
        grade: Grade,
        on_turn: Callable[[list[Tree]], None] = lambda trees: None,
    ) -> list[Tree]:
        """The trees of self-play iteration `number`; see `SelfPlay.iterate`.

        With staleness allowed they are the first to come back, some of problems drawn for a later
        iteration, and the actors play on when this returns.
        """
        weights = pack_weights(self._model, self._value_head, self._accelerator)

        def collected() -> list[Tree]:
            if not self._accelerator.is_main_process:
                return []
            self._crew.equip(weights, number, search)
            self._add_problems(problems, number)
            count = min(len(problems(number)), len(self._pipeline.outstanding()))
            return self._pipeline.collect(count, number, on_turn)

        trees = self._together(collected)
        self._staleness = sum(number - tree.iteration for tree in trees) / max(len(trees), 1)
        return trees

    def _add_problems(self, problems: Callable[[int], Sequence[Problem]], number: int) -> None:
        """Queue what a resumed run owes, and problems as far ahead as allowed. Iterations that were
        passed over are not played."""
        self._next = max(self._next or number, number)
        for iteration, place in self._owed:
            plays = self._plays(problems(iteration), iteration)
            if place >= len(plays):
                raise UserError(
                    f"--resume: the checkpoint owes problem {place} of iteration {iteration}, "
                    f"which has {len(plays)}; use the data that the run was started with"
                )
            self._pipeline.add([plays[place]])
        self._owed = []
        while self._next <= min(number + self._ahead, max(self._iterations, number)):
            self._pipeline.add(self._plays(problems(self._next), self._next))
            self._next += 1

    def drain(self) -> dict[str, float]:
        """Mean staleness of the last trees; what was dropped and replayed since the last call."""
        now = {
            "dropped_trees": float(self._pipeline.dropped),
            "replayed_trees": float(self._pipeline.replayed),
        }
        since = {name: now[name] - self._told[name] for name in now}
        self._told = now
        return {"staleness": self._staleness} | since

    def state(self) -> dict[str, Any]:
        """The problems that are handed out and not yet learned from."""
        return {"next": self._next, "outstanding": self._pipeline.outstanding()}

    def restore(self, state: dict[str, Any]) -> None:
        """Have the problems of `state` handed out again; see `SelfPlay.restore`."""
        self._next, self._owed = state.get("next"), state.get("outstanding", [])

    def close(self) -> None:
        """Let the actors go, and the cluster if it was started here."""
        self._crew.close()

    def _plays(self, problems: Sequence[Problem], iteration: int) -> list[Play]:
        seeds = play_seeds(self._seed, iteration, len(problems))
        return [
            Play((iteration, index), problem, seed)
            for index, (problem, seed) in enumerate(zip(problems, seeds, strict=True))
        ]
