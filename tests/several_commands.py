"""Runs several commands in one process, as a rank of those that a launcher started: the start costs
more than the commands. usage: several_commands.py FILE     a JSON list of argument lists

From a command on whose first argument is `sharded` the ranks shard their weights. accelerate does
so on GPUs alone; it is told what a launcher there tells it.
"""

import json
import sys
from pathlib import Path

from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin

from llamao1_cli import assembly
from llamao1_cli.cli import app


def sharding(device: str) -> Accelerator:
    accelerator = Accelerator(cpu=True)
    accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        reshard_after_forward=True,
        cpu_ram_efficient_loading=False,
    )
    return accelerator


for arguments in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
    if arguments[0] == "sharded":
        assembly.make_accelerator = sharding
        arguments.pop(0)
    app(arguments, standalone_mode=False)
