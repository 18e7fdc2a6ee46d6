"""What to draw of a run's metrics and evaluations: charts as plain data, a line a run."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llamao1_cli.report.reading import Evaluation, Quality, Row, Run

MOST_POINTS = 400  # of a line: more than a screen shows apart

PLAYED = ("self-play", "imitation")


class Point(NamedTuple):
    """A measured value, with the ends of its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """One line."""

    name: str
    points: list[Point]


@dataclass(frozen=True)
class Chart:
    """Lines over one axis. A share is drawn from 0 to 1."""

    group: str
    title: str
    note: str
    axis: str  # what x counts
    series: list[Series]
    share: bool = False


@dataclass(frozen=True)
class _Metric:
    group: str
    key: str
    title: str
    note: str
    share: bool = False


METRICS = (
    _Metric("Play", "solved_leaves", "Right solutions", "share of the leaves", True),
    _Metric("Play", "mixed_trees", "Mixed trees", "share with right and wrong leaves", True),
    _Metric("Play", "finished_leaves", "Finished solutions", "share that state an answer", True),
    _Metric("Play", "mean_entropy", "Entropy", "nats a token as sampled"),
    _Metric("Losses", "loss", "Loss of imitation", "mean a token"),
    _Metric("Losses", "policy_loss", "Policy loss", "PPO's clipped surrogate"),
    _Metric("Losses", "value_loss", "Value loss", "cross-entropy of the ratings"),
    _Metric("Losses", "value_head_loss", "Value head loss", "cross-entropy"),
    _Metric("Losses", "value_head_pair_loss", "Value head pair loss", "right above wrong"),
    _Metric("Update", "kl_behaviour", "KL to the behaviour policy", "k3, nats a token"),
    _Metric("Update", "kl_reference", "KL to the reference policy", "k3, nats a token"),
    _Metric("Update", "clip_fraction", "Clip fraction", "share of the tokens"),
    _Metric("Update", "log_ratio_max", "Largest log-ratio", "of any token"),
    _Metric("Update", "grad_norm", "Gradient norm", "before it is clipped"),
    _Metric("Update", "learning_rate", "Learning rate", ""),
    _Metric(
        "Update", "rollout_mismatch", "Rollout mismatch", "log-prob gap of rollout and trainer"
    ),
    _Metric(
        "Values", "mean_rating", "Mean rating", "calibrated where it equals right leaves", True
    ),
    _Metric("Values", "td_error", "TD error", "mean |target − value|; the replay's priority"),
    _Metric("Replay", "replay_age", "Age of what is replayed", "iterations"),
    _Metric("Replay", "replay", "Trees in the replay", ""),
    _Metric("Cost", "tokens_per_second", "Tokens a second", "generated, of the rollout"),
    _Metric("Cost", "generated_tokens", "Generated tokens", "an iteration"),
    _Metric("Cost", "seconds.iteration", "Seconds", "an iteration"),
    _Metric("Cost", "seconds.rollout", "Seconds of rollout", "an iteration"),
    _Metric("Cost", "seconds.update", "Seconds of update", "an iteration"),
)

QUALITIES: tuple[tuple[str, str, Callable[[Evaluation], float | None]], ...] = (
    ("Brier score", "of the values, over a constant's", lambda e: _over_constant(e.value)),
    (
        "AUC of the values",
        "chance that a right one ranks above a wrong one",
        lambda e: e.value.auc if e.value else None,
    ),
    (
        "Calibration error",
        "of the steps' values",
        lambda e: e.steps["value"].ece if e.steps and "value" in e.steps else None,
    ),
)


def charts(runs: Sequence[Run]) -> list[Chart]:
    """Every chart that has a point to show, in the order of their groups: accuracy, what
    `METRICS` names, warm-up, and then whatever else the runs measured."""
    rows = [(run.name, [flat(row) for name in PLAYED for row in run.metrics.get(name, [])])
            for run in runs]  # fmt: skip
    warm = [(run.name, [flat(row) for row in run.metrics.get("warmup", [])]) for run in runs]
    known = {metric.key for metric in METRICS}
    names = dict.fromkeys(key for _, each in rows for row in each for key in row)
    others = [_Metric("Other", k, k, "") for k in names if k not in known | {"stage", "step"}]
    drawn = [
        *_accuracies(runs),
        *(_metric_chart(metric, rows, "iteration") for metric in METRICS),
        *_qualities(runs),
        _metric_chart(_Metric("Warm-up", "loss", "Loss", "mean a token"), warm, "step"),
        _metric_chart(_Metric("Warm-up", "learning_rate", "Learning rate", ""), warm, "step"),
        *(_metric_chart(metric, rows, "iteration") for metric in others),
    ]
    return [chart for chart in drawn if chart.series]


def flat(row: Row) -> dict[str, float]:
    """The finite numbers of a row of metrics, nested ones under dotted keys, with the rate of
    generation where tokens and seconds are known."""
    numbers: dict[str, float] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            numbers |= {f"{key}.{inner}": number for inner, number in flat(value).items()}
        elif isinstance(value, int | float) and math.isfinite(value):
            numbers[key] = value
    if numbers.get("seconds.rollout") and "generated_tokens" in numbers:
        numbers["tokens_per_second"] = numbers["generated_tokens"] / numbers["seconds.rollout"]
    return numbers


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most `MOST_POINTS` of the points, evenly spaced, the first and the last among them."""
    if len(points) <= MOST_POINTS:
        return list(points)
    last = len(points) - 1
    return [points[round(place * last / (MOST_POINTS - 1))] for place in range(MOST_POINTS)]


def _metric_chart(
    metric: _Metric, rows: Iterable[tuple[str, list[dict[str, float]]]], axis: str
) -> Chart:
    lines = [
        (name, [Point(row["step"], row[metric.key]) for row in each if metric.key in row])
        for name, each in rows
    ]
    return _chart(metric.group, metric.title, metric.note, lines, axis, share=metric.share)


def _accuracies(runs: Sequence[Run]) -> Iterable[Chart]:
    """Held-out accuracy: of the first strategy always, of the others where there is a curve."""
    names = dict.fromkeys(
        name for run in runs for each in run.evaluations.values() for name in each.strategies
    )
    curved = any(len(run.evaluations) > 2 for run in runs)
    for name in list(names) if curved else list(names)[:1]:
        lines = [
            (
                run.name,
                [
                    Point(iteration, figures.accuracy, *figures.ci95)
                    for iteration, each in run.evaluations.items()
                    if (figures := each.strategies.get(name))
                ],
            )
            for run in runs
        ]
        note = "held-out accuracy, with 95% intervals"
        yield _chart("Accuracy", name, note, lines, "iteration", share=True)


def _qualities(runs: Sequence[Run]) -> Iterable[Chart]:
    for title, note, read in QUALITIES:
        lines = [
            (
                run.name,
                [
                    Point(iteration, quality)
                    for iteration, each in run.evaluations.items()
                    if (quality := read(each)) is not None
                ],
            )
            for run in runs
        ]
        yield _chart("Values", title, f"{note}, held-out problems", lines, "iteration")


def _chart(
    group: str,
    title: str,
    note: str,
    lines: Iterable[tuple[str, list[Point]]],
    axis: str,
    *,
    share: bool = False,
) -> Chart:
    series = [Series(name, thinned(points)) for name, points in lines if points]
    return Chart(group, title, note, axis, series, share)


def _over_constant(quality: Quality | None) -> float | None:
    """The Brier score over that of always saying the share of right ones."""
    if quality is None or quality.brier is None or not quality.brier_constant:
        return None
    return quality.brier / quality.brier_constant
