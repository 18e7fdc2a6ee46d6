"""One iteration's optimizer steps, on trees drawn from the replay."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
from accelerate import Accelerator

from llamao1_cli.config import LearnConfig, ReplayConfig
from llamao1_cli.distributed.optimizer_step import ramp_and_line
from llamao1_cli.learn.experience import Experience
from llamao1_cli.learn.experience_arrays import collect
from llamao1_cli.learn.replay import Replay
from llamao1_cli.learn.update import Updater

# Told of the number of steps ahead; inside, what it yields is told of each with a note.
Watch = Callable[[int], AbstractContextManager[Callable[[str], None]]]


def learn_from(
    replay: Replay[Experience],
    updater: Updater,
    accelerator: Accelerator,
    config: LearnConfig,
    settings: ReplayConfig,
    seed: int,
    *,
    fresh: int,
    number: int,
    progress: float,
    watch: Watch,
) -> dict[str, float]:
    """Take the optimizer steps of iteration `number`; returns their mean metrics, {} if there is
    nothing to draw.

    `fresh` trees are new; `progress` in [0, 1] is the share of the run that is over, which the
    learning rate and the replay's beta follow. Priorities are brought up to date. Every rank draws
    alike, and its shard gives to a batch what it has of it.
    """
    draws = round(settings.draws * fresh)
    if not draws:
        return {}
    beta = settings.beta + (1 - settings.beta) * progress
    rng = np.random.default_rng([seed, 4, number])
    serials, weights = replay.sample(draws, beta, rng)
    rate = learning_rate(config, number, progress)
    steps, begins = [], range(0, draws, config.batch_size)
    with watch(len(begins)) as advance:
        for begin in begins:
            batch = serials[begin : begin + config.batch_size].tolist()
            items = collect(accelerator, replay.items, batch)
            name = f"iteration {number}, trees {batch}"
            metrics, errors = updater.step(
                items, weights[begin : begin + len(batch)], rate, name, number
            )
            replay.update(batch, errors.tolist())
            steps.append(metrics)
            advance(f"loss {metrics['policy_loss']:.3f}")
    ages = [number - replay.iterations[serial] for serial in serials.tolist()]
    return _mean_metrics(steps) | {
        # Before the first step only rollout and trainer differ: their types, their kernels.
        "rollout_mismatch": steps[0]["logprob_gap"],
        "replay_age": float(np.mean(ages)),
        "steps": float(len(steps)),
    }


def learning_rate(config: LearnConfig, number: int, progress: float) -> float:
    """Returns the learning rate of iteration `number` when `progress` of the run is over."""
    return config.learning_rate * ramp_and_line(
        number, config.ramp_iterations, progress, config.final_rate
    )


def _mean_metrics(steps: list[dict[str, float]]) -> dict[str, float]:
    names = steps[0].keys() - {"logprob_gap"}
    means = {name: float(np.mean([step[name] for step in steps])) for name in sorted(names)}
    return means | {"log_ratio_max": max(step["log_ratio_max"] for step in steps)}
