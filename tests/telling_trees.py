"""Trees from whose token log-probs a value can learn what is right."""

import numpy as np

from llamao1_cli.engine.protocol import Thought
from llamao1_cli.language.marked import Rating
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem


def telling_tree(seed: int) -> Tree:
    """Eight solutions; the wrong ones have a token that was unlikely, ratings know nothing."""
    rng = np.random.default_rng(seed)
    tree = Tree.plant(Problem(str(seed), "How many?", "7"), seed, float(rng.random()))
    for number in range(8):
        node = tree.root
        for step in range(3):
            text = f"The answer is \\boxed{{{7 + number % 2}}}." if step == 2 else "a step"
            logprobs = (-rng.uniform(0.0, 0.5, 5)).tolist()
            if number % 2 and step == 1:
                logprobs[rng.integers(5)] = -rng.uniform(2.0, 4.0)
            rating = {"rating": float(rng.random()), "shown": Rating.UNKNOWN}
            ids = [10 * number + step] * 5
            thought = Thought(None, text, ids, logprobs, [0.0] * 5, [0.0] * 5, **rating)
            (node,) = tree.attach(node, [thought])
        node.earn(float(number % 2 == 0))
    rectify(tree, 1.0, "failure")
    return tree


def telling_trees(first: int, count: int = 12) -> list[Tree]:
    """One for each seed from `first` on."""
    return [telling_tree(seed) for seed in range(first, first + count)]
