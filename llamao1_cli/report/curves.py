"""What to draw of a run's metrics and evaluations: charts as plain data, a line a run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from llamao1_cli.report.chart import Chart, Point, Series, thinned
from llamao1_cli.report.metric_rows import flat, played
from llamao1_cli.report.reading import Evaluation, Quality, Run


@dataclass(frozen=True)
class _Metric:
    key: str
    title: str
    note: str = ""
    share: bool = False


PLAY, VALUES, WARMUP, OTHER = "Accuracy and play", "Values", "Warm-up", "Other"

METRICS = {
    PLAY: (
        _Metric("success", "Success", "mean reward of one draw, as trees tell it", share=True),
        _Metric("solved_leaves", "Right solutions", "share of the leaves", share=True),
        _Metric("mixed_trees", "Mixed trees", "share with right and wrong leaves", share=True),
        _Metric("finished_leaves", "Finished solutions", "share that states an answer", share=True),
        _Metric("mean_entropy", "Entropy", "nats a token, as sampled"),
    ),
    "Problems": (
        _Metric("played_problems", "Played problems", "an iteration"),
        _Metric("signal_problems", "Problems with a signal", "whose solutions differ in reward"),
        _Metric("failed_rewards", "Failed rewards", "which earned 0"),
        _Metric("level", "Level", "of difficulty of what is played"),
    ),
    "Coverage": (
        _Metric("duplicate_tokens", "Repeated tokens", "share of those generated", share=True),
        _Metric("duplicate_solutions", "Repeated solutions", "share within a tree", share=True),
        _Metric("covered", "Covered", "probability of a tree's solutions", share=True),
        _Metric("nats", "Nats of a solution", "mean of −log p"),
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
    """Returns every chart that has a point to show: held-out accuracy, what `METRICS` names, and
    then whatever else the runs measured."""
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
    """Yields held-out accuracy: of the first strategy always, of the others where there is a
    curve."""
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
    """Yields how good the values are on held-out problems."""
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
    """Returns a line a run that has points; the number of the run decides its style, so that a run
    looks the same in every chart."""
    return [
        Series(run.name, index, thinned(points))
        for index, (run, points) in enumerate(zip(runs, lines, strict=True))
        if points
    ]


def _over_constant(quality: Quality | None) -> float | None:
    """Returns the Brier score over that of always predicting the share of right solutions."""
    if quality is None or quality.brier is None or not quality.brier_constant:
        return None
    return quality.brier / quality.brier_constant
