"""What the page says of a run in words and numbers: its head, and its files."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from llamao1_cli.config.changes import flat_settings
from llamao1_cli.config.file import dump_config
from llamao1_cli.report.metric_rows import flat, iterations, played
from llamao1_cli.report.reading import Evaluation, Figures, Run


def summary(run: Run) -> dict[str, Any]:
    """Returns what the head of the page says of a run."""
    evaluations = list(run.evaluations.items())
    before = evaluations[0][1] if evaluations and evaluations[0][0] == 0 else None
    after = evaluations[-1][1] if evaluations and evaluations[-1][1] is not before else None
    last = after or before
    return {
        "done": iterations(run),
        "asked": run.config.run.iterations,
        "name": run.name,
        "headline": next(iter(last.strategies)) if last else None,
        "before": before,
        "after": after,
        "rows": _strategy_rows(before, after),
        "facts": list(_facts(run, last)),
        "config": dump_config(run.config),
    }


def differing_keys(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Returns the dotted configuration keys in which runs differ, each with its value in every
    run."""
    settings = [flat_settings(run.config.model_dump(mode="json")) for run in runs]
    keys = dict.fromkeys(key for each in settings for key in each)
    rows = [
        (key, [json.dumps(each[key]) if key in each else "—" for each in settings]) for key in keys
    ]
    return [(key, values) for key, values in rows if len({*values}) > 1]


def file_links(run: Run, out: Path | None) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Returns the files of a run by kind: names, and links relative to the page's folder if it has
    one."""
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


def _strategy_rows(
    before: Evaluation | None, after: Evaluation | None
) -> list[tuple[str, Figures | None, Figures | None]]:
    """Returns each strategy before and after, in the order of the last evaluation."""
    old, new = (each.strategies if each else {} for each in (before, after))
    return [(name, old.get(name), new.get(name)) for name in dict.fromkeys([*new, *old])]


def _facts(run: Run, last: Evaluation | None) -> Iterator[tuple[str, str]]:
    build, task = run.config.model.build, run.config.task
    yield "Task", last.task if last else task.kind
    yield "Model", last.model if last else run.config.model.path or "built from scratch"
    if build and not run.config.model.path:
        yield "Size", f"{build.layers} layers, {build.hidden_size} wide"
    yield "Algorithm", run.config.learn.algorithm
    yield "Search", run.config.search.algorithm
    yield "Seed", str(run.config.run.seed)
    yield "Iterations", f"{iterations(run)} of {run.config.run.iterations}"
    rows = played(run)
    end = flat(rows[-1]) if rows else {}
    if "spent_tokens" in end:
        yield "Generated", f"{end['spent_tokens']:,.0f} tokens"
    if "seconds.spent" in end:
        yield "Time", _duration(end["seconds.spent"])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
