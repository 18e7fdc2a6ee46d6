"""One HTML page from what was read of the runs: template, style, script and data in one file."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from llamao1_cli.report.chart import Chart
from llamao1_cli.report.curves import charts
from llamao1_cli.report.embedding import embedded
from llamao1_cli.report.evaluation_charts import draw_budgets, draw_reliability, strategy_names
from llamao1_cli.report.frame import format_number
from llamao1_cli.report.line_chart import chart_frame, draw_chart
from llamao1_cli.report.reading import Run
from llamao1_cli.report.run_summary import differing_keys, file_links, summary
from llamao1_cli.report.shown_tree import MOST_TEXT
from llamao1_cli.report.svg import dot, line_class
from llamao1_cli.report.tree_choice import MOST_BYTES, MOST_TREES, Forest, forest

# Each uses those before it.
SCRIPTS = ["charts.js", "mathematics.js", "thoughts.js", "tree.js", "picker.js"]


def render(runs: Sequence[Run], out: Path) -> str:
    """Returns the page of the runs, whose links hold where it is written to `out`."""
    return _page(runs, SCRIPTS, out=out)


def render_live(run: Run, version: str) -> str:
    """Returns the page of a run that keeps itself up to date: it asks the server that it came from
    for another `version`. It links to no files."""
    return _page([run], [*SCRIPTS, "live.js"], version=version)


def render_waiting(name: str, message: str) -> str:
    """Returns a page that says why there is none of a run yet, and loads itself again."""
    template = _template("waiting.html.j2")
    return _encodable(template.render(name=name, message=message, style=_style()))


def _page(
    runs: Sequence[Run],
    scripts: Sequence[str],
    *,
    out: Path | None = None,
    version: str | None = None,
) -> str:
    drawn = charts(runs)
    forests = [forest(run, MOST_TREES // len(runs), MOST_BYTES // len(runs)) for run in runs]
    script = "\n".join(map(_part, scripts))
    page = _template("template.html.j2").render(
        runs=[
            summary(run) | {"index": index, "trees": len(each.trees), "all_trees": each.total}
            for index, (run, each) in enumerate(zip(runs, forests, strict=True))
        ],
        groups=_groups(drawn),
        reliability=_reliability(runs),
        budgets=_budgets(runs),
        differences=differing_keys(runs),
        files=[(run.name, file_links(run, out)) for run in runs],
        most_text=MOST_TEXT,
        version=version,
        style=_style(),
        script=Markup(script),
        # The browser runs this script alone, whatever else a page may come to hold.
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=embedded({"charts": [_chart_data(c) for c in drawn], "trees": _trees(runs, forests)}),
    )
    return _encodable(page)


def _encodable(page: str) -> str:
    """Returns the page with marks for halves of surrogate pairs, which names of folders may
    hold."""
    return page.encode(errors="replace").decode()


@cache
def _part(name: str) -> str:
    """Returns a part of the page that is shipped with the program."""
    return files("llamao1_cli.report").joinpath(name).read_text(encoding="utf-8")


def _style() -> Markup:
    return Markup(_part("drawing.css") + _part("report.css"))


@cache
def _template(name: str) -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": format_number,
        "accuracy": lambda value: f"{value:.3f}",
        "line_class": line_class,
        "legend_dot": lambda style: dot(13, 6, 3.2, style),
    }
    return environment.from_string(_part(name))


def _groups(drawn: Sequence[Chart]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Returns the charts by group, each with its number in the page's data."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for number, chart in enumerate(drawn):
        shown = {"id": number, "chart": chart, "svg": draw_chart(chart)}
        groups.setdefault(chart.group, []).append(shown)
    return list(groups.items())


def _chart_data(chart: Chart) -> dict[str, Any]:
    """Returns the points of a chart in data and in the picture, for whoever points at them."""
    frame = chart_frame(chart)
    return {
        "axis": chart.axis,
        "top": frame.top,
        "bottom": frame.height - frame.bottom,
        "series": [
            {
                "name": series.name,
                "style": line_class(series.style),
                "x": [point.x for point in series.points],
                "y": [point.y for point in series.points],
                "across": [round(frame.across(point.x), 1) for point in series.points],
                "up": [round(frame.up(point.y), 1) for point in series.points],
                "shown": [format_number(point.y) for point in series.points],
            }
            for series in chart.series
        ],
    }


def _reliability(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Returns a diagram a run, of its last evaluation that measured steps; those of the run itself
    count as later than those made by hand."""
    pictures = []
    for run in runs:
        named = [
            *((path.name, each) for path, each in run.extra.items()),
            *((f"iteration {n}", each) for n, each in run.evaluations.items()),
        ]
        measured = [(source, each.steps) for source, each in named if each.steps]
        if measured:
            source, steps = measured[-1]
            picture = draw_reliability(steps)
            pictures.append({"run": run.name, "source": source, "steps": steps, "svg": picture})
    return pictures


def _budgets(runs: Sequence[Run]) -> list[dict[str, Any]]:
    return [
        {
            "run": run.name,
            "source": path.name,
            "n": result.n,
            "names": strategy_names(rows),
            "rows": rows,
            "svg": draw_budgets(rows),
        }
        for run in runs
        for path, result in run.budgets.items()
        if (rows := result.rows())
    ]


def _trees(runs: Sequence[Run], forests: Sequence[Forest]) -> list[dict[str, Any]]:
    return [
        {"run": run.name} | tree
        for run, each in zip(runs, forests, strict=True)
        for tree in each.trees
    ]
