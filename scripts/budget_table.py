"""The table of strategies at equal cost over several runs: what `llamao1 eval --budget` wrote."""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from llamao1_cli.evaluate.intervals import paired_difference
from llamao1_cli.report.tables import difference

AGAINST = "weighted_vote"  # what the others are compared with

Rows = list[dict[str, Any]]  # of one budget, a run each


def cell(rows: Rows, name: str) -> str:
    """Mean accuracy of a strategy over the runs, and its difference to the weighted vote's."""
    mean = statistics.mean(row["strategies"][name]["accuracy"] for row in rows)
    if name == AGAINST:
        return f"{mean:.3f}"
    one, other = ([row["strategies"][each]["right"] for row in rows] for each in (name, AGAINST))
    return f"{mean:.3f}, {difference(paired_difference(one, other))}"


def tokens(rows: Rows, name: str, problems: int) -> str:
    """A strategy's name, with its tokens a problem where they are far below the budget."""
    spent = statistics.mean(row["strategies"][name]["generated_tokens"] for row in rows) / problems
    return f"`{name}`" + (f", {spent:.0f} tokens" if spent < 0.9 * rows[0]["tokens"] else "")


def table(files: list[Path]) -> str:
    """The table as Markdown, a row a strategy and a column a budget."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    problems = results[0]["n"]
    budgets: list[Rows] = list(zip(*(result["budgets"] for result in results), strict=True))
    heads = " | ".join(f"{rows[0]['tokens']} tokens" for rows in budgets)
    lines = [f"| strategy | {heads} |", "|---" * (len(budgets) + 1) + "|"]
    for name in budgets[0][0]["strategies"]:
        cells = " | ".join(cell(rows, name) for rows in budgets)
        lines.append(f"| {tokens(budgets[-1], name, problems)} | {cells} |")
    seeds = ", ".join(str(result["seed"]) for result in results)
    return "\n".join([*lines, "", f"{problems} held-out problems a seed; seeds {seeds}."])


def main() -> None:
    """Print the table of the files on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="JSON files, one a run")
    print(table(parser.parse_args().files))


if __name__ == "__main__":
    main()
