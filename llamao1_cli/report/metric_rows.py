"""The rows of a run's metrics, as its charts and tables read them."""

from llamao1_cli.report.kept import MetricsRow
from llamao1_cli.report.reading import Run

LARGEST = 1e300  # beyond it an axis has no room; neither infinities nor NaN are below it

PLAYED = ("self-play", "imitation")  # stages whose steps are iterations


def played(run: Run) -> list[MetricsRow]:
    """Returns the metrics of a run's iterations, of self-play or of its control."""
    return [row for stage in PLAYED for row in run.metrics.get(stage, [])]


def iterations(run: Run) -> int:
    """Returns how many iterations of a run are done."""
    rows = played(run)
    return int(rows[-1]["step"]) if rows else 0


def flat(row: MetricsRow) -> dict[str, float]:
    """Returns the finite numbers of a row of metrics, nested ones under dotted keys, with the rate
    of generation where tokens and seconds are known."""
    numbers: dict[str, float] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            numbers |= {f"{key}.{inner}": number for inner, number in flat(value).items()}
        elif isinstance(value, int | float) and abs(value) < LARGEST:
            numbers[key] = value
    if numbers.get("seconds.rollout") and "generated_tokens" in numbers:
        numbers["tokens_per_second"] = numbers["generated_tokens"] / numbers["seconds.rollout"]
    return numbers
