"""`llamao1 watch` on the terminal: how fast it goes, what it loses, what it solved last."""

import time
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from llamao1_cli.distributed.interrupts import Interrupts
from llamao1_cli.errors import UserError
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.report.kept import Stamp
from llamao1_cli.report.live import run_stamps
from llamao1_cli.report.reading import Run, RunReader
from llamao1_cli.report.run_lines import run_lines
from llamao1_cli.report.run_view import View, draw
from llamao1_cli.report.tree_lines import Solution, last_solution
from llamao1_cli.report.tree_text import printable

LOOK_S = 2.0
LOOK_BACK = 20  # iterations in which a solution is looked for


class Watching:
    """Looks at a run folder, and reads it where it has changed."""

    def __init__(self, path: Path) -> None:
        self._folder, self._reader = RunFolder(path), RunReader(path, path.resolve().name)
        self._stamps: dict[Path, Stamp] | None = None
        self._view = View()

    def look(self) -> View:
        """Returns the run as it stands."""
        stamps = run_stamps(self._folder)
        if stamps != self._stamps:
            self._stamps = stamps
            try:
                run = self._reader.read()
                self._view = View(run, _last_solution(run))
            except UserError as error:
                self._view = View(self._view.run, self._view.solution, str(error))
        return self._view


def follow(path: Path, address: str, interrupts: Interrupts) -> None:
    """Show the run in a folder until a signal comes: in place on a terminal, else line by line."""
    console = Console(highlight=False)
    console.print(
        Text(f"{address}  the page of {printable(str(path))}; Ctrl-C ends it"), soft_wrap=True
    )
    watching = Watching(path)
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                with interrupts.deferred():
                    live.update(draw(watching.look()), refresh=True)
                time.sleep(LOOK_S)
    lines = Lines()
    while True:
        with interrupts.deferred():
            for line in lines.fresh(watching.look()):
                print(line, flush=True)
        time.sleep(LOOK_S)


class Lines:
    """A run line by line, each told once."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._view: View | None = None

    def fresh(self, view: View) -> list[str]:
        """Returns what was not told yet: steps of the warm-up, iterations, evaluations, trouble."""
        if view is self._view:
            return []
        lines = [*(run_lines(view.run) if view.run else []), *filter(None, [view.notice])]
        shown = list(map(printable, lines))
        fresh = [line for line in shown if line not in self._told]
        self._view, self._told = view, {*shown}
        return fresh


def _last_solution(run: Run) -> tuple[int, Solution] | None:
    """Returns the last right solution of the newest iterations, and its iteration."""
    for number, path in list(run.trees.items())[: -LOOK_BACK - 1 : -1]:
        if solution := run.kept(last_solution, path):
            return number, solution
    return None
