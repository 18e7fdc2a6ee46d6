"""A run line by line: its warm-up, its iterations and its evaluations, for a terminal or a log."""

from collections.abc import Iterator, Mapping

from llamao1_cli.config import SearchConfig
from llamao1_cli.report.frame import format_number
from llamao1_cli.report.metric_rows import flat, played
from llamao1_cli.report.reading import Evaluation, Run
from llamao1_cli.report.tree_text import printable

WARMUP_STEPS = 100  # of a warm-up, to a line
SHOWN = {  # the metrics that are told, and by which words
    "tokens_per_second": "tokens/s",
    "solved_leaves": "right solutions",
    "success": "success",
    "loss": "loss",
    "policy_loss": "policy loss",
    "value_loss": "value loss",
    "value_head_loss": "value head loss",
    "kl_behaviour": "KL",
    "seconds.iteration": "seconds",
}


def shown_metrics(search: SearchConfig) -> dict[str, str]:
    """Returns the metrics that are told of a run, and by which words. Where each solution is drawn
    but once, a share of them says little: there it is the success that they estimate."""
    other = "solved_leaves" if search.draws_apart else "success"
    return {key: name for key, name in SHOWN.items() if key != other}


def run_lines(run: Run) -> Iterator[str]:
    """Yields a line for each iteration, each evaluation and some warm-up steps, in their order."""
    names = shown_metrics(run.config.search)
    for row in run.metrics.get("warmup", []):
        if row["step"] % WARMUP_STEPS == 0:
            yield f"warm-up step {row['step']}{_numbers(flat(row), names)}"
    evaluations = dict(run.evaluations)
    if 0 in evaluations:
        yield evaluation_line(0, evaluations.pop(0))
    for row in played(run):
        yield f"iteration {row['step']:>3}/{run.config.run.iterations}{_numbers(flat(row), names)}"
        if row["step"] in evaluations:
            yield evaluation_line(row["step"], evaluations.pop(row["step"]))


def _numbers(row: dict[str, float], names: Mapping[str, str]) -> str:
    shown = [(name, row[key]) for key, name in names.items() if key in row]
    return "".join(f"  {name} {format_number(value)}" for name, value in shown)


def evaluation_line(number: int, evaluation: Evaluation) -> str:
    """Returns the accuracy of an evaluation's first strategy, with its interval."""
    name, figures = next(iter(evaluation.strategies.items()))
    low, high = figures.ci95
    return printable(
        f"after iteration {number}: {name} {figures.accuracy:.3f} ({low:.3f} to {high:.3f})"
    )
