"""The crew on a Ray cluster: actors that play, restarted by Ray wherever there is room for them."""

import math
import os
import signal
import socket
from collections.abc import Sequence
from typing import Any

import numpy as np

from llamao1_cli.config import Config, SearchConfig
from llamao1_cli.errors import RunFailedError, UserError
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay.ray.pipeline import Play

ANSWER_S = 10.0  # longest wait for a cluster to answer
START_S = 600.0  # longest wait for a first actor
MOST_STARTS = 5  # tries to start an actor that keeps dying


class RayCrew:
    """Actors on a cluster; see `Crew`. It connects when it is first equipped."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._depth = min(1 + config.self_play.max_staleness, 2)  # one plays, the next is at hand
        self._load: dict[Any, int] = {}  # chunks of each actor that can play
        self._starting: dict[Any, Any] = {}  # actors that cannot yet, by what they will answer
        self._tries: dict[Any, int] = {}
        self._jobs: dict[Any, tuple[Any, Sequence[Play]]] = {}  # by what will come back
        self._version = 0
        self._connected = self._ours = False

    def equip(self, weights: bytes, iteration: int, search: SearchConfig) -> None:
        """What the chunks from now on are played with: weights, those of a self-play iteration."""
        from llamao1_cli.selfplay.ray.actor import Order

        self._connect()
        import ray

        self._version += 1
        self._order = Order(self._version, iteration, search)
        self._weights = ray.put(np.frombuffer(weights, np.uint8))

    def room(self) -> bool:
        """Whether some actor can take a chunk; see `Crew.room`."""
        return min(self._load.values(), default=self._depth) < self._depth

    def submit(self, plays: Sequence[Play]) -> None:
        """Hand a chunk to the actor that has the fewest; see `Crew.submit`."""
        from llamao1_cli.selfplay.ray.actor import job_to_json

        actor = min(self._load, key=lambda each: self._load[each])
        self._load[actor] += 1
        reference = actor.play.remote(job_to_json(self._order, plays), self._weights)
        self._jobs[reference] = (actor, plays)

    def wait(self) -> list[tuple[Sequence[Play], list[Tree] | None]]:
        """See `Crew.wait`. Raises UserError or RunFailedError where an actor cannot go on."""
        import ray

        alone = not self._jobs and not self._load
        done, _ = ray.wait(
            [*self._starting, *self._jobs], num_returns=1, timeout=START_S if alone else None
        )
        if not done:
            raise RunFailedError(
                f"self-play: no actor has started in {START_S:.0f} seconds; one needs "
                f"{self._config.self_play.cpus:g} cores and {self._config.self_play.gpus:g} GPUs "
                "that the cluster must have free"
            )
        if done[0] in self._starting:
            self._started(done[0])
            return []
        return [self._finished(done[0])]

    def close(self) -> None:
        """Let the actors go, and the cluster if it was started here."""
        if not self._connected:
            return
        import ray

        for actor in [*self._load, *self._starting.values()]:
            ray.kill(actor)
        self._load, self._starting, self._jobs = {}, {}, {}
        if self._ours:
            ray.shutdown()
        self._connected = False

    def _started(self, reference: Any) -> None:
        """An actor that was starting can play now, or has failed to start."""
        import ray

        actor = self._starting.pop(reference)
        try:
            ray.get(reference)
        except ray.exceptions.RayError as error:
            self._tries[actor] = self._tries.get(actor, 0) + 1
            if self._tries[actor] >= MOST_STARTS:
                raise RunFailedError(
                    f"self-play: an actor cannot start: {_reason(error)}"
                ) from None
            self._start(actor)
        else:
            self._tries.pop(actor, None)
            self._load[actor] = sum(owner == actor for owner, _ in self._jobs.values())

    def _finished(self, reference: Any) -> tuple[Sequence[Play], list[Tree] | None]:
        """A chunk with its trees, or lost; its actor is started again by Ray."""
        import ray

        from llamao1_cli.selfplay.ray.actor import trees_from_json

        actor, plays = self._jobs.pop(reference)
        if actor in self._load:
            self._load[actor] -= 1
        try:
            return plays, trees_from_json(ray.get(reference))
        except ray.exceptions.RayTaskError as error:
            kind = UserError if isinstance(error.cause, UserError) else RunFailedError
            raise kind(f"self-play: {_reason(error)}") from None
        except ray.exceptions.RayError:
            if self._load.pop(actor, None) is not None:
                self._start(actor)
            return plays, None

    def _start(self, actor: Any) -> None:
        self._starting[actor.ready.remote()] = actor

    def _connect(self) -> None:
        if self._connected:
            return
        settings = self._config.self_play
        _check_answers(settings.address or os.environ.get("RAY_ADDRESS", ""))
        import ray

        from llamao1_cli.selfplay.ray.actor import SelfPlayActor

        if not ray.is_initialized():
            _initialise(settings.address, math.ceil(settings.actors * settings.cpus))
            self._ours = True
        self._connected = True
        remote = ray.remote(SelfPlayActor).options(
            num_cpus=settings.cpus,
            num_gpus=settings.gpus,
            max_restarts=-1,
            scheduling_strategy="SPREAD",
        )
        for _ in range(settings.actors):
            self._start(remote.remote(self._config.model_dump_json(), os.getcwd()))


def _check_answers(address: str) -> None:
    """UserError unless something listens at HOST:PORT; Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"self_play.address: no Ray cluster at {address} ({error}); start one with "
            "`ray start --head`, or name another"
        ) from None


def _initialise(address: str | None, cpus: int) -> None:
    """Connect to a cluster, or start one here that has at least so many places for actors."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    before = signal.getsignal(signal.SIGTERM)
    try:
        if address or os.environ.get("RAY_ADDRESS"):
            ray.init(address=address, **quiet)
        else:
            cores = max(cpus, os.cpu_count() or 1)
            ray.init(address="local", num_cpus=cores, include_dashboard=False, **quiet)
    except Exception as error:  # Ray's own are of many classes, one of them this
        raise UserError(
            f"self_play.address: {address or os.environ.get('RAY_ADDRESS') or 'this machine'}: Ray "
            f"does not start there ({' '.join(str(error).split())[:200]})"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, before)  # Ray puts a handler of its own in its place


def _reason(error: Exception) -> str:
    """The last line of what went wrong in an actor, which names it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
