"""The Markdown table of rollout measurements: one line a model, tree width and variant."""

import json
import sys
from pathlib import Path


def main(paths: list[str]) -> None:
    """Print the table of the JSON files that `llamao1 bench rollout` wrote."""
    print("| model | children | variant | thoughts/s (range) | ratio | read/unique | of roofline |")
    print("|---|---|---|---|---|---|---|")
    machine = {}
    for path in map(Path, paths):
        result = json.loads(path.read_text())
        machine = result["machine"]
        for name, row in result["variants"].items():
            speed = row["thoughts_per_second"]
            ratio, share = row["ratio_to_reference"], row["roofline_share"]
            cells = [
                path.stem.rpartition("-")[0] or path.stem,
                str(result["workload"]["max_children"]),
                name,
                f"{speed['median']:.2f} ({speed['min']:.2f} to {speed['max']:.2f})",
                f"{ratio:.1f}" if ratio else "",
                f"{row['forwarded_over_unique']:.2f}",
                f"{share:.0%}" if share else "",
            ]
            print(f"| {' | '.join(cells)} |")
    print("\n" + ", ".join(f"{key} {value}" for key, value in machine.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
