"""Evaluations as tables and lines for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table


def evaluation_table(result: Mapping[str, Any], title: str) -> Table:
    """Returns accuracy, interval and cost of each strategy, and the mean reward where that is
    another number; below it what the weighted votes gain, what the best of the samples loses, the
    quality of values and ratings, and what judges did."""
    rows = result["strategies"]
    differs = any(row.get("reward", row["accuracy"]) != row["accuracy"] for row in rows.values())
    partial = ["reward"] if differs else []
    columns = ("accuracy", "95% interval", *partial, "tokens a problem", "seconds")
    table = _table(title, "strategy", *columns)
    for name, row in rows.items():
        low, high = row["ci95"]
        table.add_row(
            name,
            f"{row['accuracy']:.3f}",
            f"{low:.3f} to {high:.3f}",
            *(f"{row[key]:.3f}" if key in row else "" for key in partial),
            f"{row['generated_tokens'] / max(row['n'], 1):.1f}",
            f"{row['seconds']:.1f}",
        )
    lines = unplayed_lines(result) + failed_lines(result)
    lines += [f"{name}: {difference(row)}" for name, row in result["differences"].items()]
    kinds = [name for name in ("value", "rating") if result[name]]
    lines += [value_line(name, result[name]) for name in kinds]
    lines += [step_line(name, result["steps"][name]) for name in kinds]
    lines += asked_lines(result)
    table.caption, table.caption_justify = "\n".join(lines) or None, "left"
    return table


def budget_table(row: Mapping[str, Any], title: str) -> Table:
    """Returns the accuracy of each strategy under one budget, its difference to majority vote, and
    the tokens a problem that it spent."""
    table = _table(title, "strategy", "accuracy", "to majority, 95%", "tokens")
    for name, figures in row["strategies"].items():
        gap = difference(row["differences"][name]) if name in row["differences"] else ""
        tokens = figures["generated_tokens"] / max(figures["n"], 1)
        table.add_row(name, f"{figures['accuracy']:.3f}", gap, f"{tokens:.1f}")
    return table


def difference(row: Mapping[str, Any]) -> str:
    """Returns a paired difference with its interval."""
    low, high = row["ci95"]
    return f"{row['difference']:+.3f} ({low:+.3f} to {high:+.3f})"


def unplayed_lines(result: Mapping[str, Any]) -> list[str]:
    """Returns a line about problems that could not be played, where there are any."""
    if not (unplayed := result.get("unplayed")):
        return []
    return [f"not played, and not counted: {unplayed} too long for model.max_length"]


def failed_lines(result: Mapping[str, Any]) -> list[str]:
    """Returns a line about rewards that failed, where there are any."""
    failed = result.get("failed_rewards")
    return [f"rewards that failed, and earned 0: {failed}"] if failed else []


def asked_lines(result: Mapping[str, Any]) -> list[str]:
    """Returns what the external and the pairwise judge did, a line each, where they were asked."""
    lines = []
    if row := result.get("judge"):
        lines.append(
            f"judge: {row['asked']} thoughts asked for, {row['fallbacks']} kept their rating; "
            f"{row['prompt_tokens']} tokens read, {row['completion_tokens']} written"
        )
    if row := result.get("pairwise"):
        lines.append(
            f"pairwise judge: {row['compared']} solutions compared, {row['unread']} too long; "
            f"{row['read_tokens']} tokens read"
        )
    return lines


def step_line(name: str, steps: Mapping[str, Any]) -> str:
    """Returns how well calibrated the values or ratings of steps are, in one line."""
    error = "none" if steps["ece"] is None else f"{steps['ece']:.3f}"
    return f"{name}s of {steps['n']} steps: calibration error {error}"


def value_line(name: str, value: Mapping[str, Any]) -> str:
    """Returns the quality of the values or ratings of solutions in one line."""
    shown = {k: "none" if value[k] is None else f"{value[k]:.3f}" for k in ("auc", "auc_within")}
    return (
        f"{name}s of {value['n']} solutions: AUC {shown['auc']}, within a problem "
        f"{shown['auc_within']}, Brier {value['brier']:.3f}, constant {value['brier_constant']:.3f}"
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=escape(title), title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == "strategy" else "right")
    return table
