"""The rows of each format: pure functions of steps and trees.

A row's texts are marked text, as the model writes it. A prompt ends where the model begins, and a
completion is what it wrote; both together are read as the tokens the model was trained on. A row
that its tokenizer would read as other tokens is None.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from llamao1_cli.export.pairs import preference_pairs
from llamao1_cli.export.spelling import Speller
from llamao1_cli.export.steps import Step, add_tree
from llamao1_cli.language.marked import Rating, render_tree
from llamao1_cli.search.tree import Tree

TRACES = 2  # right solutions of a problem that the SFT rows keep

Row = dict[str, Any]


def openlongcot_row(tree: Tree) -> Row:
    """Returns `{"text"}`: the whole tree in the marked language, as the published data has it.

    A thought is rated by its outcomes: positive if half of its leaves or more are right,
    unknown if none states an answer.
    """
    first = tree.marked()
    steps = add_tree(Step(first[0]), tree)
    nodes = [replace(node, rating=_rating(step)) for node, step in zip(first, steps, strict=True)]
    return {"text": render_tree([first[0], *nodes[1:]])}


def sft_rows(problem: Step, speller: Speller) -> Iterator[Row | None]:
    """Yields `{"prompt", "completion"}`: the right solutions of the highest mean quality."""
    for path in best_traces(problem):
        texts = speller.texts(speller.asked(path[:1]), speller.answered(path[1:]))
        yield {"prompt": texts[0], "completion": texts[1]} if texts else None


def dpo_rows(problem: Step, speller: Speller, margin: float) -> Iterator[Row | None]:
    """Yields `{"prompt", "chosen", "rejected"}`: two thoughts after the same path."""
    for step in problem.below():
        for pair in preference_pairs(step, margin):
            prompt = speller.asked(step.path())
            good, bad = (speller.texts(prompt, speller.answered([each])) for each in pair)
            if good and bad:
                yield {"prompt": good[0], "chosen": good[1], "rejected": bad[1]}
            else:
                yield None


def prm_rows(problem: Step, speller: Speller) -> Iterator[Row | None]:
    """Yields `{"prompt", "completions", "labels"}`: each solution with an answer, step by step.

    A step is true if a right answer was ever reached from it (Math-Shepherd's hard estimation, Wang
    et al. 2024), that is, if its quality is above 0.
    """
    for path in solutions(problem):
        texts = speller.texts(*map(speller.node, path))
        labels = [step.right > 0 for step in path[1:]]
        if texts:
            yield {"prompt": texts[0], "completions": texts[1:], "labels": labels}
        else:
            yield None


def solutions(problem: Step) -> list[list[Step]]:
    """Returns the paths from the problem to thoughts that state an answer, as they were sampled."""
    ends = [step for step in problem.below() if step.outcome is not None]
    return [end.path() for end in ends if end is not problem]


def best_traces(problem: Step) -> list[list[Step]]:
    """Returns the at most `TRACES` right solutions of the highest mean quality."""
    right = [path for path in solutions(problem) if path[-1].outcome]
    return sorted(right, key=mean_quality, reverse=True)[:TRACES]


def mean_quality(path: Sequence[Step]) -> Fraction:
    """Returns the mean quality of the thoughts of a path, the problem left out."""
    return sum((step.quality for step in path[1:]), Fraction(0)) / (len(path) - 1)


def _rating(step: Step) -> Rating:
    if step.right + step.wrong == 0:
        return Rating.UNKNOWN
    return Rating.POSITIVE if 2 * step.right >= step.leaves else Rating.NEGATIVE
