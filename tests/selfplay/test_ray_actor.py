"""What travels between trainer and actors, and an actor without a cluster."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from chance_outcomes import SETTINGS, has_signal, mean_success
from command_line import InProcess
from safetensors.torch import load
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from llamao1_cli.config import Config, SearchConfig, SelfPlayConfig
from llamao1_cli.config.file import load_config
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.errors import InterruptedRunError, UserError
from llamao1_cli.run import commands, tree_source
from llamao1_cli.run.assembly import Parts, assemble
from llamao1_cli.search.grow import SearchRequest
from llamao1_cli.search.pending import TokenBudget
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay.local import padded, play_seeds
from llamao1_cli.selfplay.ray.actor import (
    PlaySettings,
    SelfPlayActor,
    chunk_to_json,
    trees_from_json,
)
from llamao1_cli.selfplay.ray.pipeline import Job
from llamao1_cli.selfplay.ray.pool import RayPool
from llamao1_cli.selfplay.ray.weights import pack_weights, unpack_weights
from llamao1_cli.value.adapter import ValueAdapter

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"
LORA = "model.lora={rank: 2, alpha: 4}"


def tiny(*overrides: str) -> Config:
    return load_config(TINY, ["run.dir=unused", *overrides])


def disturb(parts: Parts) -> None:
    """Other weights everywhere that training would change."""
    generator = torch.Generator().manual_seed(3)
    weights = [p for p in parts.language_model.model.parameters() if p.requires_grad]
    head = parts.value_function
    weights += list(head.weights.values() if isinstance(head, ValueAdapter) else head.parameters())
    with torch.no_grad():
        for weight in weights:
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)


@pytest.mark.parametrize("overrides", [[], ["value_head.kind=adapter", LORA]], ids=str)
def test_an_actor_grows_the_trees_that_the_trainer_would(overrides: list[str]) -> None:
    config = tiny(*overrides)
    parts = assemble(config)
    actor = SelfPlayActor(config.model_dump_json(), ".")
    problems, given = parts.task.train_problems(0, 1, 3), list[tuple[Thought, ...]]()
    with parts.verifier:
        for version in (1, 2):
            disturb(parts)
            parts.engine.refresh()
            expected = parts.selfplay.iterate(
                lambda number: problems,
                config.search,
                version,
                given=given,
                rewards=parts.verifier.rewards,
            )
            rows = zip(problems, play_seeds(0, version, 3), padded(given, 3), strict=True)
            jobs = [Job((version, i), *row) for i, row in enumerate(rows)]
            weights = pack_weights(
                parts.language_model.model, parts.value_function, parts.accelerator
            )
            chunk = chunk_to_json(PlaySettings(version, version, config.search), jobs)
            data = actor.play(chunk, np.frombuffer(weights, np.uint8))
            assert json.loads(data)[0]["iteration"] == version
            assert trees_from_json(data) == expected
            # The next trees begin behind what the first one says.
            path = expected[0].path(next(expected[0].leaf_nodes()))
            given = [tuple(node.thought for node in path[1:-1])]


class PoolHere:
    """A pool of one actor that is an object of this process."""

    def __init__(self, settings: SelfPlayConfig, config: str) -> None:
        self._actor = SelfPlayActor(config, ".")
        self._chunk: Sequence[Job] = []
        self._version = 0

    def use(self, weights: bytes, iteration: int, search: SearchConfig) -> None:
        self._version += 1
        self._settings = PlaySettings(self._version, iteration, search)
        self._weights = weights

    def has_room(self) -> bool:
        return not self._chunk

    def submit(self, jobs: Sequence[Job]) -> None:
        self._chunk = jobs

    def wait(self) -> list[tuple[Sequence[Job], list[Tree] | None]]:
        jobs, self._chunk = self._chunk, []
        chunk = chunk_to_json(self._settings, jobs)
        trees = trees_from_json(self._actor.play(chunk, np.frombuffer(self._weights, np.uint8)))
        return [(jobs, trees)]

    def close(self) -> None:
        pass


def test_files_of_self_play_are_the_same_by_actors_and_when_some_are_missing(
    main: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr("llamao1_cli.selfplay.make.RayPool", PoolHere)
    command = ["self-play", "--config", TINY, "--set", "run.iterations=3"]
    command += ["--set", "learn.problems=2"]
    assert main(*command, "--out", tmp_path / "here").returncode == 0
    command += ["--set", "self_play.backend=ray", "--set", "self_play.max_staleness=2"]
    command += ["--out", tmp_path / "ray"]
    assert main(*command).returncode == 0
    files = [file.read_bytes() for file in sorted((tmp_path / "here").iterdir())]
    assert len(files) == 3
    assert [file.read_bytes() for file in sorted((tmp_path / "ray").iterdir())] == files
    for number in (1, 3):
        (tmp_path / "ray" / f"iteration-{number:06d}.jsonl").unlink()
    assert main(*command, "--resume").returncode == 0
    assert [file.read_bytes() for file in sorted((tmp_path / "ray").iterdir())] == files


def test_actors_play_the_rounds_and_levels_of_local_play_and_resume_within_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr("llamao1_cli.selfplay.make.RayPool", PoolHere)
    monkeypatch.setattr(tree_source, "has_signal", has_signal)
    monkeypatch.setattr(tree_source, "mean_success", mean_success)
    settings = [*SETTINGS, "run.iterations=3", "run.checkpoint_every=9"]
    settings += ["eval.strategies=[greedy]", "eval.problems=1"]

    def train(name: str, *overrides: str, resume: bool = False) -> list[bytes]:
        config = tiny(*settings, *overrides, f"run.dir={tmp_path / name}")
        commands.train(config, trees=None, resume=resume, overwrite=False)
        return [file.read_bytes() for file in sorted((tmp_path / name / "trees").iterdir())]

    here = train("here")
    assert train("ray", "self_play.backend=ray") == here
    submit = PoolHere.submit

    def stop(self: PoolHere, jobs: Sequence[Job]) -> None:
        submit(self, jobs)
        if jobs[0].key[0] == 2 and jobs[0].key[1] > 0:  # a later round
            raise InterruptedRunError(15)

    with monkeypatch.context() as patch:
        patch.setattr(PoolHere, "submit", stop)
        with pytest.raises(InterruptedRunError):
            train("stopped", "self_play.backend=ray")
    assert train("stopped", "self_play.backend=ray", resume=True) == here


def test_of_lora_the_adapter_alone_travels() -> None:
    parts = assemble(tiny(LORA))
    model = parts.language_model.model
    weights = load(pack_weights(model, None, parts.accelerator))
    assert all(".lora_" in name or "trainable_tokens" in name for name in weights)
    whole = sum(p.numel() for p in model.parameters())
    assert sum(weight.numel() for weight in weights.values()) < whole / 2


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    """A process group of this process alone."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def test_sharded_weights_travel_whole(mesh: DeviceMesh) -> None:
    parts = assemble(tiny())
    model = parts.language_model.model
    plain = load(pack_weights(model, parts.value_function, parts.accelerator))
    fully_shard(model, mesh=mesh)
    assert any(isinstance(weight, DTensor) for weight in model.parameters())
    sharded = load(pack_weights(model, parts.value_function, parts.accelerator))
    assert plain.keys() == sharded.keys()
    assert all(torch.equal(plain[name], sharded[name]) for name in plain)


def test_what_self_play_alone_does_not_play_is_played_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    here, ray = assemble(tiny()), assemble(tiny("self_play.backend=ray"))
    problems, trees = here.task.train_problems(0, 1, 2), []
    for parts in (here, ray):
        with parts.verifier as verifier:
            request = SearchRequest(
                problems, parts.config.search, rewards=verifier.rewards, budget=TokenBudget(20)
            )
            trees.append(parts.selfplay.play(request, "limited"))
    assert trees[0] == trees[1]


def test_problems_that_are_owed_and_are_not_there_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr(RayPool, "use", lambda *weights: None)
    parts = assemble(tiny("self_play.backend=ray"))
    parts.selfplay.restore({"next": 3, "outstanding": [[2, 4]]})
    with pytest.raises(UserError, match="problem 4 of iteration 2, which has 4"):
        parts.selfplay.iterate(
            lambda number: parts.task.train_problems(0, number, 4),
            parts.config.search,
            3,
            rewards=parts.verifier.rewards,
        )


def test_weights_of_another_model_are_refused() -> None:
    one, other = assemble(tiny()), assemble(tiny(LORA))
    data = pack_weights(one.language_model.model, one.value_function, one.accelerator)
    with pytest.raises(ValueError, match="another model"):
        unpack_weights(data, other.language_model.model, other.value_function)


def test_an_actor_is_no_rank_of_the_launcher_that_it_inherits_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "ACCELERATE_USE_FSDP": "true"}.items():
        monkeypatch.setenv(name, value)
    SelfPlayActor(tiny().model_dump_json(), ".")  # as a rank it would be refused, or wait
    assert not {"WORLD_SIZE", "RANK", "ACCELERATE_USE_FSDP"} & os.environ.keys()


def test_a_node_without_the_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder .*missing"):
        SelfPlayActor(tiny().model_dump_json(), str(tmp_path / "missing"))


def test_a_cluster_that_is_not_there_is_named() -> None:
    config = tiny("self_play.backend=ray", "self_play.address=127.0.0.1:1")
    with pytest.raises(UserError, match=r"self_play\.address: no Ray cluster at 127\.0\.0\.1:1"):
        RayPool(config.self_play, "").use(b"", 1, config.search)


@pytest.mark.parametrize("error", [Exception, ConnectionError, RuntimeError])
def test_a_cluster_that_does_not_start_here_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def init(**settings: object) -> None:
        raise error("The current node timed out during startup.")

    ray = SimpleNamespace(init=init, is_initialized=lambda: False)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(UserError, match=r"this machine: Ray does not start there \(The current"):
        RayPool(tiny("self_play.backend=ray").self_play, "").use(b"", 1, SearchConfig())


def test_only_actors_can_play_ahead() -> None:
    for override in ("self_play.max_staleness=1", "self_play.actors=2"):
        with pytest.raises(UserError, match="backend: ray"):
            tiny(override)


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"llamao1-cli\[ray\]"):
        assemble(tiny("self_play.backend=ray"))
