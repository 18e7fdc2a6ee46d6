"""What prompt-lookup drafts would save: how often they are right in trees that were sampled.

Set against it is what it costs here to read the drafted tokens along. A draft copies what followed
the last place where the path had the same two tokens; speculative sampling accepts a token of it
with the token's probability. In trees sampled without drafts that is how often the token sampled
was the drafted one, so stored trees measure the rate without bias.

usage: python scripts/measure_speculation.py --run runs/quickstart [--rows 32] [--threads 2]
"""

import argparse
from pathlib import Path

import torch

from llamao1_cli.bench.machine import weights_roofline
from llamao1_cli.config.resolve import resolve
from llamao1_cli.engine.builtin.weights import rollout_copy
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.model.load import load_model
from llamao1_cli.search.tree import Tree, node_tokens
from llamao1_cli.search.tree_files import read_trees, tree_files
from llamao1_cli.tasks.load import load_task

LENGTHS = (1, 2, 3, 5)


def draft(path: list[int], length: int) -> list[int]:
    """The tokens behind the latest earlier place of the path's last two; [] if there is none."""
    for place in range(len(path) - 3, -1, -1):
        if path[place : place + 2] == path[-2:]:
            return path[place + 2 : place + 2 + length]
    return []


def accepted(trees: list[Tree], language: MarkedLanguage, length: int) -> tuple[float, float]:
    """Drafted tokens that are right, a step, and tokens drafted, a step, when each step of a
    thought feeds the last token and a draft behind it."""
    right = drafted = steps = 0
    for tree in trees:
        for node in tree.nodes[1:]:
            assert node.parent is not None
            tokens = node_tokens(tree, node, language)
            path = tree.path_ids(tree.nodes[node.parent], language) + tokens.ids[: tokens.sampled]
            left = list(node.thought.ids)
            while left:
                path.append(left.pop(0))  # the token that the step itself samples
                guess = draft(path, length)
                steps += 1
                drafted += len(guess)
                while guess and left and guess[0] == left[0]:
                    path.append(left.pop(0))
                    guess.pop(0)
                    right += 1
    return right / steps, drafted / steps


def main() -> None:
    """Print one line a draft length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=32, help="rows of a step without drafts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config, weights = resolve(None, options.run, None)
    loaded = load_model(config.model, load_task(config.task).corpus(), config.run.seed, weights)
    language = loaded.language(config.search.allowed_metas)
    model = rollout_copy(loaded.model, getattr(torch, options.dtype))
    trees = read_trees(tree_files(options.run / "trees")[-1], language)
    plain = options.rows / weights_roofline(model, options.rows)
    print(f"{options.run}, {options.rows} rows, {options.dtype}, {options.threads} threads")
    for length in LENGTHS:
        right, drafted = accepted(trees, language, length)
        rows = round(options.rows * (1 + drafted))
        cost = rows / weights_roofline(model, rows) / plain
        gain = (1 + right) / cost
        print(
            f"draft {length}: {drafted:.2f} drafted and {right:.2f} accepted a step, "
            f"a step costs {cost:.2f}x, tokens a second {gain:.2f}x"
        )


if __name__ == "__main__":
    main()
