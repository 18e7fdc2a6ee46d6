"""One HTML page from what was read of the runs: template, style, script and data in one file."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from llamao1_cli.config.changes import flat_settings
from llamao1_cli.config.file import dump_config
from llamao1_cli.report.curves import Chart, charts, flat, played
from llamao1_cli.report.embedding import embedded
from llamao1_cli.report.reading import Evaluation, Figures, Run
from llamao1_cli.report.svg import LINES, chart_frame, draw_budgets, draw_chart, draw_reliability
from llamao1_cli.report.svg import label as number
from llamao1_cli.report.trees import MOST_BYTES, MOST_TEXT, MOST_TREES, Forest, forest


def render(runs: Sequence[Run], out: Path) -> str:
    """The page of the runs, whose links hold where it is written to `out`."""
    return _page(runs, ["report.js"], out=out)


def render_live(run: Run, version: str) -> str:
    """The page of a run that keeps itself up to date: it asks the server that it came from for
    another `version`. It links to no files."""
    return _page([run], ["report.js", "live.js"], version=version)


def render_waiting(name: str, message: str) -> str:
    """A page that says why there is none of a run yet, and loads itself again."""
    style = Markup(_part("report.css"))
    return _encodable(_template("waiting.html.j2").render(name=name, message=message, style=style))


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
            _run(place, run, each)
            for place, (run, each) in enumerate(zip(runs, forests, strict=True))
        ],
        groups=_groups(drawn),
        reliability=_reliability(runs),
        budgets=_budgets(runs),
        differences=differing_keys(runs),
        files=[(run.name, file_links(run, out)) for run in runs],
        most_text=MOST_TEXT,
        version=version,
        style=Markup(_part("report.css")),
        script=Markup(script),
        # The browser runs this script alone, whatever else a page may come to hold.
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=embedded({"charts": [_chart_data(c) for c in drawn], "trees": _trees(runs, forests)}),
    )
    return _encodable(page)


def _encodable(page: str) -> str:
    """The page with marks for halves of surrogate pairs, which names of folders may hold."""
    return page.encode(errors="replace").decode()


def iterations(run: Run) -> int:
    """How many iterations of a run are done."""
    rows = played(run)
    return int(rows[-1]["step"]) if rows else 0


def differing_keys(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """The dotted configuration keys in which runs differ, each with its value in every run."""
    settings = [flat_settings(run.config.model_dump(mode="json")) for run in runs]
    keys = dict.fromkeys(key for each in settings for key in each)
    rows = [
        (key, [json.dumps(each[key]) if key in each else "—" for each in settings]) for key in keys
    ]
    return [(key, values) for key, values in rows if len({*values}) > 1]


def file_links(run: Run, out: Path | None) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """The files of a run by kind: names, and links relative to the page's folder if it has one."""
    folder = run.folder
    kinds = {
        "Run": [path for path in (folder.config, folder.metrics) if path.is_file()],
        "Evaluations": [*folder.evaluations().values(), *run.extra, *run.budgets],
        "Checkpoints": sorted(folder.checkpoints.glob("*-*")),
        "Trees": list(run.trees.values()),
    }
    return [
        (kind, [(path.name, _link(path, out) if out else None) for path in paths])
        for kind, paths in kinds.items()
        if paths
    ]


def _link(path: Path, out: Path) -> str:
    relative = os.path.relpath(path.absolute(), out.absolute().parent)
    return quote(relative.encode("utf-8", "surrogateescape"))


@cache
def _part(name: str) -> str:
    """A part of the page that is shipped with the program."""
    return files("llamao1_cli.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _template(name: str) -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "accuracy": _accuracy, "place": lambda n: n % LINES}
    return environment.from_string(_part(name))


def _accuracy(value: float) -> str:
    return f"{value:.3f}"


def _run(place: int, run: Run, trees: Forest) -> dict[str, Any]:
    """What the head of the page says of a run."""
    evaluations = list(run.evaluations.items())
    before = evaluations[0][1] if evaluations and evaluations[0][0] == 0 else None
    after = evaluations[-1][1] if evaluations and evaluations[-1][1] is not before else None
    last = after or before
    return {
        "done": iterations(run),
        "asked": run.config.run.iterations,
        "place": place,
        "name": run.name,
        "headline": next(iter(last.strategies)) if last else None,
        "before": before,
        "after": after,
        "rows": _rows(before, after),
        "facts": _facts(run, last),
        "config": dump_config(run.config),
        "trees": len(trees.trees),
        "all_trees": trees.total,
    }


def _rows(
    before: Evaluation | None, after: Evaluation | None
) -> list[tuple[str, Figures | None, Figures | None]]:
    """Each strategy before and after, in the order of the last evaluation."""
    old, new = (each.strategies if each else {} for each in (before, after))
    return [(name, old.get(name), new.get(name)) for name in dict.fromkeys([*new, *old])]


def _facts(run: Run, last: Evaluation | None) -> list[tuple[str, str]]:
    rows = played(run)
    end = flat(rows[-1]) if rows else {}
    build, task = run.config.model.build, run.config.task
    facts = [
        ("Task", last.task if last else task.kind),
        ("Model", last.model if last else run.config.model.path or "built from scratch"),
    ]
    if build and not run.config.model.path:
        facts.append(("Size", f"{build.layers} layers, {build.hidden_size} wide"))
    facts += [
        ("Algorithm", run.config.learn.algorithm),
        ("Search", run.config.search.algorithm),
        ("Seed", str(run.config.run.seed)),
        ("Iterations", f"{iterations(run)} of {run.config.run.iterations}"),
    ]
    if "spent_tokens" in end:
        facts.append(("Generated", f"{end['spent_tokens']:,.0f} tokens"))
    if "seconds.spent" in end:
        facts.append(("Time", _duration(end["seconds.spent"])))
    return facts


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _groups(drawn: Sequence[Chart]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The charts by group, each with its number in the page's data."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for place, chart in enumerate(drawn):
        shown = {"id": place, "chart": chart, "svg": draw_chart(chart)}
        groups.setdefault(chart.group, []).append(shown)
    return list(groups.items())


def _chart_data(chart: Chart) -> dict[str, Any]:
    """The points of a chart in data and in the picture, for whoever points at them."""
    frame = chart_frame(chart)
    return {
        "axis": chart.axis,
        "top": frame.top,
        "bottom": frame.height - frame.bottom,
        "series": [
            {
                "name": series.name,
                "style": f"s{series.place % LINES}",
                "x": [point.x for point in series.points],
                "y": [point.y for point in series.points],
                "across": [round(frame.across(point.x), 1) for point in series.points],
                "up": [round(frame.up(point.y), 1) for point in series.points],
                "shown": [number(point.y) for point in series.points],
            }
            for series in chart.series
        ],
    }


def _reliability(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A diagram a run, of its last evaluation that measured steps; one made by hand comes after."""
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
            "names": list(dict.fromkeys(name for row in result.budgets for name in row.strategies)),
            "rows": sorted(result.budgets, key=lambda row: row.tokens),
            "svg": draw_budgets(result.budgets),
        }
        for run in runs
        for path, result in run.budgets.items()
        if result.budgets
    ]


def _trees(runs: Sequence[Run], forests: Sequence[Forest]) -> list[dict[str, Any]]:
    return [
        {"run": run.name} | tree
        for run, each in zip(runs, forests, strict=True)
        for tree in each.trees
    ]
