"""What is compared: algorithms with settings of their own, at one or several learning rates."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llamao1_cli.config import Config, SearchConfig
from llamao1_cli.config.file import build_config
from llamao1_cli.config.registry import ALGORITHMS
from llamao1_cli.errors import UserError
from llamao1_cli.report.frame import format_number

ENDLESS = 1_000_000  # iterations: the budget ends a run, and its schedules follow the budget
RATE = "learn.learning_rate"


@dataclass(frozen=True)
class Budget:
    """What each run may spend on self-play and update; 0 means no limit."""

    seconds: float = 0.0
    tokens: int = 0

    @property
    def axis(self) -> str:
        """The cost over which areas are taken: tokens, unless seconds alone are limited."""
        return "tokens" if self.tokens else "seconds"

    @property
    def amount(self) -> float:
        """How much of that cost a run may spend."""
        return self.tokens or self.seconds


@dataclass(frozen=True)
class Variant:
    """What is compared: an algorithm, and settings of its own."""

    name: str
    algorithm: str
    overrides: tuple[str, ...] = ()  # each `section.key=value`
    rate: float | None = None  # its learning rate; None leaves the configured one

    @property
    def label(self) -> str:
        """Its name in folders, which tells its learning rate where several are tried."""
        return self.name if self.rate is None else f"{self.name}@{format_number(self.rate)}"


def named_algorithms(names: Sequence[str]) -> list[Variant]:
    """Returns the algorithms as they are configured; UserError for one that is not known."""
    unknown = [name for name in names if name not in ALGORITHMS]
    if unknown:
        raise UserError(f"--algorithms: {', '.join(unknown)}: give some of {', '.join(ALGORITHMS)}")
    return [Variant(name, name) for name in names]


def parse_variant(text: str) -> Variant:
    """Returns the variant of `NAME: ALGORITHM section.key=value …`; UserError for other texts."""
    name, _, rest = text.partition(":")
    algorithm, *overrides = rest.split() or [""]
    if not re.fullmatch(r"[\w.+-]+", name) or algorithm not in ALGORITHMS:
        raise UserError(
            f"--variant {text!r:.100}: expected 'NAME: ALGORITHM section.key=value …', such as "
            "'replay: rlsp replay.max_age=2 replay.alpha=0.6'"
        )
    return Variant(name, algorithm, tuple(overrides))


def at_rates(variants: Sequence[Variant], texts: Sequence[str]) -> list[Variant]:
    """Returns each variant at each of the learning rates, as it is where none is given.

    Raises UserError for what is no rate, and for a variant that sets its own.
    """
    rates = [_rate(text) for text in texts]
    for variant in variants:
        if rates and any(override.startswith(f"{RATE}=") for override in variant.overrides):
            raise UserError(f"--variant {variant.name}: sets {RATE}, as --rates does; drop one")
    if not rates:
        return [*variants]
    return [replace(variant, rate=rate) for variant in variants for rate in rates]


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise UserError(f"--rates: {text}: give learning rates above 0, such as 7.5e-5,1.5e-4,3e-4")
    return rate


def cell_config(
    config: Config, variant: Variant, seed: int, budget: Budget, folder: Path
) -> Config:
    """Returns the run of a variant on a seed.

    Flat algorithms sample as many independent solutions a problem as the trees have leaves at most
    on average, and train no ratings, as they are published; a variant's own settings come last.

    Raises UserError for settings that are not valid.
    """
    algorithm = variant.algorithm
    run = {
        "dir": str(folder),
        "seed": seed,
        "iterations": ENDLESS,
        "budget_seconds": budget.seconds,
        "budget_tokens": budget.tokens,
    }
    changes: dict[str, dict[str, object]] = {"run": run, "learn": {"algorithm": algorithm}}
    if variant.rate is not None:
        changes["learn"]["learning_rate"] = variant.rate
    if ALGORITHMS[algorithm].flat:
        chains = _solutions(config.search)
        independent = {"algorithm": "forks", "forks": 0.0, "chains": chains, "replacement": True}
        changes["search"] = independent
        changes["learn"]["value_weight"] = 0.0
        changes["replay"] = {"alpha": 0.0}  # its priorities are the errors of ratings
    if not ALGORITHMS[algorithm].plays:
        changes["eval"] = {"every": 0}  # its iterations are many and short: eval.points is enough
    settings = _changed(config, changes)
    return build_config(settings, f"--variant {variant.name}", [*variant.overrides])


def _solutions(search: SearchConfig) -> int:
    """Returns how many solutions a problem a search samples at most on average."""
    return (
        search.solutions if search.algorithm == "distinct" else search.chains + round(search.forks)
    )


def start_config(config: Config, seed: int, folder: Path) -> Config:
    """Returns the run that ends where all cells of a seed begin: after the warm-up."""
    run = {"dir": str(folder), "seed": seed, "iterations": 0}
    return Config.model_validate(_changed(config, {"run": run}))


def _changed(config: Config, changes: dict[str, dict[str, object]]) -> dict[str, Any]:
    """Returns the configuration's settings with `changes` to its sections, to be validated."""
    settings = config.model_dump()
    for section, values in changes.items():
        settings[section] |= values
    return settings
