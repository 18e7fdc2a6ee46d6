"""Answers that are read from a whole solution, once the model has ended it."""

import json
from dataclasses import replace

import pytest

from llamao1_cli.engine.protocol import UNREAD, Thought
from llamao1_cli.evaluate.choices import majority
from llamao1_cli.language.answer_forms import FORMS, AnswerForm
from llamao1_cli.search.forest import forest_metrics
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import Problem, Solution

WHOLE = replace(FORMS["boxed"], whole=True)
PROBLEM = Problem("p", "How many?", "12")


def chain(*texts: str, ended: bool, form: AnswerForm = WHOLE) -> tuple[Tree, Node]:
    """A tree of one chain of unrated thoughts, and its last node."""
    tree = Tree.plant(PROBLEM, 0, None, answers=form)
    return tree, grown(tree, *texts, ended=ended, form=form)


def grown(tree: Tree, *texts: str, ended: bool, form: AnswerForm = WHOLE) -> Node:
    thoughts = [Thought(None, text, rating=None) for text in texts]
    thoughts[-1].final = ended
    return tree.attach(tree.root, thoughts, form)[-1]


@pytest.mark.parametrize(
    ("texts", "ended", "answer"),
    [
        (("3 + 9 = 12\n", "So \\boxed{12}."), True, "12"),
        (("So \\boxed{1", "2}. That is", " all."), True, "12"),  # cut anywhere
        (("\\boxed{12}\n", "I am sure."), True, "12"),
        (("\\boxed{12}\n", "or not"), False, None),  # unfinished
        (("I do not know.",), True, ""),
    ],
)
def test_an_ended_solution_states_what_it_states_anywhere(
    texts: tuple[str, ...], ended: bool, answer: str | None
) -> None:
    tree, end = chain(*texts, ended=ended)
    assert [node.answer for node in tree.nodes] == [None] * len(texts) + [answer]
    assert end.terminal == ended
    whole = "".join(texts).strip()
    assert tree.solution(end) == (None if answer is None else Solution(whole, answer))
    assert tree.solution(tree.root) is None


@pytest.mark.parametrize("name", ["letter", "number"])
def test_forms_of_conclusions_need_none(name: str) -> None:
    stated = {"letter": "The answer is B.", "number": "That makes 12 pens."}[name]
    _, end = chain("Let me see.\n", stated, ended=True, form=replace(FORMS[name], whole=True))
    assert end.answer == {"letter": "B", "number": "12"}[name]


def test_what_states_nothing_has_no_vote() -> None:
    tree = Tree.plant(PROBLEM, 0, None, answers=WHOLE)
    for text in ("nothing", "nothing", "\\boxed{12}"):
        grown(tree, text, ended=True)
    chosen = majority(tree, lambda pairs: [a == b for a, b in pairs])
    assert chosen is not None
    assert chosen.answer == "12"


def test_a_tree_without_ratings_survives_its_file() -> None:
    tree, _ = chain("3 + 9 = 12\n", "So \\boxed{12}.", ended=True)
    assert [node.value for node in tree.nodes] == [UNREAD] * 3
    again = Tree.from_json(json.loads(json.dumps(tree.to_json())))
    assert again == tree
    assert again.joined


def test_where_nothing_is_rated_no_mean_of_ratings_is_told() -> None:
    tree, _ = chain("3 + 9 = 12\n", "So \\boxed{12}.", ended=True)
    for node in tree.nodes:
        node.leaves, node.target = 1, 0.0
    assert "mean_rating" not in forest_metrics([tree])
    for node in tree.nodes:
        node.thought.rating = 0.25
    assert forest_metrics([tree])["mean_rating"] == 0.25
