"""Self-play on a real Ray cluster of several nodes; run by `scripts/test_ray.sh`, where Ray is."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sleeping_actor
from safetensors.numpy import load_file

from llamao1_cli.config import Config
from llamao1_cli.config.file import load_config
from llamao1_cli.errors import InterruptedRunError, RunFailedError, UserError
from llamao1_cli.report.display import Display
from llamao1_cli.run import commands
from llamao1_cli.seeds import derive_seed
from llamao1_cli.selfplay.ray.pipeline import Job, Pipeline
from llamao1_cli.selfplay.ray.pool import RayPool
from llamao1_cli.tasks.problem import Problem

ROOT = Path(__file__).parents[2]
TINY = ROOT / "configs" / "tiny.yaml"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]
STATE = ("model/model.safetensors", "optimizer.safetensors", "replay-0.safetensors")
NODE = {"num_cpus": 2, "object_store_memory": 100 * 2**20, "include_log_monitor": False}
PORTS = (
    "dashboard_agent_listen_port",
    "metrics_agent_port",
    "metrics_export_port",
    "runtime_env_agent_port",
)


def node() -> dict[str, Any]:
    """What a node is started with. One that is not told its agents' ports waits for the agents to
    tell theirs, and on a busy machine gives up."""
    with ExitStack() as open_sockets:
        found = [open_sockets.enter_context(socket.create_server(("", 0))) for _ in PORTS]
        ports = [each.getsockname()[1] for each in found]
    return {**NODE, **dict(zip(PORTS, ports, strict=True))}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with room for two actors each. On a busy machine Ray's workers, which otherwise
    give way to all else, have their share, and time to come up."""
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_prestart_worker_first_driver": "0",
        "RAY_worker_niceness": "0",
        "RAY_worker_register_timeout_seconds": "600",
    }
    import ray
    from ray.cluster_utils import Cluster

    head = {**node(), "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(**node())
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def tiny(folder: Path, *overrides: str) -> Config:
    return load_config(TINY, [f"run.dir={folder}", "eval.strategies=[greedy]", *overrides])


def on_ray(folder: Path, *overrides: str) -> Config:
    return tiny(folder, "self_play.backend=ray", *overrides)


def fit(config: Config, *, resume: bool = False) -> None:
    commands.train(config, trees=None, resume=resume, overwrite=False)


def rows(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["stage"] == "self-play"]


def trees(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "trees").iterdir())
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def all_seeds(iterations: int, problems: int) -> list[int]:
    """The seeds of all trees of a run, each of one problem."""
    numbers = range(1, iterations + 1)
    return sorted(derive_seed(0, "play", n, i) for n in numbers for i in range(problems))


@pytest.mark.parametrize("extra", [[], ["model.lora={rank: 2, alpha: 4}"]], ids=["full", "lora"])
def test_one_actor_in_turn_does_what_local_play_does(
    cluster: Any, tmp_path: Path, extra: list[str]
) -> None:
    fit(tiny(tmp_path / "local", *extra))
    fit(on_ray(tmp_path / "ray", *extra))
    for file in sorted((tmp_path / "local" / "trees").iterdir()):
        assert file.read_bytes() == (tmp_path / "ray" / "trees" / file.name).read_bytes()
    weights = "model/adapter_model.safetensors" if extra else STATE[0]
    for name in (weights, *STATE[1:], "model/value_head/weights.safetensors"):
        one, other = (
            load_file(tmp_path / run / "checkpoints" / "iteration-000002" / name)
            for run in ("local", "ray")
        )
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) for key in one), name


def test_actors_play_ahead_and_every_problem_is_learned_from_once(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    settings = ["self_play.actors=2", "self_play.max_staleness=1", "self_play.problems_at_once=2"]
    settings += ["learn.problems=6", "run.iterations=4"]
    shown = Display.iteration

    def iteration(self: Display, number: int, *rest: Any) -> None:
        shown(self, number, *rest)
        if number == 1:
            os.kill(actor_processes()[0], signal.SIGKILL)
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Display, "iteration", iteration)
        with pytest.raises(InterruptedRunError):
            fit(on_ray(run, *settings))
    fit(on_ray(run, *settings), resume=True)
    assert sorted(tree["seed"] for tree in trees(run)) == all_seeds(4, 6)
    figures = rows(run)
    assert [row["step"] for row in figures] == [1, 2, 3, 4]
    assert all(row["staleness"] <= 1 for row in figures)
    assert sum(row["staleness"] for row in figures) > 0  # or nothing was played ahead


def test_two_ranks_learn_from_what_the_actors_play(cluster: Any, tmp_path: Path) -> None:
    settings = ["run.iterations=1", "warmup=null"]
    fit(tiny(tmp_path / "local", *settings))
    settings += [f"run.dir={tmp_path / 'ranks'}", "eval.strategies=[greedy]"]
    settings += ["self_play.backend=ray", f"self_play.address={cluster.address}"]
    command = [str(Path(sys.executable).parent / "torchrun"), "--standalone", "--nproc_per_node=2"]
    command += ["-m", "llamao1_cli", "train", "--config", str(TINY)]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    one, two = (tmp_path / run / "trees" / "iteration-000001.jsonl" for run in ("local", "ranks"))
    assert one.read_bytes() == two.read_bytes()


@pytest.fixture
def sleeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Actors that sleep for the time of a rollout: how the work is shared out does not depend on
    what the actors do, and this machine may have a single core."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sleeping_actor)
    monkeypatch.setattr("llamao1_cli.selfplay.ray.pool.SelfPlayActor", sleeping_actor.SleepingActor)


def sleepers(config: Config, chunk: int = 1) -> tuple[RayPool, Pipeline]:
    """A pool whose actors all play, and its pipeline."""
    pool = RayPool(config.self_play, config.model_dump_json())
    pool.use(b"weights", 1, config.search)
    pipeline = Pipeline(pool, chunk, config.self_play.max_staleness)
    seen: set[int] = set()
    for turn in range(100):
        pipeline.add(jobs(-turn, 4))
        seen |= {tree.judging_tokens for tree in pipeline.collect(4, 1)}
        if len(seen) == config.self_play.actors:
            return pool, pipeline
    raise AssertionError("the actors did not all start")


def jobs(iteration: int, count: int) -> list[Job]:
    return [
        Job((iteration, i), Problem(str(i), "?", "1"), 1000 * iteration + i) for i in range(count)
    ]


def test_throughput_rises_with_actors(cluster: Any, sleeping: None) -> None:
    seconds = {}
    for actors in (1, 2, 4):
        pool, pipeline = sleepers(on_ray(Path("unused"), f"self_play.actors={actors}"))
        pipeline.add(jobs(1, 16))
        start = time.perf_counter()
        pipeline.collect(16, 1)
        seconds[actors] = time.perf_counter() - start
        pool.close()
    print("simulated rollouts:", {n: f"{16 / s:.2f} problems/s" for n, s in seconds.items()})
    assert seconds[1] > 1.5 * seconds[2]
    assert seconds[2] > 1.4 * seconds[4]


def test_a_killed_actor_and_a_killed_node_are_replaced(cluster: Any, sleeping: None) -> None:
    """An actor dies while it plays, then a whole node with another."""
    third = cluster.add_node(**node())
    config = on_ray(
        Path("unused"),
        "self_play.actors=3",
        "self_play.max_staleness=1",
    )
    pool, pipeline = sleepers(config)
    pipeline.add(jobs(1, 6))
    collected, dead = [], None
    for number in range(1, 7):
        pool.use(b"weights", number, config.search)
        if number < 6:
            pipeline.add(jobs(number + 1, 6))
        if number == 2:
            dead = actor_processes()[0]
            os.kill(dead, signal.SIGKILL)
        if number == 4:
            cluster.remove_node(third, allow_graceful=False)
        trees = pipeline.collect(6, number)
        assert all(0 <= number - tree.iteration <= 1 for tree in trees)
        collected += trees
    assert pipeline.outstanding() == []
    seeds = sorted(tree.seed for tree in collected)
    assert seeds == [job.seed for number in range(1, 7) for job in jobs(number, 6)]
    assert pipeline.replayed >= 1  # what the dead had
    wait_for(lambda: len(actor_processes()) == 3)
    assert dead not in actor_processes()
    pool.close()


def test_an_actor_that_cannot_play_says_why(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises((UserError, RunFailedError), match=r"engine\.memory_gib"):
        fit(on_ray(tmp_path / "run", "engine.memory_gib=1e-6", "warmup=null"))


def actor_processes() -> list[int]:
    """Processes of self-play actors on this machine; Ray names them."""
    names = (b"ray::SelfPlayActor", b"ray::SleepingActor")
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if file.read_bytes().startswith(names):
                found.append(int(file.parent.name))
    return sorted(found)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
