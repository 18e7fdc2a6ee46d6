"""One self-play actor: an engine of its own, problems in, trees out.

It is a plain class that knows nothing of Ray. What it is given and what it gives back is JSON, and
the weights are safetensors: no object of ours is pickled on the way.
"""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from llamao1_cli.config import Config, SearchConfig, SelfPlayConfig
from llamao1_cli.errors import UserError
from llamao1_cli.run.assembly import assemble
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay.local import own_judge
from llamao1_cli.selfplay.ray.pipeline import Play
from llamao1_cli.selfplay.ray.weights import unpack_weights
from llamao1_cli.tasks.problem import Problem

# What a launcher tells its ranks by. A cluster that one of them starts inherits it.
RANK = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
RANK_PREFIXES = ("ACCELERATE_", "FSDP_", "TORCHELASTIC_")


@dataclass(frozen=True)
class Order:
    """How the plays that come with it are to be played."""

    version: int  # of the weights; each set of weights that is sent has its own
    iteration: int  # of self-play, whose weights they are; the trees carry it
    search: SearchConfig


class SelfPlayActor:
    """Plays what it is handed with the weights that come along."""

    def __init__(self, config: str, folder: str) -> None:
        """`config` is the run's configuration as JSON, `folder` the one that its paths start from.

        Raises UserError where that is not there, and what `assemble` raises.
        """
        if not Path(folder).is_dir():
            raise UserError(f"self-play: {platform.node()} has no folder {folder}; share it")
        os.chdir(folder)
        _leave_ranks()
        alone = Config.model_validate_json(config).model_copy(
            update={"self_play": SelfPlayConfig()}
        )
        self._parts = assemble(alone)
        self._version = 0  # of the weights in use; 0: those it was loaded with

    def ready(self) -> None:
        """Answers once the actor can play."""

    def play(self, job: str, weights: np.ndarray) -> bytes:
        """The graded trees of a job, as `trees_from_json` reads them; `weights` are bytes
        `[N]` of the job's version."""
        order, problems, seeds = _read_job(job)
        parts = self._parts
        if order.version != self._version:
            unpack_weights(weights.tobytes(), parts.language_model.model, parts.value_head)
            parts.engine.refresh()
            self._version = order.version
        request = SearchRequest(
            problems,
            order.search,
            seeds,
            grade=parts.grader.grade,
            judge=own_judge(parts.value_head),
        )
        trees = grow(request, parts.engine, parts.codec)
        for tree in trees:
            tree.iteration = order.iteration
        return json.dumps([tree.to_json() for tree in trees]).encode()


def job_to_json(order: Order, plays: Sequence[Play]) -> str:
    """Plays and how to play them, as an actor takes them."""
    return json.dumps(
        {
            "version": order.version,
            "iteration": order.iteration,
            "search": order.search.model_dump(mode="json"),
            "problems": [asdict(play.problem) for play in plays],
            "seeds": [play.seed for play in plays],
        }
    )


def trees_from_json(data: bytes) -> list[Tree]:
    """The trees that an actor gave back, in the order of their plays."""
    return [Tree.from_json(tree) for tree in json.loads(data)]


def _leave_ranks() -> None:
    """Be no rank of the trainer: an actor plays alone."""
    for name in list(os.environ):
        if name in RANK or name.startswith(RANK_PREFIXES):
            del os.environ[name]


def _read_job(job: str) -> tuple[Order, list[Problem], list[int]]:
    data = json.loads(job)
    order = Order(data["version"], data["iteration"], SearchConfig.model_validate(data["search"]))
    return order, [Problem(**problem) for problem in data["problems"]], data["seeds"]
