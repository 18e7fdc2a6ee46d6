"""What `llamao1 watch` draws on a terminal of a run as it stands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from llamao1_cli.report.frame import format_number
from llamao1_cli.report.metric_rows import flat, iterations, played
from llamao1_cli.report.reading import Evaluation, Run
from llamao1_cli.report.run_lines import evaluation_line, shown_metrics
from llamao1_cli.report.tree_lines import Solution
from llamao1_cli.report.tree_text import printable

MOST_LETTERS = 300  # of a problem or a thought
SPARKS = 40
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class View:
    """What there is to tell of a run: nothing yet, or as it stood when it could last be read."""

    run: Run | None = None
    solution: tuple[int, Solution] | None = None  # the last one, and its iteration
    notice: str | None = None


def draw(view: View) -> RenderableType:
    """Returns the view for a terminal; what the run's files say is text, never markup."""
    parts: list[RenderableType] = []
    if view.run:
        parts += [*_head(view.run), Text(), *_figures(view.run)]
    if view.solution:
        parts += [Text(), *_solution(*view.solution)]
    if view.notice:
        parts += [Text(), Text(printable(view.notice), style="yellow")]
    return Group(*parts)


def sparkline(values: Sequence[float]) -> str:
    """Returns a bar a value, from the lowest to the highest of them."""
    largest = max(map(abs, values)) or 1.0  # whose share cannot overflow, as a difference can
    shares = [value / largest for value in values]
    low = min(shares)
    step = (max(shares) - low) / (len(BARS) - 1) or 1.0
    return "".join(BARS[round((share - low) / step)] for share in shares)


def _head(run: Run) -> Iterator[RenderableType]:
    """Yields how far the run is, and the accuracy of its first strategy when it was evaluated."""
    done, asked = iterations(run), run.config.run.iterations
    name = Text(printable(run.name), style="bold")
    stage = f"iteration {done} of {asked}"
    if (warm := run.metrics.get("warmup")) and not done:
        stage = f"warm-up step {warm[-1]['step']}"
    yield name.append(f"  {stage}", style="not bold")
    bar = Table.grid()  # which ends its line, as a bar alone does not
    bar.add_row(ProgressBar(total=max(asked, 1), completed=done, width=SPARKS))
    yield bar
    if run.evaluations:
        yield Text("   ".join(evaluation_line(n, e) for n, e in _ends(run)))


def _ends(run: Run) -> list[tuple[int, Evaluation]]:
    """Returns the first and the last evaluation, once if they are the same."""
    found = list(run.evaluations.items())
    return [found[0], *found[1:][-1:]]


def _figures(run: Run) -> Iterator[RenderableType]:
    """Yields the last numbers of the iterations, or of the warm-up, and bars of those before."""
    rows = [flat(row) for row in (played(run) or run.metrics.get("warmup", []))[-SPARKS:]]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="cyan", no_wrap=True, overflow="crop")
    for key, name in shown_metrics(run.config.search).items():
        if rows and key in rows[-1]:
            values = [row[key] for row in rows if key in row]
            table.add_row(name, format_number(rows[-1][key]), sparkline(values))
    yield table


def _solution(number: int, solution: Solution) -> Iterator[RenderableType]:
    probability = format_number(solution.probability)
    yield Text(f"solved last, in iteration {number}, with probability {probability}", style="dim")
    yield Text(_cut(solution.problem), style="bold")
    for thought in solution.thoughts:
        yield Text(_cut(thought), style="green")


def _cut(text: str) -> str:
    """Returns a text on one line, its beginning if it is long."""
    line = printable(" ".join(text[: 2 * MOST_LETTERS].split()))
    return line if len(line) <= MOST_LETTERS else f"{line[:MOST_LETTERS]}…"
