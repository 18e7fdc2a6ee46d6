"""The table of several runs that differ in their seed: accuracy before and after, with spread."""

import argparse
import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

from llamao1_cli.evaluate.intervals import paired_difference
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.report.tables import difference


def evaluations(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first and the last evaluation of a run."""
    files = list(RunFolder(run).evaluations().values())
    first, last = (json.loads(path.read_text(encoding="utf-8")) for path in (files[0], files[-1]))
    return first, last


def seconds(run: Path) -> float:
    """Seconds of self-play: rollouts and updates, without warm-up and evaluation."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return sum(float(row["seconds"]["iteration"]) for row in rows if row["stage"] == "self-play")


def cells(values: list[float]) -> str:
    """A row's cells: one a run, then mean and standard deviation."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    shown = " | ".join(f"{value:.3f}" for value in values)
    return f"{shown} | {statistics.mean(values):.3f} ± {spread:.3f}"


def quality(name: str, figures: list[dict[str, Any]]) -> list[str]:
    """The rows of how well the values, or the ratings, foretell outcomes."""
    if not figures:
        return []
    ratio = [row["brier"] / max(row["brier_constant"], 1e-9) for row in figures]
    lines = [f"| Brier score of the {name} / constant | {cells(ratio)} |"]
    titles = {"auc": f"AUC of the {name}", "auc_within": f"AUC of the {name} within a problem"}
    for key, title in titles.items():
        if all(row[key] is not None for row in figures):
            lines.append(f"| {title} | {cells([row[key] for row in figures])} |")
    return lines


def table(runs: list[Path]) -> str:
    """The table as Markdown."""
    pairs = [evaluations(run) for run in runs]
    heads = " | ".join(f"seed {last['seed']}" for _, last in pairs)
    lines = [f"| held-out accuracy | {heads} | mean ± sd |", "|---" * (len(runs) + 2) + "|"]
    before = [first["strategies"]["greedy"]["accuracy"] for first, _ in pairs]
    lines.append(f"| greedy, before self-play | {cells(before)} |")
    for name in pairs[0][1]["strategies"]:
        after = [last["strategies"][name]["accuracy"] for _, last in pairs]
        lines.append(f"| {name}, after | {cells(after)} |")
    first, second = (
        [pair[when]["strategies"]["greedy"]["right"] for pair in pairs] for when in (0, 1)
    )
    gain = difference(paired_difference(second, first))
    lines.append(f"| greedy, after - before, the same problems, 95% |{' |' * len(runs)} {gain} |")
    for name in pairs[0][1]["differences"]:
        gains = [last["differences"][name]["difference"] for _, last in pairs]
        lines.append(f"| {name} | {cells(gains)} |")
        one, other = (
            [last["strategies"][each]["right"] for _, last in pairs] for each in name.split(" - ")
        )
        shown = difference(paired_difference(one, other))
        lines.append(f"| {name}, the same problems, 95% |{' |' * len(runs)} {shown} |")
    for kind in ("value", "rating"):
        lines += quality(f"{kind}s", [last[kind] for _, last in pairs if last[kind]])
    lines.append(f"| seconds of self-play | {cells([seconds(run) for run in runs])} |")
    problems = pairs[0][1]["n"]
    cores, python = os.cpu_count(), platform.python_version()
    machine = f"{cores} CPU cores, {platform.machine()}, Python {python}"
    return "\n".join([*lines, "", f"{problems} held-out problems a seed; {machine}."])


def main() -> None:
    """Print the table of the run folders on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    print(table(parser.parse_args().runs))


if __name__ == "__main__":
    main()
