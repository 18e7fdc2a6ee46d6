"""Run folders without a run: what the report reads, written by hand."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from llamao1_cli.engine.protocol import Thought
from llamao1_cli.language.marked import Meta, Rating
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.search.tree_files import write_trees
from llamao1_cli.tasks.problem import Problem

# A thought of a tree: its parent, its text, its value, and its outcome if it states an answer.
Step = tuple[int, str, float, bool | None]


def write_tree(problem: str, steps: Sequence[Step], *, name: str = "p", answer: str = "7") -> Tree:
    """A rectified tree of the given thoughts, each of two tokens with log-probs of -0.5."""
    tree = Tree.plant(Problem(name, problem, answer), 0, 0.5)
    for number, (parent, text, value, outcome) in enumerate(steps, start=1):
        figures = ([-0.5, -0.5], [0.2, 0.4], [0.1, 0.1])
        meta = Meta.EXPANSION if outcome is None else Meta.CONCLUSION
        made = Thought(meta, text, [1, 2], *figures, rating=value, shown=Rating.UNKNOWN)
        above = tree.nodes[parent]
        node = Node(number, parent, above.depth + 1, made, value)
        if outcome is not None:
            node.earn(float(outcome))
        node.answer = None if outcome is None else "7"
        above.children.append(number)
        tree.nodes.append(node)
    rectify(tree, 1.0, "failure")
    return tree


def two_ways(problem: str, *, name: str = "p", value: float = 0.9) -> Tree:
    """Two chains of two thoughts, the first right and the second wrong."""
    return write_tree(
        problem,
        [
            (0, "3+4=7", 0.8, None),
            (1, "The answer is \\boxed{7}.", value, True),
            (0, "3+4=8", 0.6, None),
            (3, "The answer is \\boxed{8}.", 0.3, False),
        ],
        name=name,
    )


def distinct_ways(one: str, other: str, *, name: str = "p") -> Tree:
    """Two solutions that were drawn without replacement, of probabilities 1/2 and 1/4; the second,
    which is right, begins with the first one's first token."""
    tree = Tree.plant(Problem(name, "What is 3+4?", "7"), 0, 0.5)
    tree.clock = 8.0
    for text, last, chance, known in ((one, 2, 0.5, 0), (other, 3, 0.25, 1)):
        figures = ([0.0, math.log(chance)], [0.2, 0.4], [0.1, 0.1])
        made = Thought(None, text, [1, last], *figures, known=known, shown=Rating.UNKNOWN)
        (node,) = tree.attach(tree.root, [made])
        node.answer, node.drawn = "7" if known else "8", 1.0
        node.earn(float(known))
    rectify(tree, 1.0, "failure")
    return tree


def write_run(
    folder: Path,
    *,
    metrics: Sequence[dict[str, Any]] = (),
    evaluations: dict[int, dict[str, Any]] | None = None,
    trees: dict[int, Sequence[Tree]] | None = None,
    settings: dict[str, Any] | None = None,
) -> Path:
    """A run folder with these files; `settings` are sections of its configuration."""
    folder.mkdir(parents=True)
    config = {"run": {"dir": "runs/written"}, "search": {"algorithm": "forks"}} | (settings or {})
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    if metrics:
        text = "".join(json.dumps(row) + "\n" for row in metrics)
        (folder / "metrics.jsonl").write_text(text)
    (folder / "eval").mkdir()
    for number, result in (evaluations or {}).items():
        (folder / "eval" / f"iteration-{number:06d}.json").write_text(json.dumps(result))
    for number, forest in (trees or {}).items():
        write_trees(folder / "trees" / f"iteration-{number:06d}.jsonl", forest)
    return folder


def played(steps: int) -> list[dict[str, Any]]:
    """Metrics of a warm-up step and of iterations whose numbers are all different."""
    rows = [
        {
            "stage": "self-play",
            "step": step,
            "solved_leaves": step / (steps + 1),
            "policy_loss": -0.125 * step,
            "kl_behaviour": 1e-5 * step,
            "generated_tokens": 1000.0 * step,
            "spent_tokens": 500.0 * step * (step + 1),
            "seconds": {"rollout": 4.0, "iteration": 5.0, "spent": 5.0 * step},
        }
        for step in range(1, steps + 1)
    ]
    return [{"stage": "warmup", "step": 1, "loss": 6.5}, *rows]


def evaluation(accuracy: float, n: int = 100, **more: Any) -> dict[str, Any]:
    """An evaluation of greedy decoding and a majority vote."""
    figures = {
        name: {
            "accuracy": value,
            "correct": value * n,
            "n": n,
            "ci95": [max(value - 0.1, 0.0), min(value + 0.1, 1.0)],
            "generated_tokens": 40 * n,
            "seconds": 2.0,
        }
        for name, value in (("greedy", accuracy), ("majority@8", accuracy / 2))
    }
    circumstances = {"task": "arithmetic", "split": "test", "n": n, "model": "m", "seed": 0}
    return circumstances | {"strategies": figures} | more
