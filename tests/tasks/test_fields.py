"""Fields of rows: nested names, templates, lists, numbers, and what is no value."""

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llamao1_cli.config import DataSource, DataTask
from llamao1_cli.errors import UserError
from llamao1_cli.tasks.dataset import DataSet
from llamao1_cli.tasks.fields import answer_field, is_rationale, text_field
from llamao1_cli.tasks.problem import Problem

DATA = Path(os.environ.get("LLAMAO1_DATA") or Path(__file__).parents[3] / "shared" / "data")


def problem(folder: Path, row: dict[str, Any], **fields: str) -> Problem:
    """The held-out problem that a row makes."""
    (folder / "test.jsonl").write_text(json.dumps(row) + "\n")
    other = {**row, **dict.fromkeys(["problem", "Question"], "another")}
    (folder / "train.jsonl").write_text(json.dumps(other) + "\n")
    train, test = (DataSource(path=str(folder / f"{name}.jsonl")) for name in ("train", "test"))
    return DataSet(DataTask(train=train, test=test, **fields)).test_problems(1)[0]


def refusal(row: dict[str, Any], field: str) -> str:
    with pytest.raises(UserError, match=r"^x line 3: ") as error:
        text_field(row, field, "x line 3")
    return str(error.value)


def test_a_dot_leads_into_an_object_and_a_name_with_a_dot_comes_first() -> None:
    row = {"a": {"b": {"c": "deep"}, "b.c": "half"}, "x.y": "own", "x": {"y": "nested"}}
    assert text_field(row, "a.b.c", "") == "half"
    assert text_field(row, "x.y", "") == "own"
    assert text_field({"a": {"b": {"c": "deep"}}}, "a.b.c", "") == "deep"
    message = refusal({"reward_model": {"ground_truth": 1}}, "reward_model.groundtruth")
    assert "did you mean `reward_model.ground_truth`?" in message
    assert "field `x.y` is missing; it has x" in refusal({"x": "text"}, "x.y")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (145.0, "145"),
        (-3.0, "-3"),
        (-0.0, "0"),
        (2.5, "2.5"),
        (10**20, "1" + "0" * 20),
        (True, "True"),
        (False, "False"),
        ([1, 2.0, "3"], "1, 2, 3"),
        (["18"], "18"),
        ([True, False], "True, False"),
    ],
)
def test_answers_that_are_no_text(value: Any, text: str) -> None:
    assert answer_field({"a": value}, "a", "") == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "NaN", " nan ", [1.0, float("nan")]])
def test_what_is_no_number_is_refused_by_place_and_value(value: Any) -> None:
    with pytest.raises(UserError, match=r"^x line 3: field `a` holds .*(nan|NaN|inf)"):
        answer_field({"a": value}, "a", "x line 3")
    assert answer_field({"a": "Nan"}, "a", "") == "Nan"  # somebody's grandmother


@pytest.mark.parametrize("value", [None, {"b": 1}, [[1]], [None]])
def test_what_is_neither_text_nor_number_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match=r"^x line 3: field `a` must be text or a number, not "):
        answer_field({"a": value}, "a", "x line 3")


def test_an_empty_answer_is_refused(tmp_path: Path) -> None:
    for empty in ("", " ", []):
        with pytest.raises(UserError, match=r"test\.jsonl line 1: field `answer` is empty"):
            problem(tmp_path, {"problem": "Why?", "answer": empty})


def test_json_that_is_not_a_number_is_refused_with_file_line_and_value(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"test\.jsonl line 1: field `answer` holds nan"):
        problem(tmp_path, {"problem": "Why?", "answer": float("nan")})


def test_a_template_joins_fields_and_letters_options(tmp_path: Path) -> None:
    row = {
        "Body": "Ann has 3 pens. ",
        "Question": "How many?",
        "meta": {"unit": "pens"},
        "choices": ["2", 3, "None of them"],
        "answer": "B",
    }
    template = "{Body} {Question} Give {{{meta.unit}}}.\n{choices}"
    made = problem(tmp_path, row, problem_template=template)
    assert made.text == ("Ann has 3 pens. How many? Give {pens}.\n(A) 2\n(B) 3\n(C) None of them")
    assert made.answer == "B"


def test_options_that_bring_their_letters_are_lettered_once(tmp_path: Path) -> None:
    row = {"Question": "?", "options": ["A)21", "B) 22", "(C) 23"], "answer": "A"}
    made = problem(tmp_path, row, problem_template="{Question}\n{options}")
    assert made.text == "?\n(A) 21\n(B) 22\n(C) 23"
    row["options"] = ["A) 21", "22", "23"]
    made = problem(tmp_path, row, problem_template="{Question}\n{options}")
    assert made.text == "?\n(A) A) 21\n(B) 22\n(C) 23"
    row["options"] = [str(n) for n in range(27)]
    with pytest.raises(UserError, match="`options` lists 27 options; there are letters for 26"):
        problem(tmp_path, row, problem_template="{Question}\n{options}")


def test_a_template_names_fields_and_runs_nothing(tmp_path: Path) -> None:
    row = {"Question": "?", "items": [1], "answer": "1"}
    for template in ("{Question.__class__}", "{Question[0]}", "{Question.upper}", "{0}"):
        with pytest.raises(UserError, match="is missing; it has Question, items, answer"):
            problem(tmp_path, row, problem_template=template)
    with pytest.raises(UserError, match=r"field `Qestion` is missing; .*did you mean `Question`\?"):
        problem(tmp_path, row, problem_template="{Qestion}")
    with pytest.raises(UserError, match=r"task\.problem_template makes no text of it"):
        problem(tmp_path, {**row, "Question": " "}, problem_template="{Question}")


@pytest.mark.parametrize(
    "template",
    ["{", "}", "{}", "{ }", "{a!r}", "{a:>9}", r"\boxed{}", "no field", "{a:{b}}", "{{a}}"],
)
def test_what_is_no_template_is_refused_when_the_configuration_is_read(template: str) -> None:
    source = DataSource(path="a.jsonl")
    with pytest.raises(ValidationError, match="braces"):
        DataTask(train=source, test=source, problem_template=template)


RATIONALES = [
    "Ann buys 3 pens.\nThen she buys 4 more.",
    "Ann buys three pens. Then she buys four more.",
    "so " * 21,
]
PLAIN = [
    "18",
    "x = 5, y = 3",
    "1, 2, 3",
    "\\begin{pmatrix} 1 \\\\\n 2 \\end{pmatrix}",
    "Dr. Martin Luther King Jr.",
    "\\frac{\\alpha}{\\beta} + " * 30,
    "the day after tomorrow",
]


def test_an_explanation_that_states_no_answer_is_refused(tmp_path: Path) -> None:
    for text in RATIONALES:
        assert is_rationale(text)
        message = r"test\.jsonl line 1: field `answer` explains, and states no answer: '"
        with pytest.raises(UserError, match=message + re.escape(text[:9])):
            problem(tmp_path, {"problem": "Why?", "answer": text})
        stated = problem(tmp_path, {"problem": "Why?", "answer": f"{text}\n#### 7"})
        assert stated.answer == "7"
    for text in PLAIN:
        assert not is_rationale(text)
        assert problem(tmp_path, {"problem": "Why?", "answer": text}).answer == text.strip()


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["a", "b", "a.b", "a.b.c"]), values), st.sampled_from("ab"))
def test_any_row_is_read_or_refused(row: dict[str, Any], field: str) -> None:
    for name in (field, "a.b", "a.b.c"):
        with suppress(UserError):
            answer_field(row, name, "x line 3").encode()


def rows_of(name: str) -> list[dict[str, Any]]:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{name} not found under {DATA}; set LLAMAO1_DATA to the data folder")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_real_explanations_are_told_from_real_answers() -> None:
    solutions = [row["answer"].rpartition("####")[0] for row in rows_of("gsm8k/test.jsonl")]
    assert len(solutions) == 1319
    assert all(map(is_rationale, solutions))
    pairs = rows_of("answers/pairs.jsonl")
    answers = [row["answer"] for row in rows_of("math500/test.jsonl")]
    answers += [row["reference"] for row in pairs]
    assert [answer for answer in answers if is_rationale(answer)] == []
