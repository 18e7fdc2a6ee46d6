"""What a command shows on the terminal: progress bars, a line an iteration, tables, trees."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
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
from rich.status import Status
from rich.text import Text

from llamao1_cli.config import Config
from llamao1_cli.report.log_lines import Paces, Steps, told
from llamao1_cli.report.tables import (
    asked_lines,
    budget_table,
    evaluation_table,
    unplayed_lines,
)
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
        self._paces = Paces()

    def say(self, line: str) -> None:
        """Print one plain line."""
        self._console.print(escape(line), soft_wrap=True)

    @contextmanager
    def progress(
        self, label: str, total: int, done: int = 0, *, passing: bool = False
    ) -> Iterator[Callable[[str], None]]:
        """Show a bar with rate and time left, or in a log lines with both; the yielded function
        advances it with a note. A `passing` bar is gone at the end."""
        if not self._console.is_terminal:
            steps = Steps(label, total, done)
            with self._told(steps.line):
                yield steps.advance
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console, transient=passing) as bar:
            task = bar.add_task(label, total=total, completed=done, note="")
            yield lambda note: bar.update(task, advance=1, note=note)

    @contextmanager
    def rounds(self, label: str, kind: str | None = None) -> Iterator[Callable[[list[Tree]], None]]:
        """Show how far a batch of searches is; the yielded function is told of their trees. Others
        of the same `kind`, else of the label, tell how long it will take."""
        with self.stage(label, kind) as note:
            shown = 0.0

            def show(trees: list[Tree]) -> None:
                nonlocal shown
                if time.monotonic() < shown + REFRESH_S:
                    return
                shown = time.monotonic()
                tokens = sum(tree.generated_tokens for tree in trees)
                nodes = sum(len(tree.nodes) - 1 for tree in trees)
                rate = tokens / max(shown - begun, 1e-9)
                note(f"{len(trees)} trees, {nodes} thoughts, {tokens} tokens, {rate:,.0f} tokens/s")

            begun = time.monotonic()
            yield show

    @contextmanager
    def stage(self, label: str, kind: str | None = None) -> Iterator[Callable[[str], None]]:
        """Show that a stage is under way; the yielded function is told how far it is."""
        kind, begun, said = kind or label, time.monotonic(), label

        def say(note: str) -> None:
            nonlocal said
            said = f"{label}: {note}"
            if status:
                status.update(escape(said))

        status: Status | None = None
        with ExitStack() as shown:
            if self._console.is_terminal:
                status = shown.enter_context(self._console.status(escape(label)))
            else:
                line = partial(self._paces.line, kind)
                shown.enter_context(self._told(lambda seconds: f"{said}, {line(seconds)}"))
            yield say
        self._paces.note(kind, time.monotonic() - begun)

    def _told(self, line: Callable[[float], str]) -> AbstractContextManager[None]:
        return nullcontext() if self._console.quiet else told(self.say, line)

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
        if metrics.get("failed_rewards"):
            line += f"  failed rewards {metrics['failed_rewards']:.0f}"
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
            if self._console.is_terminal:
                yield lambda trees: live.update(draw_tree(trees[0]), refresh=True)
                return
            with self.rounds("search") as show:

                def grown(trees: list[Tree]) -> None:
                    live.update(draw_tree(trees[0]))
                    show(trees)

                yield grown

    def table(self, result: Mapping[str, Any], title: str) -> None:
        """Print the table of an evaluation under a title."""
        self._console.print(evaluation_table(result, title))

    def budgets(self, result: Mapping[str, Any]) -> None:
        """Print the model, and a table a budget."""
        self.say(result["model"])
        for row in result["budgets"]:
            title = f"{result['n']} held-out problems, at most {row['tokens']:,} tokens each"
            self._console.print(budget_table(row, title))
        for line in [*unplayed_lines(result), *asked_lines(result)]:
            self.say(line)

    def evaluation(self, iteration: int, result: Mapping[str, Any]) -> None:
        """Print the table of an evaluation during a run."""
        self.table(result, f"after iteration {iteration}: {result['n']} held-out problems")
