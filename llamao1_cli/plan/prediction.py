"""Seconds an iteration by layout, from rates measured on one device; pure arithmetic.

A rollout of n problems takes `start + n * each`: the depth of the search costs the same however
many trees grow side by side. Everything else is proportional to the trees it handles. It is
ideal in what it cannot know: trees that finish last, and GPUs of different speeds, are left out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rates:
    """What one device was measured to take, in seconds."""

    start: float  # of a rollout, however few problems it has
    each: float  # of a rollout for each problem, grading included
    update: float  # of the update for each tree drawn
    rest: float  # of an iteration beside both: value head, weights, trees written; not saving
    tokens: float  # generated for each problem
    tree_bytes: float  # of a tree's experience in the replay
    signal: float = 1.0  # share of the problems whose trees have a signal


@dataclass(frozen=True)
class Work:
    """What an iteration has to do, and what it sends."""

    problems: int
    draws: float  # trees drawn for each problem
    batch_size: int  # trees an optimizer step
    gradient_bytes: int  # summed over the ranks every step
    weight_bytes: int  # sent to every actor once an iteration
    bandwidth: float  # bytes a second between two machines
    resample_limit: int | None = None  # None: problems without a signal are not replaced

    def rounds(self, signal: float) -> list[int]:
        """Returns how many problems each round of an iteration plays, one round unless problems
        without a signal are replaced; `signal` is the share of those that have one."""
        sizes = [self.problems]
        most = self.problems * (self.resample_limit or 1)
        while lacking := min(self.problems - _rounded(signal * sum(sizes)), most - sum(sizes)):
            sizes.append(lacking)
        return sizes

    def taught(self, signal: float) -> int:
        """Returns how many trees an iteration learns from."""
        replaces = self.resample_limit is not None
        return _rounded(signal * sum(self.rounds(signal))) if replaces else self.problems


@dataclass(frozen=True)
class Layout:
    """Ranks that learn, and actors that play for them; without actors every rank plays too."""

    name: str
    ranks: int
    actors: int = 0
    ahead: bool = False  # the actors play while the ranks learn

    @property
    def gpus(self) -> int:
        """Returns the number of devices, one a process."""
        return self.ranks + self.actors


@dataclass(frozen=True)
class Prediction:
    """Seconds of one iteration."""

    layout: Layout
    played: int  # problems
    rollout: float
    update: float
    sending: float  # gradients between ranks, weights to actors
    rest: float
    iteration: float
    tokens_per_second: float  # generated, over the whole iteration

    @property
    def bottleneck(self) -> str:
        """Returns the part that takes most of the iteration."""
        parts = {
            "rollout": self.rollout,
            "update": self.update,
            "sending": self.sending,
            "rest": self.rest,
        }
        return max(parts, key=lambda name: parts[name])


def layouts(gpus: int) -> list[Layout]:
    """Returns the layouts of so many GPUs that are worth comparing: every GPU learns and plays, or
    one, an eighth or a half of them learn and the others play for them."""
    found = [Layout(f"{gpus} ranks" if gpus > 1 else "one process", gpus)]
    for ranks in sorted({1, gpus // 8, gpus // 2} - {0, gpus}):
        name = f"{ranks} to learn, {gpus - ranks} to play"
        found += [
            Layout(name, ranks, gpus - ranks),
            Layout(f"{name} ahead", ranks, gpus - ranks, ahead=True),
        ]
    return found


def predict(rates: Rates, work: Work, layout: Layout) -> Prediction:
    """Returns the seconds of an iteration in a layout."""
    players = layout.actors or layout.ranks
    rounds, drawn = work.rounds(rates.signal), work.taught(rates.signal) * work.draws
    rollout = sum(rates.start + math.ceil(size / players) * rates.each for size in rounds)
    update = drawn * rates.update / layout.ranks
    steps = math.ceil(drawn / work.batch_size)
    sending = steps * all_reduce(work.gradient_bytes, layout.ranks, work.bandwidth)
    sending += layout.actors * work.weight_bytes / work.bandwidth
    learning = update + sending + rates.rest
    total = max(rollout, learning) if layout.ahead else rollout + learning
    tokens = sum(rounds) * rates.tokens / total if total else math.inf
    return Prediction(layout, sum(rounds), rollout, update, sending, rates.rest, total, tokens)


def all_reduce(size: int, ranks: int, bandwidth: float) -> float:
    """Returns the seconds to sum `size` bytes over ranks in a ring: each sends 2(N - 1)/N of them
    (Patarasu and Yuan 2009)."""
    return 2 * (ranks - 1) / ranks * size / bandwidth


def affine(few: tuple[float, float], many: tuple[float, float]) -> tuple[float, float]:
    """Returns start and slope, neither negative, of the line through two (problems, seconds)."""
    (less, quick), (more, slow) = few, many
    each = max((slow - quick) / (more - less), 0.0) if more > less else slow / more
    start = max(slow - more * each, 0.0)
    return start, (slow - start) / more


def rates_of_run(rows: Sequence[Mapping[str, Any]], draws: float, tree_bytes: float) -> Rates:
    """Returns rates from the self-play metrics of a run in one process: medians over all iterations
    but the first, which warms up. Raises ValueError without a row.

    One size of batch does not show what a rollout's start takes, which counts as 0.
    """
    if not rows:
        raise ValueError("no iteration of self-play")
    later = rows[1:] or rows
    seconds = [row["seconds"] for row in later]
    rollout = median([s["rollout"] + s["grading"] for s in seconds])
    update = median([s["update"] for s in seconds])
    rest = median([s["iteration"] - s["rollout"] - s["grading"] - s["update"] for s in seconds])
    played = median([row["played_problems"] for row in later])
    taught = median([row["experiences"] for row in later])
    return Rates(
        start=0.0,
        each=rollout / played,
        update=update / (taught * draws) if taught else 0.0,
        rest=max(rest, 0.0),
        tokens=median([row["generated_tokens"] for row in later]) / played,
        tree_bytes=tree_bytes,
        signal=median([row["signal_problems"] for row in later]) / played,
    )


def median(values: Sequence[float]) -> float:
    """Returns the middle value, or the mean of both if their number is even."""
    ordered, middle = sorted(values), len(values) // 2
    return (ordered[middle] + ordered[~middle]) / 2


def _rounded(count: float) -> int:
    """Returns the nearest integer, the upper one of two: one more problem is never two more."""
    return math.floor(count + 0.5)
