"""Where a solution ends: at the first thought that states an answer as the task has it."""

from dataclasses import replace
from pathlib import Path

import pytest
from built_in_engine import engine
from fake_engine import FakeEngine
from toy_models import toy_model

from llamao1_cli.config import SearchConfig
from llamao1_cli.config.file import load_config
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.language.answer_forms import FORMS, AnswerForm, FormName
from llamao1_cli.language.marked import METAS, Meta, Rating
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.run.assembly import assemble
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.refine.self_refine import self_refine
from llamao1_cli.search.refine.solutions import Refinement
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"
NUMBER = FORMS["number"]
PROBLEM = Problem("p", "How many?", "7")


def said(*thoughts: tuple[Meta | None, str]) -> list[Thought]:
    return [Thought(meta, text, shown=Rating.UNKNOWN) for meta, text in thoughts]


def speaking(language: MarkedLanguage, form: AnswerForm) -> MarkedLanguage:
    return MarkedLanguage(language.tokenizer, METAS, form)


def test_a_form_decides_which_thoughts_state_an_answer() -> None:
    chain = [
        (Meta.EXPANSION, "<answer>(A)</answer> of 5"),
        (Meta.CONCLUSION, r"The answer is \boxed{7}."),
        (Meta.CONCLUSION, "#### (B) 3"),
    ]
    found = {}
    for name, form in FORMS.items():
        tree = Tree.plant(PROBLEM, 0, 0.5)
        found[name] = [node.answer for node in tree.attach(tree.root, said(*chain), form)]
    assert found == {
        "boxed": [None, "7", "(B) 3"],
        "tags": ["(A)", None, None],
        "hashes": [None, None, "(B) 3"],
        "letter": [None, None, "B"],
        "number": [None, "7", "3"],
    }


def test_what_a_tree_begins_behind_is_read_in_the_same_form() -> None:
    given = said((None, "so the answer is 5"), (None, "<answer>5</answer>"))
    assert [n.answer for n in Tree.plant(PROBLEM, 0, 0.5, given).nodes] == [None, "5", None]
    tagged = Tree.plant(PROBLEM, 0, 0.5, given, FORMS["tags"])
    assert [n.answer for n in tagged.nodes] == [None, None, "5"]


@pytest.mark.parametrize("concludes", [True, False])
def test_a_chain_ends_at_an_answer_and_nowhere_else(
    language: MarkedLanguage, concludes: bool
) -> None:
    form = replace(NUMBER, concludes=concludes)
    own = speaking(language, form)
    search = SearchConfig(algorithm="forks", chains=4, forks=2, max_depth=5, max_thought_tokens=9)
    problems = [Problem(str(i), f"How many are {i}?", "7") for i in range(12)]
    trees = grow(SearchRequest(problems, search, [*range(12)]), engine(toy_model(own), own), own)
    nodes = [node for tree in trees for node in tree.nodes[1:]]
    for node in nodes:
        assert node.answer == form.stated_by(node.thought.meta, node.thought.text)
        assert not (node.terminal and node.children)
    assert any(node.terminal for node in nodes)
    numbered = [node for node in nodes if NUMBER.stated(node.thought.text) and node.children]
    assert bool(numbered) is concludes  # numbers in other thoughts end nothing


def test_what_self_refine_rewrites_states_answers_in_the_same_form(
    language: MarkedLanguage,
) -> None:
    own = speaking(language, FORMS["tags"])
    fake = FakeEngine(own, lambda request, depth, meta, rng: (f"<answer>{depth}</answer>", 0.5))
    request = SearchRequest([PROBLEM], SearchConfig(max_depth=1), [0])
    (tree,) = self_refine(request, fake, own, Refinement(rewritings=0), None)
    assert [node.answer for node in tree.nodes] == [None, "1"]


@pytest.mark.parametrize("name", FORMS)
def test_a_run_plays_in_the_form_of_its_task(name: FormName) -> None:
    parts = assemble(load_config(TINY, [f"task.answers={name}"]))
    parts.verifier.close()
    assert parts.language.answers is FORMS[name]


def test_hints_ask_for_the_form(language: MarkedLanguage) -> None:
    own = speaking(language, FORMS["letter"])
    fake = FakeEngine(own)
    search = SearchConfig(
        meta_actions="matrix", hints="meta", allowed_metas=[Meta.CONCLUSION], simulations=1
    )
    grow(SearchRequest([PROBLEM], search, [0]), fake, own)
    hints = {hint for request in fake.requests for hint in request.hints}
    assert hints == {"Hint: summarise the steps and conclude with the final answer as one letter."}
