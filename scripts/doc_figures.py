"""Draws the figures of the documentation from a run, as SVG:
.venv/bin/python scripts/doc_figures.py RUN FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from markupsafe import Markup

from llamao1_cli.config.file import load_config
from llamao1_cli.learn.algorithms.rlsp import group_quality
from llamao1_cli.learn.losses import policy_loss
from llamao1_cli.report.chart import Chart, Point, Series
from llamao1_cli.report.curves import charts
from llamao1_cli.report.evaluation_charts import reliability_picture
from llamao1_cli.report.frame import format_number
from llamao1_cli.report.line_chart import draw_chart
from llamao1_cli.report.reading import Run, read_run
from llamao1_cli.report.standalone import centred, heading, legend, placed, standalone
from llamao1_cli.search.tree import Node, Tree

# Of the figure of a tree; the rest is the report's.
STYLE = """
.edge { fill: none; stroke: var(--c); }
.node { fill: var(--card); stroke: var(--soft); }
text.says { fill: var(--ink); }
"""
LEAVES, DEPTH, WIDE, HIGH = (6, 8), 4, 124, 84  # of the tree that is shown, and of a thought there
FILES = 5  # newest files of trees among which it is looked for


def main(run_folder: Path, out: Path) -> None:
    """Write every figure to the folder `out`."""
    run = read_run(run_folder, run_folder.name)
    out.mkdir(parents=True, exist_ok=True)
    for name, picture in (
        ("learning", learning(run)),
        ("clip", clip_of_the_loss()),
        ("reliability", reliability(run)),
        ("credit", credit(run_folder)),
    ):
        (out / f"{name}.svg").write_text(picture, encoding="utf-8")


def learning(run: Run) -> Markup:
    """Returns right solutions and mixed trees over iterations."""
    by_title = {chart.title: chart for chart in charts([run])}
    parts = [centred(321, 222, "iteration")]
    for index, title in enumerate(("Right solutions", "Mixed trees")):
        x = 16 + 320 * index
        parts += [placed(draw_chart(by_title[title]), x, 34), heading(x, 24, title)]
    return standalone(642, 232, parts)


def clip_of_the_loss() -> Markup:
    """Returns what `policy_loss` is for one token, over its probability ratio."""
    ratios = torch.linspace(0.01, 4, 400)
    lines = [
        _loss_line(ratios, name, style, advantage)
        for style, (name, advantage) in enumerate((("A = 1", 1.0), ("A = −1", -1.0)))
    ]
    chart = Chart("", "Loss of one token", "", "ratio", lines)
    keys, *_ = legend([line.name for line in lines], 330, 70)
    picture = placed(draw_chart(chart), 16, 34)
    foot = centred(180, 222, "probability ratio")
    return standalone(470, 232, [heading(16, 24, chart.title), picture, keys, foot])


def _loss_line(ratios: torch.Tensor, name: str, style: int, advantage: float) -> Series:
    """Returns the loss with the default clip ranges and cap."""
    points = []
    for ratio in ratios:
        loss, _ = policy_loss(
            ratio.log()[None],
            torch.zeros(1),
            torch.tensor([advantage]),
            clip=0.2,
            clip_high=0.2,
            cap=3.0,
        )
        points.append(Point(float(ratio), float(loss)))
    return Series(name, style, points)


def reliability(run: Run) -> Markup:
    """Returns how often samples were right over the value of their steps, after the run."""
    steps = run.evaluations[max(run.evaluations)].steps
    if not steps:
        raise SystemExit(f"{run.name}: its last evaluation has no strategy that samples")
    return reliability_picture(steps)


def credit(run_folder: Path) -> Markup:
    """Returns a tree with the target of each thought, and its advantage by the credit `group`."""
    tree = _telling_tree(run_folder)
    gains = group_quality(tree)
    positions = _positions(tree)
    parts = [
        _edge(positions[node.parent], positions[node.id], float(gains[node.id]))
        for node in tree.nodes[1:]
        if node.parent is not None
    ]
    parts += [_thought(node, *positions[node.id]) for node in tree.nodes]
    wide = max(x for x, _ in positions) + WIDE / 2 + 12
    high = max(y for _, y in positions) + 34
    return standalone(wide, high, parts, STYLE)


def _telling_tree(run_folder: Path) -> Tree:
    """Returns, of the newest trees that fit in a page and fork into right and wrong, the one whose
    leaves are most nearly half right."""
    discount = load_config(run_folder / "config.yaml").search.discount
    assert discount == 1.0
    newest = sorted((run_folder / "trees").glob("*.jsonl"))[-FILES:]
    lines = [line for path in newest for line in path.read_text(encoding="utf-8").splitlines()]
    trees = [tree for tree in map(Tree.from_json, map(json.loads, lines)) if _tells(tree)]
    if not trees:
        raise SystemExit(f"{run_folder}: no tree of a size that fits in a page")
    return min(trees, key=lambda tree: abs((tree.root.target or 0) - 0.5))


def _tells(tree: Tree) -> bool:
    mixed = any(0 < (node.target or 0) < 1 for node in tree.nodes[1:] if len(node.children) > 1)
    deepest = max(node.depth for node in tree.nodes)
    return mixed and LEAVES[0] <= tree.root.leaves <= LEAVES[1] and deepest <= DEPTH


def _positions(tree: Tree) -> list[tuple[float, float]]:
    """Returns where each node is: leaves side by side in the order of the branches, parents between
    their children."""
    across: dict[int, float] = {}
    waiting, leaves = [tree.root], 0
    order: list[Node] = []
    while waiting:
        node = waiting.pop()
        order.append(node)
        waiting += reversed(tree.children(node))
        if not node.children:
            across[node.id] = 12 + WIDE * (leaves + 0.5)
            leaves += 1
    for node in reversed(order):
        if node.children:
            across[node.id] = float(np.mean([across[child] for child in node.children]))
    return [(across[node.id], 36 + HIGH * node.depth) for node in tree.nodes]


def _edge(above: tuple[float, float], below: tuple[float, float], gain: float) -> Markup:
    """Returns a line as thick as the advantage is large, and the advantage beside its lower end, on
    the side from which the line does not come."""
    middle = (above[1] + below[1]) / 2
    bend = f"C{above[0]:.0f},{middle:.0f} {below[0]:.0f},{middle:.0f} {below[0]:.0f},{below[1]:.0f}"
    line = Markup('<path class="edge s{}" stroke-width="{:.1f}" d="M{:.0f},{:.0f}{}"/>').format(
        int(gain < 0), min(1.2 + 2 * abs(gain), 8), *above, bend
    )
    side = -1 if below[0] < above[0] else 1
    return line + Markup('<text class="{}" x="{:.0f}" y="{:.0f}">{:+.2f}</text>').format(
        "y" if side < 0 else "", below[0] + 7 * side, below[1] - 25, gain
    )


def _thought(node: Node, x: float, y: float) -> Markup:
    """Returns a thought's text and its target Q; a leaf's mark says whether it is right."""
    # The arithmetic task's thoughts name an event, and behind a comma what it makes.
    text = "problem" if node.parent is None else node.thought.text.rsplit(", ", 1)[-1].strip()
    if node.answer is not None:
        text = f"{node.answer}  {'✓' if node.outcome else '✗'}"
    text = text if len(text) <= 18 else text[:17] + "…"
    box = Markup('<rect class="node" x="{:.0f}" y="{:.0f}" width="{}" height="40" rx="7"/>')
    return (
        box.format(x - WIDE / 2 + 5, y - 20, WIDE - 10)
        + Markup('<text class="x says" x="{:.0f}" y="{:.0f}">{}</text>').format(x, y - 3, text)
        + Markup('<text class="x" x="{:.0f}" y="{:.0f}">Q {}</text>').format(
            x, y + 13, format_number(round(node.target or 0.0, 2))
        )
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: .venv/bin/python scripts/doc_figures.py RUN FOLDER")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
