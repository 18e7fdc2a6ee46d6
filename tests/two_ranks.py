"""Two ranks under torch's launcher, without the seconds that imports take: launcher and ranks are
forked from a process that has imported everything."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin
from chance_outcomes import take_chances
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from llamao1_cli.cli import main as cli
from llamao1_cli.errors import RunFailedError
from llamao1_cli.run import assembly, trainer

CONTEXT = multiprocessing.get_context("forkserver")
PRELOAD = ["llamao1_cli.run.commands", "torch.distributed.launcher.api", "torch.distributed.fsdp"]
CONTEXT.set_forkserver_preload([*PRELOAD, "transformers.models.llama.modeling_llama", "peft"])
LONGEST_S = 200.0


class Launched:
    """A launcher under way; its standard error and that of its ranks go into one file."""

    def __init__(self, errors: Path, rank: Callable[..., None], *arguments: Any) -> None:
        self._errors = errors
        self.process = CONTEXT.Process(target=_launcher, args=(errors, rank, arguments))
        self.process.start()

    def end(self) -> tuple[int, str]:
        """The launcher's exit code, once it is over, and what it and the ranks said."""
        self.process.join(LONGEST_S)
        assert self.process.exitcode is not None, self._errors.read_text()
        return self.process.exitcode, self._errors.read_text()


def _launcher(errors: Path, rank: Callable[..., None], arguments: Sequence[Any]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.stderr = os.fdopen(2, "w")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        run_id="two ranks",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method="fork",
        signals_to_handle="SIGTERM,SIGUSR1",
    )
    elastic_launch(config, rank)(*arguments)


def command_line(words: Sequence[str]) -> None:
    """A rank of `llamao1`."""
    sys.argv = ["llamao1", *words]
    cli.main()


def by_chance(words: Sequence[str]) -> None:
    """A rank of `llamao1` that takes outcomes by chance."""
    take_chances()
    command_line(words)


def sharding(device: str) -> Accelerator:
    """A rank that shards weights: accelerate does so on GPUs alone, and is told what a launcher
    there tells it."""
    accelerator = Accelerator(cpu=True)
    accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        reshard_after_forward=True,
        cpu_ram_efficient_loading=False,
    )
    return accelerator


def sharded(words: Sequence[str]) -> None:
    """A rank of `llamao1` whose weights are sharded."""
    assembly.make_accelerator = sharding
    command_line(words)


def zero(words: Sequence[str]) -> None:
    """A rank of `llamao1` under configs/accelerate/zero2.yaml."""
    launch_for_zero()
    command_line(words)


def launch_for_zero() -> None:
    """Tell this rank what accelerate's launcher would."""
    import deepspeed.ops

    os.environ |= {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}
    # On CPU DeepSpeed compiles an operation for itself, for minutes, that training never uses.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def failing(how: str, died: Path, words: Sequence[str]) -> None:
    """A rank of `llamao1`, of which rank 1 fails in iteration 2: by `kill`, or by an `error`."""
    learn_from = trainer.learn_from

    def fail(*arguments: Any, number: int, **options: Any) -> dict[str, float]:
        if number == 2 and os.environ["RANK"] == "1":
            died.write_text(str(time.time()))
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RunFailedError("rank 1 gave up")
        return learn_from(*arguments, number=number, **options)

    trainer.learn_from = fail
    command_line(words)
