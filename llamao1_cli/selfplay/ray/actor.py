"""One self-play actor: an engine of its own, problems in, trees out.

It is a plain class that knows nothing of Ray. What it takes and returns is JSON, and the weights
are safetensors: no object of ours is pickled on the way.
"""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from llamao1_cli.config import Config, SearchConfig
from llamao1_cli.distributed.ranks import make_accelerator
from llamao1_cli.distributed.threads import set_threads
from llamao1_cli.errors import UserError
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay.player import make_player
from llamao1_cli.selfplay.ray.pipeline import Job
from llamao1_cli.selfplay.ray.weights import unpack_weights
from llamao1_cli.tasks.load import load_task
from llamao1_cli.value.protocol import judge_by

# Variables that tell a process its rank. A cluster that a rank starts inherits them.
RANK_NAMES = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
RANK_PREFIXES = ("ACCELERATE_", "FSDP_", "TORCHELASTIC_")


_JOBS = TypeAdapter(list[Job])


@dataclass(frozen=True)
class PlaySettings:
    """How the jobs of a chunk are to be played."""

    version: int  # of the weights; each set of weights that is sent has its own
    iteration: int  # of self-play that the weights belong to; the trees note it
    search: SearchConfig


class SelfPlayActor:
    """Plays chunks of jobs with the weights that come with them."""

    def __init__(self, config: str, folder: str) -> None:
        """`config` is the run's configuration as JSON, `folder` the one that its paths start from.

        Raises UserError where that is missing, and what `make_player` raises.
        """
        if not Path(folder).is_dir():
            raise UserError(f"self-play: {platform.node()} has no folder {folder}; share it")
        os.chdir(folder)
        _leave_ranks()
        settings = Config.model_validate_json(config)
        set_threads(settings.run)
        device = make_accelerator(settings.model.device).device
        self._player = make_player(settings, load_task(settings.task), device)
        self._version = 0  # of the weights in use; 0: those it was loaded with

    def ready(self) -> None:
        """Return once the actor can play."""

    def play(self, chunk: str, weights: np.ndarray) -> bytes:
        """Returns the rewarded trees of a chunk for `trees_from_json` to read; `weights` are bytes
        `[N]` of the chunk's version."""
        settings, jobs = _read_chunk(chunk)
        player = self._player
        if settings.version != self._version:
            unpack_weights(weights.tobytes(), player.language_model.model, player.value_function)
            player.engine.refresh()
            self._version = settings.version
        request = SearchRequest(
            [job.problem for job in jobs],
            settings.search,
            [job.seed for job in jobs],
            given=[job.given for job in jobs],
            rewards=player.verifier.rewards,
            judge=judge_by(player.value_function),
        )
        trees = grow(request, player.engine, player.language)
        for tree in trees:
            tree.iteration = settings.iteration
        return json.dumps([tree.to_json() for tree in trees]).encode()


def chunk_to_json(settings: PlaySettings, jobs: Sequence[Job]) -> str:
    """Returns jobs and how to play them, for an actor to read."""
    return json.dumps(
        {
            "version": settings.version,
            "iteration": settings.iteration,
            "search": settings.search.model_dump(mode="json"),
            "jobs": [asdict(job) for job in jobs],
        }
    )


def trees_from_json(data: bytes) -> list[Tree]:
    """Returns the trees that an actor sent back, in the order of their jobs."""
    return [Tree.from_json(tree) for tree in json.loads(data)]


def _leave_ranks() -> None:
    """Forget that this process has a rank in the trainer's launcher: an actor plays alone."""
    for name in list(os.environ):
        if name in RANK_NAMES or name.startswith(RANK_PREFIXES):
            del os.environ[name]


def _read_chunk(chunk: str) -> tuple[PlaySettings, list[Job]]:
    data = json.loads(chunk)
    search = SearchConfig.model_validate(data["search"])
    settings = PlaySettings(data["version"], data["iteration"], search)
    return settings, _JOBS.validate_python(data["jobs"])
