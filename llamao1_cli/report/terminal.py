"""`llamao1 watch` on the terminal: how fast it goes, what it loses, what it solved last."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from llamao1_cli.distributed.interrupts import Interrupts
from llamao1_cli.errors import UserError
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.report.curves import flat, played
from llamao1_cli.report.display import printable
from llamao1_cli.report.kept import Stamp
from llamao1_cli.report.live import run_stamps
from llamao1_cli.report.page import iterations
from llamao1_cli.report.reading import Evaluation, Run, RunReader
from llamao1_cli.report.svg import label
from llamao1_cli.report.trees import Solution, last_solution

LOOK_S = 2.0
LOOK_BACK = 20  # iterations in which a solution is looked for
MOST_LETTERS = 300  # of a problem or a thought
SPARKS = 40
WARMUP_STEPS = 100  # of a warm-up, to a line
BARS = "▁▂▃▄▅▆▇█"
FIGURES = {
    "tokens_per_second": "tokens/s",
    "solved_leaves": "right solutions",
    "loss": "loss",
    "policy_loss": "policy loss",
    "value_loss": "value loss",
    "value_head_loss": "value head loss",
    "kl_behaviour": "KL",
    "seconds.iteration": "seconds",
}


@dataclass(frozen=True)
class View:
    """What there is to tell of a run: nothing yet, or as it stood when it could last be read."""

    run: Run | None = None
    solution: tuple[int, Solution] | None = None  # the last one, and its iteration
    notice: str | None = None


class Watching:
    """Looks at a run folder, and reads it where it has changed."""

    def __init__(self, path: Path) -> None:
        self._folder, self._reader = RunFolder(path), RunReader(path, path.resolve().name)
        self._stamps: dict[Path, Stamp] | None = None
        self._view = View()

    def look(self) -> View:
        """The run as it stands."""
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
        """What was not told yet: steps of the warm-up, iterations, evaluations, trouble."""
        if view is self._view:
            return []
        lines = [*(_lines(view.run) if view.run else []), *filter(None, [view.notice])]
        shown = list(map(printable, lines))
        fresh = [line for line in shown if line not in self._told]
        self._view, self._told = view, {*shown}
        return fresh


def sparkline(values: Sequence[float]) -> str:
    """A bar a value, from the lowest to the highest of them."""
    largest = max(map(abs, values)) or 1.0  # whose share cannot overflow, as a difference can
    shares = [value / largest for value in values]
    low = min(shares)
    step = (max(shares) - low) / (len(BARS) - 1) or 1.0
    return "".join(BARS[round((share - low) / step)] for share in shares)


def draw(view: View) -> RenderableType:
    """The view for a terminal; what the run's files say is text, never markup."""
    parts: list[RenderableType] = []
    if view.run:
        parts += [*_head(view.run), Text(), *_figures(view.run)]
    if view.solution:
        parts += [Text(), *_solution(*view.solution)]
    if view.notice:
        parts += [Text(), Text(printable(view.notice), style="yellow")]
    return Group(*parts)


def _last_solution(run: Run) -> tuple[int, Solution] | None:
    for number, path in list(run.trees.items())[: -LOOK_BACK - 1 : -1]:
        if solution := run.kept(last_solution, path):
            return number, solution
    return None


def _head(run: Run) -> Iterator[RenderableType]:
    """How far the run is, and how right its first strategy was when it was last evaluated."""
    done, asked = iterations(run), run.config.run.iterations
    name = Text(printable(run.name), style="bold")
    warm = run.metrics.get("warmup")
    stage = f"iteration {done} of {asked}"
    if (warm := run.metrics.get("warmup")) and not done:
        stage = f"warm-up step {warm[-1]['step']}"
    yield name.append(f"  {stage}", style="not bold")
    bar = Table.grid()  # which ends its line, as a bar alone does not
    bar.add_row(ProgressBar(total=max(asked, 1), completed=done, width=SPARKS))
    yield bar
    if run.evaluations:
        yield Text("   ".join(_evaluation_line(n, e) for n, e in _ends(run)))


def _ends(run: Run) -> list[tuple[int, Evaluation]]:
    """The first and the last evaluation, once if they are the same."""
    found = list(run.evaluations.items())
    return [found[0], *found[1:][-1:]]


def _evaluation_line(number: int, evaluation: Evaluation) -> str:
    name, figures = next(iter(evaluation.strategies.items()))
    low, high = figures.ci95
    return printable(
        f"after iteration {number}: {name} {figures.accuracy:.3f} ({low:.3f} to {high:.3f})"
    )


def _figures(run: Run) -> Iterator[RenderableType]:
    """The last numbers of the iterations, or of the warm-up, and how they came about."""
    rows = [flat(row) for row in (played(run) or run.metrics.get("warmup", []))[-SPARKS:]]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="cyan", no_wrap=True, overflow="crop")
    for key, name in FIGURES.items():
        if rows and key in rows[-1]:
            values = [row[key] for row in rows if key in row]
            table.add_row(name, label(rows[-1][key]), sparkline(values))
    yield table


def _solution(number: int, solution: Solution) -> Iterator[RenderableType]:
    yield Text(f"solved last, in iteration {number}", style="dim")
    yield Text(_cut(solution.problem), style="bold")
    for thought in solution.thoughts:
        yield Text(_cut(thought), style="green")


def _cut(text: str) -> str:
    """A text on one line, its beginning if it is long."""
    line = printable(" ".join(text[: 2 * MOST_LETTERS].split()))
    return line if len(line) <= MOST_LETTERS else f"{line[:MOST_LETTERS]}…"


def _lines(run: Run) -> Iterator[str]:
    """A line for each iteration, each evaluation and some warm-up steps, in their order."""
    for row in run.metrics.get("warmup", []):
        if row["step"] % WARMUP_STEPS == 0:
            yield f"warm-up step {row['step']}{_numbers(flat(row))}"
    evaluations = dict(run.evaluations)
    if 0 in evaluations:
        yield _evaluation_line(0, evaluations.pop(0))
    for row in played(run):
        yield f"iteration {row['step']:>3}/{run.config.run.iterations}{_numbers(flat(row))}"
        if row["step"] in evaluations:
            yield _evaluation_line(row["step"], evaluations.pop(row["step"]))


def _numbers(row: dict[str, float]) -> str:
    return "".join(f"  {name} {label(row[key])}" for key, name in FIGURES.items() if key in row)
