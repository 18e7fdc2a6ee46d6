"""What the bench commands print: one line a variant."""

from statistics import median
from typing import Any

from rich.table import Table


def rollout_table(result: dict[str, Any]) -> Table:
    """Returns a table with one line a variant."""
    model = result["model"]
    title = f"{model['name']}, {model['parameters'] / 1e6:.1f} million parameters"
    table = Table(title=title, title_justify="left")
    for column in (
        "variant",
        "thoughts/s",
        "range",
        "ratio",
        "read/unique",
        "roofline",
        "peak MiB",
    ):
        table.add_column(column, justify="left" if column == "variant" else "right")
    for name, row in result["variants"].items():
        speed = row["thoughts_per_second"]
        ratio, share = row["ratio_to_reference"], row["roofline_share"]
        table.add_row(
            name,
            f"{speed['median']:.2f}",
            f"{speed['min']:.2f} to {speed['max']:.2f}",
            f"{ratio:.1f}x" if ratio else "",
            f"{row['forwarded_over_unique']:.2f}",
            f"{share:.0%}" if share else "",
            f"{row['peak_bytes'] / 2**20:.0f}",
        )
    return table


def update_table(result: dict[str, Any]) -> Table:
    """Returns a table with one line a variant."""
    title = f"one step over {result['trees']} trees, {result['thoughts']:,} thoughts"
    table = Table(title=title, title_justify="left")
    for column in ("variant", "seconds", "thoughts/s", "paths", "padded", "tokens", "peak MiB"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    for name, row in result["variants"].items():
        table.add_row(
            name,
            f"{median(row['seconds']):.2f}",
            f"{row['thoughts_per_second']:.1f}",
            f"{row['ratio_to_paths']:.2f}x",
            f"{row['ratio_to_padded']:.2f}x",
            f"{row['forwarded_tokens']:,}",
            f"{row['peak_bytes'] / 2**20:.0f}",
        )
    return table
