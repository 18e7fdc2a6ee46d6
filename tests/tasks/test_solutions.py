"""Worked solutions as demonstrations: right ones, and ones that slip."""

import json
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from llamao1_cli.config import DataSource, DataTask
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.errors import UserError
from llamao1_cli.language.answer_forms import BOXED, FORMS, AnswerForm, FormName
from llamao1_cli.language.answers import stated_answer
from llamao1_cli.language.marked import MarkedNode, Meta, Rating, parse_tree, render_tree
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.dataset import DataSet
from llamao1_cli.tasks.equality.verdict import verdict
from llamao1_cli.tasks.problem import Problem
from llamao1_cli.tasks.solutions import demonstrate, solution_steps

DATA = Path(os.environ.get("LLAMAO1_DATA") or Path(__file__).parents[3] / "shared" / "data")

CLIPS = Problem("1", "How many clips did Natalia sell in April and May?", "72")
SOLUTION = (
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n \n"
    "  Natalia sold 48+24 = <<48+24=72>>72 clips.\n#### 72"
)
STEPS = ["Natalia sold 48/2 = 24 clips in May.", "Natalia sold 48+24 = 72 clips."]


def many(
    problem: Problem, solution: str, count: int = 400, form: AnswerForm = BOXED
) -> list[list[MarkedNode]]:
    rng = np.random.default_rng(0)
    return [demonstrate(problem, solution, rng, form) for _ in range(count)]


def slipped(tree: list[MarkedNode]) -> bool:
    return not tree[-1].imitate


@pytest.mark.parametrize(
    ("solution", "steps"),
    [
        (SOLUTION, STEPS),
        ("#### 72", []),
        ("One step = 5.\nThe answer is 5.\nChecked: 6 - 1.", ["One step = 5.", "Checked: 6 - 1."]),
        ("No mark at the end\nbut two lines", ["No mark at the end", "but two lines"]),
        ("x = <<a<b>>3", ["x = <<a<b>>3"]),
        ("It is one thing. It costs Rs. 100.", ["It is one thing.", "It costs Rs. 100."]),
    ],
)
def test_steps_are_the_lines_or_sentences_of_a_solution(solution: str, steps: list[str]) -> None:
    assert solution_steps(solution, BOXED) == steps


@pytest.mark.parametrize(
    ("solution", "steps"),
    [
        ("Half of 8 is 4. Thus $x = \\boxed{4}.$", ["Half of 8 is 4.", "Thus $x = {4}.$"]),
        ("$\\boxed{72}$", []),
        ("The sum is $\\boxed5$.", ["The sum is $5$."]),
        ("$x^\\fbox{12}$", ["$x^{12}$"]),
        ("2 + 3 is five, so the answer is 5.", ["2 + 3 is five,"]),
        ("With 8 pints the final answer is 15 * 8 = 120.", ["With 8 pints 15 * 8 = 120."]),
        ("She has 5 left. #### 5", ["She has 5 left."]),
        ("We halve it.\nA: 4", ["We halve it."]),
        ("So the answer is $\\frac{7!}{2!} = \\boxed{2520}$.", ["$\\frac{7!}{2!} = {2520}$."]),
        ("The answer: 4 answers: 5 answers: 6 answers: 7 is it", []),
    ],
)
def test_a_step_keeps_all_but_the_answer_it_states(solution: str, steps: list[str]) -> None:
    found = solution_steps(solution, BOXED)
    assert not any(map(stated_answer, found))
    assert found == steps


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("boxed", ["We try <answer>4</answer>, then (B) it is {5}."]),
        ("tags", ["We try 4, then (B) it is {5}."]),
        ("letter", ["We try <answer>4</answer>, then (B) it is {5}."]),
        ("number", ["We try <answer>4</answer>, then (B) it is {5}."]),
    ],
)
def test_steps_state_no_answer_of_the_data_or_of_the_task(name: FormName, steps: list[str]) -> None:
    solution = "We try <answer>4</answer>, then (B) it is \\boxed{5}.\n#### 5\n"
    found = solution_steps(solution, FORMS[name])
    assert found == steps
    assert not any(FORMS[name].stated_by(Meta.EXPANSION, step) for step in found)


def test_a_line_of_the_tags_alone_is_no_step() -> None:
    solution = "Half of 10 is 5.\n<answer>5</answer>"
    assert solution_steps(solution, FORMS["tags"]) == ["Half of 10 is 5."]


@pytest.mark.parametrize("name", ["boxed", "tags", "hashes", "number"])
def test_conclusions_state_answers_as_the_task_has_them(name: FormName) -> None:
    form = FORMS[name]
    for tree in many(CLIPS, SOLUTION, 100, form):
        stated = [form.stated_by(node.meta, node.text) for node in tree]
        assert not any(stated[:-1])
        if tree[-1].meta is Meta.CONCLUSION:
            assert (stated[-1] == CLIPS.answer) is not slipped(tree)
            assert tree[-1].text == form.statement(stated[-1] or "")


def test_no_mistake_is_made_in_a_drawing() -> None:
    solution = "[asy]\nint i = 1;\n[/asy]\n\nSo it is 2."
    assert not any(map(slipped, many(Problem("1", "?", "2"), solution)))


def visible(text: str) -> int:
    return len("".join(text.split()))


def test_competition_solutions_keep_their_reasoning() -> None:
    path = DATA / "math500" / "test.jsonl"
    if not path.is_file():
        pytest.skip(f"math500 not found under {DATA}; set LLAMAO1_DATA to the data folder")
    solutions = [json.loads(line)["solution"] for line in path.read_text().splitlines()]
    steps = [solution_steps(solution, BOXED) for solution in solutions]
    kept = sum(visible(step) for each in steps for step in each)
    assert kept / sum(map(visible, solutions)) >= 0.98
    assert all(steps)
    assert not any(stated_answer(step) for each in steps for step in each)
    drawings = [part for text in solutions for part in re.findall(r"(?s)\[asy\].*?\[/asy\]", text)]
    assert {*drawings} <= {step for each in steps for step in each}


def test_the_lines_of_grade_school_solutions_are_the_steps() -> None:
    """But for four of 8,792 that say "the answer is", and then only in that line."""
    paths = [DATA / "gsm8k" / f"{name}.jsonl" for name in ("train", "test")]
    if not paths[0].is_file():
        pytest.skip(f"gsm8k not found under {DATA}; set LLAMAO1_DATA to the data folder")
    other = []
    for line in "".join(path.read_text() for path in paths).splitlines():
        lines = re.sub("<<[^<>]*>>", "", json.loads(line)["answer"]).splitlines()
        plain = [each.strip() for each in lines if each.strip() and not each.startswith("####")]
        other += (
            [(plain, steps)] if (steps := solution_steps("\n".join(lines), BOXED)) != plain else []
        )
    assert len(other) == 4
    for plain, steps in other:
        assert [*steps[:-1]] == plain[: len(steps) - 1]
        assert "answer is" in plain[-1]


def test_a_right_solution_is_a_chain_of_steps_and_a_conclusion() -> None:
    right = next(tree for tree in many(CLIPS, SOLUTION) if not slipped(tree))
    assert right == [
        MarkedNode(-1, 0, CLIPS.text, Meta.PROBLEM),
        MarkedNode(0, 1, STEPS[0], Meta.EXPANSION, Rating.POSITIVE),
        MarkedNode(1, 2, STEPS[1], Meta.EXPANSION, Rating.POSITIVE),
        MarkedNode(2, 3, "The answer is \\boxed{72}.", Meta.CONCLUSION, Rating.POSITIVE),
    ]


def test_a_slip_changes_one_digit_of_a_result_and_ends_the_chain() -> None:
    trees = [tree for tree in many(CLIPS, SOLUTION) if slipped(tree)]
    first, second = set(), set()
    for problem, *thoughts in trees:
        assert problem == MarkedNode(-1, 0, CLIPS.text, Meta.PROBLEM)
        good = [node for node in thoughts if node.imitate]
        bad = thoughts[len(good) :]
        assert [node.text for node in good] == STEPS[: len(good)]
        assert {node.rating for node in good} <= {Rating.POSITIVE}
        assert {node.rating for node in bad} == {Rating.NEGATIVE}
        if good:
            step, conclusion = bad
            second.add(step.text)
            number = step.text.removeprefix("Natalia sold 48+24 = ").removesuffix(" clips.")
            assert conclusion.meta is Meta.CONCLUSION
            assert stated_answer(conclusion.text) == number
        else:
            (step,) = bad
            first.add(step.text)
    digits = "123456789"
    assert first == {
        f"Natalia sold 48/2 = {number} clips in May."
        for number in [f"{d}4" for d in digits if d != "2"] + [f"2{d}" for d in digits if d != "4"]
    }
    assert second == {
        f"Natalia sold 48+24 = {number} clips."
        for number in [f"{d}2" for d in digits if d != "7"] + [f"7{d}" for d in digits if d != "2"]
    }


def test_a_quarter_slips_where_there_is_a_result_to_slip_at() -> None:
    trees = many(CLIPS, SOLUTION, 4000)
    assert sum(map(slipped, trees)) / len(trees) == pytest.approx(0.25, abs=0.03)
    assert not any(map(slipped, many(CLIPS, "She sold 48 in May.\n#### 72")))
    assert [node.text for node in many(CLIPS, "#### 72", 1)[0]] == [
        CLIPS.text,
        "The answer is \\boxed{72}.",
    ]


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        ("That is 3 * $400 = $1,200 a year, or 5.", "That is 3 * $400 = $", " a year, or 5."),
        ("2*3 = 6 + 4 = 10.50 in all", "2*3 = 6 + 4 = ", " in all"),
        ("3 - 5 = -2", "3 - 5 = -", ""),
        ("10 = 2*5, so 2x = 20x", "10 = ", "*5, so 2x = 20x"),
    ],
)
def test_the_result_is_the_last_number_behind_an_equals_sign(
    step: str, before: str, after: str
) -> None:
    problem = Problem("1", "?", "99")
    seen = {tree[1].text for tree in many(problem, f"{step}\nThen she goes.") if slipped(tree)}
    assert len(seen) > 5
    for text in seen:
        assert text.startswith(before)
        assert text.endswith(after)
        assert len(text) == len(step)
        assert sum(a != b for a, b in zip(text, step, strict=True)) == 1


def test_a_slip_in_the_last_step_concludes_only_if_it_was_the_answer() -> None:
    dear = many(Problem("1", "?", "1200"), "3 * $400 = $1,200")
    assert {len(tree) for tree in dear if slipped(tree)} == {3}
    other = many(Problem("1", "?", "7"), "3 * $400 = $1,200")
    assert {len(tree) for tree in other if slipped(tree)} == {2}


def test_the_tokens_of_a_demonstration_are_those_of_a_searched_path(
    language: MarkedLanguage,
) -> None:
    """Between warm-up and self-play nothing changes but who wrote the thoughts."""
    for demonstration in many(CLIPS, SOLUTION, 30):
        tree, node = Tree.plant(CLIPS, 0, 0.5), None
        for thought in demonstration[1:]:
            assert thought.meta is not None
            ids = [
                language.meta(thought.meta),
                *language.encode(thought.text),
                language.thought_end,
            ]
            figures = [0.0] * len(ids)
            sampled = Thought(
                thought.meta,
                thought.text,
                ids=ids,
                logprobs=figures,
                entropy=figures,
                varentropy=figures,
                complete=True,
                rating=0.5,
                shown=Rating.UNKNOWN,
            )
            (node,) = tree.attach(node or tree.root, [sampled])
        assert node is not None
        marked = language.supervised(demonstration, show_ratings=False, rating_weight=1.0)
        assert marked.inputs == tree.path_ids(node, language)


def test_a_thought_not_to_imitate_trains_its_rating_alone(language: MarkedLanguage) -> None:
    good = MarkedNode(0, 1, "3+4=7", Meta.EXPANSION, Rating.POSITIVE)
    bad = MarkedNode(1, 2, "7+1=9", Meta.EXPANSION, Rating.NEGATIVE, imitate=False)
    root = MarkedNode(-1, 0, "Mia has 3 pens.", Meta.PROBLEM)
    both = language.supervised([root, good, bad], show_ratings=False, rating_weight=4.0)
    alone = language.supervised([root, good], show_ratings=False, rating_weight=4.0)
    size = len(alone.inputs)
    assert both.weights[:size] == alone.weights
    assert both.weights[size:] == [0.0] * (len(both.inputs) - size - 2) + [4.0, 0.0]
    assert both.labels[-2] == language.negative


def write(path: Path, rows: list[dict[str, str]]) -> DataSource:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataSource(path=str(path))


def worked(tmp_path: Path, **fields: str) -> DataSet:
    rows = [
        {"problem": f"What is {n} + 1?", "answer": str(n + 1), "working": f"{n} + 1 = {n + 1}"}
        for n in range(10, 30)
    ]
    test = [{"problem": "What is 10 + 1?", "answer": "11"}, {"problem": "1 + 1?", "answer": "2"}]
    return DataSet(
        DataTask(
            train=write(tmp_path / "train.jsonl", rows),
            test=write(tmp_path / "test.jsonl", test),
            **fields,
        )
    )


def test_demonstrations_go_through_the_training_problems_in_turn(tmp_path: Path) -> None:
    task = worked(tmp_path, solution_field="working")
    trees = task.demonstrations(0, 38)
    texts = [tree[0].text for tree in trees]
    everything = {f"What is {n} + 1?" for n in range(11, 30)}  # one is held out
    assert set(texts[:19]) == set(texts[19:]) == everything
    assert texts[:19] != texts[19:]
    assert task.demonstrations(0, 38) == trees
    assert task.demonstrations(1, 38) != trees
    for tree in trees:
        number = int(tree[0].text.split()[2])
        assert (tree[1].text == f"{number} + 1 = {number + 1}") is not slipped(tree)


def test_solutions_must_be_named_and_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^warmup\.data is missing.*task\.solution_field"):
        worked(tmp_path).demonstrations(0, 1)
    with pytest.raises(UserError, match=r"train\.jsonl line 1: field `solution` is missing"):
        worked(tmp_path, solution_field="solution")


def test_the_worked_solutions_of_grade_school_problems_are_read() -> None:
    train, test = (DATA / "gsm8k" / f"{name}.jsonl" for name in ("train", "test"))
    if not train.is_file():
        pytest.skip(f"gsm8k not found under {DATA}; set LLAMAO1_DATA to the data folder")
    task = DataSet(
        DataTask(
            train=DataSource(path=str(train)),
            test=DataSource(path=str(test)),
            problem_field="question",
            solution_field="answer",
        )
    )
    truth = {p.text: p.answer for p in task.train_problems(0, 1, 7473)}
    seen: Counter[str] = Counter()
    for tree in task.demonstrations(0, 2000):
        right = not slipped(tree)
        seen.update(right=right, concluded=tree[-1].meta is Meta.CONCLUSION)
        assert "<<" not in render_tree(tree)
        if tree[-1].meta is Meta.CONCLUSION:
            stated = stated_answer(tree[-1].text) or ""
            assert (verdict(stated, truth[tree[0].text]) is True) is right
        thoughts = [(node.text, node.meta, node.rating) for node in tree]
        assert [(n.text, n.meta, n.rating) for n in parse_tree(render_tree(tree))] == thoughts
    assert seen["right"] / 2000 == pytest.approx(0.75, abs=0.03)
    assert seen["concluded"] > seen["right"]
