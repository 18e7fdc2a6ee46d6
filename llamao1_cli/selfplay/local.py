"""Self-play: problems in, trees out, spread over the ranks of one run."""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from accelerate import Accelerator

from llamao1_cli.config import SearchConfig
from llamao1_cli.distributed.interrupts import Interrupts
from llamao1_cli.distributed.ranks import gather_bytes
from llamao1_cli.engine.protocol import Engine, Thought
from llamao1_cli.errors import InterruptedRunError
from llamao1_cli.language.protocol import Language
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.protocol import OnGrowth, unwatched
from llamao1_cli.search.refine.self_refine import Prefer, self_refine
from llamao1_cli.search.refine.solutions import Refinement
from llamao1_cli.search.tree import Tree
from llamao1_cli.seeds import derive_seed
from llamao1_cli.tasks.problem import Problem
from llamao1_cli.tasks.rewards import Rewards
from llamao1_cli.value.protocol import ValueFunction, judge_by


class SelfPlay:
    """Plays problems with one engine a rank, each its share of them.

    Every rank gets the trees of all. So what is computed from the whole, such as the scale of the
    advantages, is the same as on one rank.
    """

    def __init__(
        self,
        engine: Engine,
        language: Language,
        accelerator: Accelerator,
        seed: int,
        value_function: ValueFunction | None = None,
        interrupts: Interrupts | None = None,
    ) -> None:
        self._engine, self._language, self._value_function = engine, language, value_function
        self._accelerator, self._seed = accelerator, seed
        self._interrupts = interrupts or Interrupts()

    def play(self, request: SearchRequest, name: str | int) -> list[Tree]:
        """Returns a tree for each problem, in their order.

        `name` and the run's seed decide the samples, unless the request has seeds. Values come from
        the request's judge, and without one from the run's own value function.
        """
        mine = self._share(request, name)
        return self._together(lambda: grow(mine, self._engine, self._language))

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
        """Returns the rewarded trees of self-play iteration `number`, whose problems are
        `problems(number)`; of the first `begin` there are trees already. The trees of the first
        problems begin behind `given` thoughts."""
        asked = problems(number)
        request = SearchRequest(
            asked[begin:],
            search,
            play_seeds(self._seed, number, len(asked))[begin:],
            given=padded(given, len(asked))[begin:],
            rewards=rewards,
            on_growth=on_growth,
        )
        trees = self.play(request, number)
        for tree in trees:
            tree.iteration = number
        return trees

    def drain(self) -> dict[str, float]:
        """Returns the metrics of the last call of `iterate`; local play has none."""
        return {}

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint must keep of play under way; locally none ever is."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""

    def close(self) -> None:
        """Stop everything that was started to play."""

    def refine(
        self,
        request: SearchRequest,
        name: str | int,
        refinement: Refinement,
        prefer: Prefer | None,
    ) -> list[Tree]:
        """Returns a tree of solutions and rewritings for each problem, in order; see
        `self_refine`."""
        mine = self._share(request, name)
        return self._together(
            lambda: self_refine(mine, self._engine, self._language, refinement, prefer)
        )

    def _share(self, request: SearchRequest, name: str | int) -> SearchRequest:
        """Returns this rank's part of a request, with seeds and a judge."""
        rank, world = self._accelerator.process_index, self._accelerator.num_processes
        seeds = request.seeds or play_seeds(self._seed, name, len(request.problems))
        return replace(
            request,
            problems=request.problems[rank::world],
            seeds=seeds[rank::world],
            given=request.given[rank::world],
            judge=request.judge or judge_by(self._value_function),
        )

    def _together(self, grown: Callable[[], list[Tree]]) -> list[Tree]:
        """Returns the trees of all ranks in the problems' order. A signal to one rank stops all."""
        values = self._value_function
        reading = nullcontext() if values is None else values.whole()
        if self._accelerator.num_processes == 1:
            with reading:
                return grown()
        try:
            with reading, self._interrupts.alone():
                message = json.dumps([tree.to_json() for tree in grown()])
        except InterruptedRunError as stop:
            message = json.dumps(stop.signum)
        parts = [json.loads(data) for data in gather_bytes(self._accelerator, message.encode())]
        signals = [part for part in parts if isinstance(part, int)]
        if signals:
            raise InterruptedRunError(max(signals))
        turns = max(len(part) for part in parts)
        ordered = [part[turn] for turn in range(turns) for part in parts if turn < len(part)]
        return [Tree.from_json(data) for data in ordered]


def play_seeds(seed: int, name: str | int, count: int) -> list[int]:
    """Returns the seeds of the trees of `count` problems played under a name in a run of `seed`."""
    return [derive_seed(seed, "play", name, index) for index in range(count)]


def padded(given: Sequence[Sequence[Thought]], count: int) -> list[Sequence[Thought]]:
    """Returns what `count` trees begin behind: the first ones what is given, the others nothing."""
    return [*given, *[()] * (count - len(given))]
