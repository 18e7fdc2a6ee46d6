"""The pool of actors on a Ray cluster, which Ray starts again wherever there is room for them."""

import math
import os
import signal
import socket
from collections.abc import Sequence
from typing import Any

import numpy as np

from llamao1_cli.config import SearchConfig, SelfPlayConfig
from llamao1_cli.errors import RunFailedError, UserError
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay.ray.actor import (
    PlaySettings,
    SelfPlayActor,
    chunk_to_json,
    trees_from_json,
)
from llamao1_cli.selfplay.ray.pipeline import Job

ANSWER_S = 10.0  # longest wait for a cluster to answer
START_S = 600.0  # longest wait for a first actor
MOST_STARTS = 5  # tries to start an actor that keeps dying


class RayPool:
    """Actors on a cluster; see `ActorPool`. It connects when `use` is first called."""

    def __init__(self, settings: SelfPlayConfig, config: str) -> None:
        """`config` is the run's configuration as JSON, which the actors read."""
        self._settings, self._config = settings, config
        self._depth = min(1 + settings.max_staleness, 2)  # one is played, the next is at hand
        self._load: dict[Any, int] = {}  # chunks of each actor that can play
        # Keys are Ray's references to results to come.
        self._starting: dict[Any, Any] = {}  # actors that cannot play yet
        self._chunks: dict[Any, tuple[Any, Sequence[Job]]] = {}  # chunks with their actors
        self._tries: dict[Any, int] = {}  # failed starts of each actor
        self._version = 0
        self._connected = self._ours = False

    def use(self, weights: bytes, iteration: int, search: SearchConfig) -> None:
        """Have chunks from now on played with these weights, those of a self-play iteration."""
        self._connect()
        import ray

        self._version += 1
        self._play_settings = PlaySettings(self._version, iteration, search)
        self._weights = ray.put(np.frombuffer(weights, np.uint8))

    def has_room(self) -> bool:
        """Returns whether an actor can take another chunk; see `ActorPool.has_room`."""
        return min(self._load.values(), default=self._depth) < self._depth

    def submit(self, jobs: Sequence[Job]) -> None:
        """Hand a chunk to the actor that has the fewest; see `ActorPool.submit`."""
        actor = min(self._load, key=lambda each: self._load[each])
        self._load[actor] += 1
        reference = actor.play.remote(chunk_to_json(self._play_settings, jobs), self._weights)
        self._chunks[reference] = (actor, jobs)

    def wait(self) -> list[tuple[Sequence[Job], list[Tree] | None]]:
        """Wait for a chunk or for an actor that starts; see `ActorPool.wait`.

        Raises UserError or RunFailedError where an actor cannot go on.
        """
        import ray

        alone = not self._chunks and not self._load
        done, _ = ray.wait(
            [*self._starting, *self._chunks], num_returns=1, timeout=START_S if alone else None
        )
        if not done:
            raise RunFailedError(
                f"self-play: no actor has started in {START_S:.0f} seconds; one needs "
                f"{self._settings.cpus:g} cores and {self._settings.gpus:g} GPUs "
                "that the cluster must have free"
            )
        if done[0] in self._starting:
            self._started(done[0])
            return []
        return [self._finished(done[0])]

    def close(self) -> None:
        """Stop the actors, and the cluster if it was started here."""
        if not self._connected:
            return
        import ray

        for actor in [*self._load, *self._starting.values()]:
            ray.kill(actor)
        self._load, self._starting, self._chunks = {}, {}, {}
        if self._ours:
            ray.shutdown()
        self._connected = False

    def _started(self, reference: Any) -> None:
        """Take in that an actor can play now, or has failed to start and must try again."""
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
            self._load[actor] = sum(owner == actor for owner, _ in self._chunks.values())

    def _finished(self, reference: Any) -> tuple[Sequence[Job], list[Tree] | None]:
        """Returns a chunk with its trees, or None for them if it was lost with its actor, which Ray
        starts again."""
        import ray

        actor, jobs = self._chunks.pop(reference)
        if actor in self._load:
            self._load[actor] -= 1
        try:
            return jobs, trees_from_json(ray.get(reference))
        except ray.exceptions.RayTaskError as error:
            kind = UserError if isinstance(error.cause, UserError) else RunFailedError
            raise kind(f"self-play: {_reason(error)}") from None
        except ray.exceptions.RayError:
            if self._load.pop(actor, None) is not None:
                self._start(actor)
            return jobs, None

    def _start(self, actor: Any) -> None:
        self._starting[actor.ready.remote()] = actor

    def _connect(self) -> None:
        if self._connected:
            return
        settings = self._settings
        _check_answers(settings.address or os.environ.get("RAY_ADDRESS", ""))
        import ray

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
            self._start(remote.remote(self._config, os.getcwd()))


def _check_answers(address: str) -> None:
    """Raise UserError unless something listens at HOST:PORT; Ray would try for minutes."""
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
    """Connect to a cluster, or start one here with at least so many cores."""
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
    except Exception as error:  # Ray raises errors of many classes, Exception among them
        raise UserError(
            f"self_play.address: {address or os.environ.get('RAY_ADDRESS') or 'this machine'}: Ray "
            f"does not start there ({' '.join(str(error).split())[:200]})"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, before)  # which Ray has replaced by its own


def _reason(error: Exception) -> str:
    """Returns the last line of an actor's error, which says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
