"""What a command shows on the terminal: progress bars, a line an iteration, tables, trees."""

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
from rich.text import Text

from llamao1_cli.config import Config
from llamao1_cli.report.tables import asked_lines, budget_table, evaluation_table
from llamao1_cli.report.tree_text import draw_tree
from llamao1_cli.search.tree import Tree

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
        """Print one plain line."""
        self._console.print(escape(line), soft_wrap=True)

    @contextmanager
    def progress(self, label: str, total: int, done: int) -> Iterator[Callable[[str], None]]:
        """Show a bar with rate and time left; the yielded function advances it with a note."""
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
        """Show how far a batch of searches is; the yielded function is told of their trees."""
        with self._console.status(label) as status:
            shown = 0.0

            def show(trees: list[Tree]) -> None:
                nonlocal shown
                if time.monotonic() < shown + REFRESH_S:
                    return
                shown = time.monotonic()
                tokens = sum(tree.generated_tokens for tree in trees)
                nodes = sum(len(tree.nodes) - 1 for tree in trees)
                status.update(f"{label}: {len(trees)} trees, {nodes} thoughts, {tokens} tokens")

            yield show

    def iteration(
        self, number: int, config: Config, metrics: Mapping[str, Any], seconds: Mapping[str, float]
    ) -> None:
        """Print one line: how the play went, what the update did, where the time went."""
        line = f"iteration {number:>3}/{config.run.iterations}"
        if "loss" in metrics:
            line += f"  loss {metrics['loss']:.3f}"
        if "solved_leaves" in metrics:
            apart = config.search.draws_apart
            name, key = ("success", "success") if apart else ("solved", "solved_leaves")
            line += f"  {name} {metrics[key]:.3f}  mixed trees {metrics['mixed_trees']:.2f}"
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
        """Draw the first of the trees; the yielded function draws it again, on the same lines."""
        with Live(console=self._console, auto_refresh=False) as live:
            yield lambda trees: live.update(draw_tree(trees[0]), refresh=True)

    def table(self, result: Mapping[str, Any], title: str) -> None:
        """Print the table of an evaluation under a title."""
        self._console.print(evaluation_table(result, title))

    def budgets(self, result: Mapping[str, Any]) -> None:
        """Print the model, and a table a budget."""
        self.say(result["model"])
        for row in result["budgets"]:
            title = f"{result['n']} held-out problems, at most {row['tokens']:,} tokens each"
            self._console.print(budget_table(row, title))
        for line in asked_lines(result):
            self.say(line)

    def evaluation(self, iteration: int, result: Mapping[str, Any]) -> None:
        """Print the table of an evaluation during a run."""
        self.table(result, f"after iteration {iteration}: {result['n']} held-out problems")
