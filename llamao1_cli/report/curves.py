"""What to draw of a run's metrics and evaluations: charts as plain data, a line a run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llamao1_cli.report.kept import Row
from llamao1_cli.report.reading import Evaluation, Quality, Run

MOST_POINTS = 400  # of a line: more than a screen shows apart

LARGEST = 1e300  # beyond it an axis has no room; neither infinities nor NaN are below it

PLAYED = ("self-play", "imitation")


class Point(NamedTuple):
    """A measured value, with the ends of its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """One line; `place` decides its style."""

    name: str
    place: int
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
    key: str
    title: str
    note: str = ""
    share: bool = False


PLAY, VALUES, WARMUP, OTHER = "Accuracy and play", "Values", "Warm-up", "Other"

METRICS = {
    PLAY: (
        _Metric("solved_leaves", "Right solutions", "share of the leaves", share=True),
        _Metric("mixed_trees", "Mixed trees", "share with right and wrong leaves", share=True),
        _Metric("finished_leaves", "Finished solutions", "share that states an answer", share=True),
        _Metric("mean_entropy", "Entropy", "nats a token, as sampled"),
    ),
    "Losses": (
        _Metric("loss", "Loss of imitation", "mean a token"),
        _Metric("policy_loss", "Policy loss", "PPO's clipped surrogate"),
        _Metric("value_loss", "Value loss", "cross-entropy of the ratings"),
        _Metric("value_head_loss", "Value head loss", "cross-entropy"),
        _Metric("value_head_pair_loss", "Value head pair loss", "right above wrong"),
    ),
    "Update": (
        _Metric("kl_behaviour", "KL to behaviour", "k3, nats a token"),
        _Metric("kl_reference", "KL to reference", "k3, nats a token"),
        _Metric("clip_fraction", "Clip fraction", "share of the tokens"),
        _Metric("log_ratio_max", "Largest log-ratio", "of any token"),
        _Metric("grad_norm", "Gradient norm", "before it is clipped"),
        _Metric("learning_rate", "Learning rate"),
        _Metric("rollout_mismatch", "Rollout mismatch", "log-prob gap to the trainer"),
    ),
    VALUES: (
        _Metric("mean_rating", "Mean rating", "to compare with right solutions", share=True),
        _Metric("td_error", "TD error", "|target − value|: the replay's priority"),
    ),
    "Replay": (
        _Metric("replay_age", "Age of what is replayed", "iterations"),
        _Metric("replay", "Trees in the replay"),
    ),
    "Cost": (
        _Metric("tokens_per_second", "Tokens a second", "of the rollout"),
        _Metric("generated_tokens", "Generated tokens", "an iteration"),
        _Metric("seconds.iteration", "Seconds", "an iteration"),
        _Metric("seconds.rollout", "Seconds of rollout", "an iteration"),
        _Metric("seconds.update", "Seconds of update", "an iteration"),
    ),
    WARMUP: (_Metric("loss", "Loss", "mean a token"), _Metric("learning_rate", "Learning rate")),
}

QUALITIES: tuple[tuple[str, str, Callable[[Evaluation], float | None]], ...] = (
    ("Brier score", "held-out, over a constant's", lambda e: _over_constant(e.value)),
    ("AUC of the values", "held-out", lambda e: e.value.auc if e.value else None),
    (
        "Calibration error",
        "of held-out steps",
        lambda e: e.steps["value"].ece if e.steps and "value" in e.steps else None,
    ),
)


def charts(runs: Sequence[Run]) -> list[Chart]:
    """Every chart that has a point to show: held-out accuracy, what `METRICS` names, and then
    whatever else the runs measured."""
    play = [[flat(row) for row in played(run)] for run in runs]
    warmed = [[flat(row) for row in run.metrics.get("warmup", [])] for run in runs]
    drawn = list(_accuracies(runs))
    for group, metrics in METRICS.items():
        rows, axis = (warmed, "step") if group == WARMUP else (play, "iteration")
        drawn += [_metric_chart(group, metric, runs, rows, axis) for metric in metrics]
        drawn += _qualities(runs) if group == VALUES else []
    known = {metric.key for metrics in METRICS.values() for metric in metrics}
    names = dict.fromkeys(key for rows in play for row in rows for key in row)
    others = [_Metric(name, name) for name in names if name not in known | {"step"}]
    drawn += [_metric_chart(OTHER, metric, runs, play, "iteration") for metric in others]
    return [chart for chart in drawn if chart.series]


def played(run: Run) -> list[Row]:
    """The metrics of a run's iterations, of self-play or of its control."""
    return [row for name in PLAYED for row in run.metrics.get(name, [])]


def flat(row: Row) -> dict[str, float]:
    """The finite numbers of a row of metrics, nested ones under dotted keys, with the rate of
    generation where tokens and seconds are known."""
    numbers: dict[str, float] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            numbers |= {f"{key}.{inner}": number for inner, number in flat(value).items()}
        elif isinstance(value, int | float) and abs(value) < LARGEST:
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
    group: str,
    metric: _Metric,
    runs: Sequence[Run],
    rows: Sequence[Sequence[dict[str, float]]],
    axis: str,
) -> Chart:
    lines = [
        [Point(row["step"], row[metric.key]) for row in each if metric.key in row] for each in rows
    ]
    series = _series(runs, lines)
    return Chart(group, metric.title, metric.note, axis, series, metric.share)


def _accuracies(runs: Sequence[Run]) -> Iterator[Chart]:
    """Held-out accuracy: of the first strategy always, of the others where there is a curve."""
    names = dict.fromkeys(
        name for run in runs for each in run.evaluations.values() for name in each.strategies
    )
    curved = any(len(run.evaluations) > 2 for run in runs)
    for name in list(names) if curved else list(names)[:1]:
        lines = [
            [
                Point(iteration, figures.accuracy, *figures.ci95)
                for iteration, each in run.evaluations.items()
                if (figures := each.strategies.get(name))
            ]
            for run in runs
        ]
        title = f"Accuracy, {name}"
        yield Chart(PLAY, title, "held-out", "iteration", _series(runs, lines), share=True)


def _qualities(runs: Sequence[Run]) -> Iterator[Chart]:
    """How good the values are on held-out problems."""
    for title, note, read in QUALITIES:
        lines = [
            [
                Point(iteration, quality)
                for iteration, each in run.evaluations.items()
                if (quality := read(each)) is not None
            ]
            for run in runs
        ]
        yield Chart(VALUES, title, note, "iteration", _series(runs, lines))


def _series(runs: Sequence[Run], lines: Sequence[list[Point]]) -> list[Series]:
    """A line a run that has points; it keeps the run's place, and so its colour."""
    return [
        Series(run.name, place, thinned(points))
        for place, (run, points) in enumerate(zip(runs, lines, strict=True))
        if points
    ]


def _over_constant(quality: Quality | None) -> float | None:
    """The Brier score over that of always saying the share of right ones."""
    if quality is None or quality.brier is None or not quality.brier_constant:
        return None
    return quality.brier / quality.brier_constant
