"""What a run shows on the terminal: progress bars, a line an iteration, tables, trees."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text
from rich.tree import Tree as Branch

from llamao1_cli.search.tree import Node, Tree

REFRESH_S = 0.25  # between two lines about searches under way


class _Rate(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "")


class Display:
    """Writes to one console; `quiet` shows nothing, as on every rank but the first."""

    def __init__(self, *, quiet: bool = False, stderr: bool = False) -> None:
        self._console = Console(quiet=quiet, stderr=stderr, highlight=False)

    def say(self, line: str) -> None:
        """One plain line."""
        self._console.print(escape(line), soft_wrap=True)

    @contextmanager
    def progress(self, label: str, total: int, done: int) -> Iterator[Callable[[str], None]]:
        """A bar with rate and time left; calling the yielded function advances it with a note."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task(label, total=total, completed=done, note="")
            yield lambda note: bar.update(task, advance=1, note=note)

    @contextmanager
    def rounds(self, label: str) -> Iterator[Callable[[list[Tree]], None]]:
        """A spinner that tells how far a batch of searches is."""
        with self._console.status(label) as status:
            shown = 0.0

            def on_turn(trees: list[Tree]) -> None:
                nonlocal shown
                if time.monotonic() < shown + REFRESH_S:
                    return
                shown = time.monotonic()
                tokens = sum(tree.generated_tokens for tree in trees)
                nodes = sum(len(tree.nodes) - 1 for tree in trees)
                status.update(f"{label}: {len(trees)} trees, {nodes} thoughts, {tokens} tokens")

            yield on_turn

    def iteration(
        self, number: int, total: int, metrics: Mapping[str, Any], seconds: Mapping[str, float]
    ) -> None:
        """One line: how the play went, what the update did, where the time went."""
        line = f"iteration {number:>3}/{total}"
        if "loss" in metrics:
            line += f"  loss {metrics['loss']:.3f}"
        if "solved_leaves" in metrics:
            line += (
                f"  solved {metrics['solved_leaves']:.3f}  mixed trees {metrics['mixed_trees']:.2f}"
            )
        if "policy_loss" in metrics:
            line += (
                f"  value loss {metrics['value_loss']:.3f}  clipped {metrics['clip_fraction']:.3f}"
                f"  KL {metrics['kl_behaviour']:.4f}"
            )
        if "rollout" in seconds:
            rate = metrics["generated_tokens"] / max(seconds["rollout"], 1e-9)
            line += f"  {rate:,.0f} tokens/s"
        self._console.print(f"{line}  {seconds['iteration']:.1f} s", soft_wrap=True)

    @contextmanager
    def growing(self) -> Iterator[Callable[[list[Tree]], None]]:
        """The first of the trees drawn again after every round, in place on a terminal."""
        with Live(console=self._console, auto_refresh=False) as live:
            yield lambda trees: live.update(draw_tree(trees[0]), refresh=True)

    def table(self, result: Mapping[str, Any], title: str) -> None:
        """The table of an evaluation under a title."""
        self._console.print(evaluation_table(result, title))

    def budgets(self, result: Mapping[str, Any]) -> None:
        """The model, and a table a budget."""
        self.say(result["model"])
        for row in result["budgets"]:
            title = f"{result['n']} held-out problems, at most {row['tokens']:,} tokens each"
            self._console.print(budget_table(row, title))
        for line in asked_lines(result):
            self.say(line)

    def evaluation(self, iteration: int, result: Mapping[str, Any]) -> None:
        """The table of an evaluation during a run."""
        self.table(result, f"after iteration {iteration}: {result['n']} held-out problems")


def evaluation_table(result: Mapping[str, Any], title: str) -> Table:
    """Accuracy, interval and cost of each strategy; below what the weighted votes gain, what the
    best of the samples loses, the quality of the values and of the ratings, and what judges did."""
    table = _table(title, "strategy", "accuracy", "95% interval", "tokens a problem", "seconds")
    for name, row in result["strategies"].items():
        low, high = row["ci95"]
        table.add_row(
            name,
            f"{row['accuracy']:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{row['generated_tokens'] / max(row['n'], 1):.1f}",
            f"{row['seconds']:.1f}",
        )
    lines = [f"{name}: {difference(row)}" for name, row in result["differences"].items()]
    kinds = [name for name in ("value", "rating") if result[name]]
    lines += [value_line(name, result[name]) for name in kinds]
    lines += [step_line(name, result["steps"][name]) for name in kinds]
    lines += asked_lines(result)
    table.caption, table.caption_justify = "\n".join(lines) or None, "left"
    return table


def budget_table(row: Mapping[str, Any], title: str) -> Table:
    """Accuracy of each strategy under one budget, its difference to majority vote, and the tokens
    it really spent a problem."""
    table = _table(title, "strategy", "accuracy", "to majority, 95%", "tokens")
    for name, figures in row["strategies"].items():
        gap = difference(row["differences"][name]) if name in row["differences"] else ""
        tokens = figures["generated_tokens"] / max(figures["n"], 1)
        table.add_row(name, f"{figures['accuracy']:.3f}", gap, f"{tokens:.1f}")
    return table


def difference(row: Mapping[str, Any]) -> str:
    """A paired difference with its interval."""
    low, high = row["ci95"]
    return f"{row['difference']:+.3f} ({low:+.3f} to {high:+.3f})"


def asked_lines(result: Mapping[str, Any]) -> list[str]:
    """What the external judge and the pairwise judge did, a line each, where they were asked."""
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
    """How far the values or ratings can be taken at their word, in one line."""
    error = "none" if steps["ece"] is None else f"{steps['ece']:.3f}"
    return f"{name}s of {steps['n']} steps: calibration error {error}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=escape(title), title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == "strategy" else "right")
    return table


def value_line(name: str, value: Mapping[str, Any]) -> str:
    """The quality of the values or ratings in one line."""
    shown = {k: "none" if value[k] is None else f"{value[k]:.3f}" for k in ("auc", "auc_within")}
    return (
        f"{name}s of {value['n']} solutions: AUC {shown['auc']}, within a problem "
        f"{shown['auc_within']}, Brier {value['brier']:.3f}, constant {value['brier_constant']:.3f}"
    )


def printable(text: str) -> str:
    """The text with letters that would steer a terminal, or turn the line around, escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def draw_tree(tree: Tree) -> Branch:
    """A tree for the terminal; what the model wrote is text, never markup or what steers one."""
    root = Branch(Text(_lines(tree.problem.text), style="bold"))
    branches = {0: root}
    for node in tree.nodes[1:]:
        assert node.parent is not None
        branches[node.id] = branches[node.parent].add(_label(node))
    return root


def _label(node: Node) -> Text:
    label = Text(f"{node.value:.2f} ", style="cyan")
    label.append(f"x{node.visits} " if node.visits else "", style="dim")
    if node.thought.meta:
        label.append(f"{node.thought.meta.name.lower()} ", style="dim")
    return label.append(_lines(node.thought.text), style="bold green" if node.terminal else "")


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
