"""The self-play that a configuration asks for."""

import importlib.util

from accelerate import Accelerator

from llamao1_cli.config import Config
from llamao1_cli.distributed.interrupts import Interrupts
from llamao1_cli.errors import UserError
from llamao1_cli.selfplay.local import SelfPlay
from llamao1_cli.selfplay.player import Player
from llamao1_cli.selfplay.ray.pool import RayPool
from llamao1_cli.selfplay.ray.selfplay import RaySelfPlay


def make_selfplay(
    config: Config, player: Player, accelerator: Accelerator, interrupts: Interrupts | None
) -> SelfPlay:
    """Returns self-play by the player alone, or with actors on a Ray cluster.

    Raises UserError where Ray is asked for and not installed.
    """
    if config.self_play.backend == "ray":
        if importlib.util.find_spec("ray") is None:
            raise UserError(
                "self_play.backend is ray, which is not installed: pip install 'llamao1-cli[ray]'"
            )
        pool = RayPool(config.self_play, config.model_dump_json())
        problems = config.learn.problems
        return RaySelfPlay(
            player, accelerator, pool, config.self_play, config.run, problems, interrupts
        )
    return SelfPlay(
        player.engine,
        player.language,
        accelerator,
        config.run.seed,
        player.value_function,
        interrupts,
    )
