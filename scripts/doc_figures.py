"""Draws the figures of the documentation from a run, as SVG:
.venv/bin/python scripts/doc_figures.py RUN FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from markupsafe import Markup, escape

from llamao1_cli.config.file import load_config
from llamao1_cli.learn.algorithms.rlsp import group_quality
from llamao1_cli.learn.losses import policy_loss
from llamao1_cli.report.curves import Chart, Point, Series, charts
from llamao1_cli.report.reading import Run, read_run
from llamao1_cli.report.svg import draw_chart, draw_reliability, label
from llamao1_cli.search.tree import Node, Tree

# The report's colours. A picture is no part of a page, so it brings them, for light and for dark.
STYLE = """
svg{--page:#fdfdfb;--ink:#1d1f21;--soft:#62676c;--rule:#e3e3de;--card:#fff;--s0:#0072b2;--s1:#d55e00}
@media(prefers-color-scheme:dark){svg{--page:#141617;--ink:#e8e6e1;--soft:#9a9fa4;--rule:#2e3235;
--card:#1b1e20;--s0:#56b4e9;--s1:#f0883e}}
.page{fill:var(--page)}.s0{--c:var(--s0)}.s1{--c:var(--s1);--dash:7 3}
.line{fill:none;stroke:var(--c);stroke-width:1.7;stroke-dasharray:var(--dash,none)}
circle{fill:var(--c)}.rule{stroke:var(--rule)}.ideal{stroke:var(--soft);stroke-dasharray:2 4}
text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
text{fill:var(--soft)}
text.x{text-anchor:middle}text.y{text-anchor:end}text.name{fill:var(--ink);font-weight:600}
.edge{fill:none;stroke:var(--c)}.node{fill:var(--card);stroke:var(--soft)}
text.says{fill:var(--ink)}
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
        (out / f"{name}.svg").write_text(picture + "\n", encoding="utf-8")


def learning(run: Run) -> Markup:
    """Right solutions and mixed trees over iterations."""
    by_title = {chart.title: chart for chart in charts([run])}
    shown = [by_title["Right solutions"], by_title["Mixed trees"]]
    parts = [
        _placed(draw_chart(chart), 16 + 320 * place, 34, 290, 170) + _name(chart, 16 + 320 * place)
        for place, chart in enumerate(shown)
    ]
    return _picture(642, 232, [*parts, _text(321, 222, "iteration")])


def clip_of_the_loss() -> Markup:
    """What `policy_loss` gives for one token, over its probability ratio."""
    ratios = torch.linspace(0.01, 4, 400)
    lines = [
        _loss_line(ratios, name, place, advantage)
        for place, (name, advantage) in enumerate((("A = 1", 1.0), ("A = −1", -1.0)))
    ]
    chart = Chart("", "Loss of one token", "", "ratio", lines)
    keys = [_key(330, 70 + 24 * place, place, line.name) for place, line in enumerate(lines)]
    parts = [_name(chart, 16), _placed(draw_chart(chart), 16, 34, 290, 170), *keys]
    return _picture(470, 232, [*parts, _text(180, 222, "probability ratio")])


def _loss_line(ratios: torch.Tensor, name: str, place: int, advantage: float) -> Series:
    """The loss with the ranges and the cap that are configured where nothing else is."""
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
    return Series(name, place, points)


def reliability(run: Run) -> Markup:
    """How often samples were right over the value of their steps, after the run."""
    steps = run.evaluations[max(run.evaluations)].steps
    if not steps:
        raise SystemExit(f"{run.name}: its last evaluation has no strategy that samples")
    names = [f"{name}s" for name in steps]
    keys = [_key(76, 40 + 22 * place, place, name) for place, name in enumerate(names)]
    return _picture(392, 316, [_placed(draw_reliability(steps), 12, 8, 360, 300), *keys])


def credit(run_folder: Path) -> Markup:
    """A tree with what the outcomes made of it: rectified values, and advantages by `group`."""
    tree = _telling_tree(run_folder)
    gains = group_quality(tree)
    places = _places(tree)
    parts = [
        _edge(places[node.parent], places[node.id], float(gains[node.id]))
        for node in tree.nodes[1:]
        if node.parent is not None
    ]
    parts += [_thought(node, *places[node.id]) for node in tree.nodes]
    wide = max(x for x, _ in places) + WIDE / 2 + 12
    high = max(y for _, y in places) + 34
    return _picture(wide, high, parts)


def _telling_tree(run_folder: Path) -> Tree:
    """Of the newest trees that fit in a page, and fork into right and wrong, the one whose leaves
    are most nearly half right."""
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


def _places(tree: Tree) -> list[tuple[float, float]]:
    """Where each node is: leaves side by side in the order of the branches, parents between."""
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
    """A line as thick as the advantage is large, and the advantage beside its lower end, on the
    side from which the line does not come."""
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
    """A thought's text and its rectified value; a leaf's mark says whether it is right."""
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
            x, y + 13, label(round(node.target or 0.0, 2))
        )
    )


def _placed(svg: Markup, x: float, y: float, width: float, height: float) -> Markup:
    """A picture within another, at its own size."""
    inner = str(svg).replace("<svg ", f'<svg x="{x}" y="{y}" width="{width}" height="{height}" ', 1)
    return Markup(inner)


def _key(x: float, y: float, place: int, name: str) -> Markup:
    """A line's style, and what it stands for."""
    line = Markup('<g class="s{}"><path class="line" d="M{},{}h26"/></g>').format(place, x, y)
    return line + Markup('<text x="{}" y="{}">{}</text>').format(x + 34, y + 4, name)


def _name(chart: Chart, x: float) -> Markup:
    return Markup('<text class="name" x="{}" y="24">{}</text>').format(x, chart.title)


def _text(x: float, y: float, text: str) -> Markup:
    return Markup('<text class="x" x="{}" y="{}">{}</text>').format(x, y, escape(text))


def _picture(width: float, height: float, parts: list[Markup]) -> Markup:
    """A picture that stands alone."""
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h:.0f}" width="{w:.0f}" '
        'height="{h:.0f}"><style>{style}</style>'
        '<rect class="page" width="100%" height="100%" rx="8"/>{parts}</svg>'
    ).format(w=width, h=height, style=Markup(STYLE), parts=Markup("").join(parts))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: .venv/bin/python scripts/doc_figures.py RUN FOLDER")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
