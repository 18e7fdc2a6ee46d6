"""Pairs of solutions of one question, a right one and a wrong one: what a pairwise judge learns."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from llamao1_cli.config import RewardConfig
from llamao1_cli.errors import UserError
from llamao1_cli.search.tree import Tree, solution_text
from llamao1_cli.seeds import derive_seed
from llamao1_cli.tasks.fields import text_field
from llamao1_cli.tasks.rows import read_rows

MINED = 2  # right and wrong solutions that are taken of a tree, as in rStar-Math
LABELS = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True)
class Pair:
    """A right and a wrong solution of one question. The weights of a tree's pairs sum to 1, as do
    those of all labelled solutions of a question."""

    question: str
    better: str
    worse: str
    weight: float


def labelled_pairs(config: RewardConfig) -> list[Pair]:
    """Returns all pairs of a right and a wrong solution of one question in the configured file. A
    solution that is labelled both says nothing.

    Raises UserError for a row without a label, or a file that gives no pair.
    """
    if config.solutions is None:
        raise UserError("reward.solutions is missing: name a file of solutions, or give --trees")
    right: dict[str, dict[str, None]] = {}  # dictionaries keep the order of the rows
    wrong: dict[str, dict[str, None]] = {}
    for source, row in read_rows(config.solutions):
        question = text_field(row, config.question_field, source).strip()
        solution = text_field(row, config.solution_field, source).strip()
        group = right if _label(row, config.label_field, source) else wrong
        group.setdefault(question, {})[solution] = None
    pairs = [
        pair
        for question in right
        if question in wrong
        for pair in _product(
            question,
            [text for text in right[question] if text not in wrong[question]],
            [text for text in wrong[question] if text not in right[question]],
        )
    ]
    if not pairs:
        name = config.solutions.path or config.solutions.hub
        raise UserError(f"reward.solutions: {name}: no question has a right and a wrong solution")
    return pairs


def mined_pairs(trees: Iterable[Tree]) -> list[Pair]:
    """Returns pairs of each graded tree after rStar-Math (Guan et al. 2025): the `MINED` right
    solutions of the highest mean Q with the `MINED` wrong ones of the lowest, solutions that read
    the same counted once."""
    return [
        pair
        for tree in trees
        for pair in _product(
            tree.problem.text, _best(tree, outcome=True), _best(tree, outcome=False)
        )
    ]


def split(pairs: Sequence[Pair], seed: int, share: float) -> tuple[list[Pair], list[Pair]]:
    """Returns the pairs to train on, and the held-out ones."""
    train: list[Pair] = []
    test: list[Pair] = []
    for pair in pairs:
        (test if held_out(pair.question, seed, share) else train).append(pair)
    return train, test


def held_out(question: str, seed: int, share: float) -> bool:
    """Returns whether a question is held out, as about `share` of all questions are.

    Its text and the seed decide, so that it is the same in every file that has the question.
    """
    return derive_seed(seed, "held out", question.strip()) < share * 2**62


def _product(question: str, right: list[str], wrong: list[str]) -> list[Pair]:
    return [
        Pair(question, better, worse, 1 / (len(right) * len(wrong)))
        for better, worse in product(right, wrong)
    ]


def _best(tree: Tree, *, outcome: bool) -> list[str]:
    """Returns right solutions of the highest mean Q, or wrong ones of the lowest."""
    quality: dict[str, float] = {}
    for leaf in tree.leaf_nodes():
        if leaf.outcome is outcome:
            steps = tree.path(leaf)[1:]
            mean = sum(step.mean_value for step in steps) / len(steps)
            quality.setdefault(solution_text(steps, tree.joined), mean)
    return sorted(quality, key=lambda text: quality[text], reverse=outcome)[:MINED]


def _label(row: dict[str, object], field: str, source: str) -> bool:
    value = row.get(field)
    label = LABELS.get(json.dumps(value)) if isinstance(value, bool | int) else None
    if label is None:
        raise UserError(f"{source}: field `{field}` must be true or false, not {value!r:.60}")
    return label
