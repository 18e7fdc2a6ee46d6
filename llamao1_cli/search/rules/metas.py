"""Meta-actions, drawn by what each of them was worth in the tree so far."""

import numpy as np

from llamao1_cli.language.marked import METAS, Meta
from llamao1_cli.search.tree import Tree

PRIOR_VALUE, PRIOR_COUNT = 0.5, 1.0  # what a transition that was never seen is worth


def transition_matrix(tree: Tree) -> np.ndarray:
    """Returns the probabilities `[5, 5]` of the next meta-action given the parent's; each row sums
    to 1.

    The row-softmax of smoothed mean values of the tree's edges (meta of parent, meta of child).
    """
    totals = np.full((len(METAS), len(METAS)), PRIOR_VALUE * PRIOR_COUNT)
    counts = np.full_like(totals, PRIOR_COUNT)
    for node in tree.nodes[1:]:
        assert node.parent is not None
        edge = _index(tree.nodes[node.parent].thought.meta), _index(node.thought.meta)
        totals[edge] += node.mean_value
        counts[edge] += 1
    means = np.exp(totals / counts)
    return means / means.sum(axis=1, keepdims=True)


def draw_metas(
    matrix: np.ndarray,
    parent: Meta | None,
    count: int,
    allowed: list[Meta],
    rng: np.random.Generator,
) -> tuple[Meta, ...]:
    """Returns at most `count` meta-actions, each from its predecessor's row; a conclusion ends
    it."""
    columns = [METAS.index(meta) for meta in allowed]
    chain: list[Meta] = []
    while len(chain) < count and (not chain or chain[-1] is not Meta.CONCLUSION):
        row = matrix[_index(chain[-1] if chain else parent), columns]
        chain.append(allowed[rng.choice(len(allowed), p=row / row.sum())])
    return tuple(chain)


def _index(meta: Meta | None) -> int:
    """Returns the matrix row of a meta-action; a thought without one is a plain expansion."""
    return METAS.index(meta or Meta.EXPANSION)
