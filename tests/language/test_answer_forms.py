"""How final answers are stated: what each form reads, writes, and leaves alone."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.language.answer_forms import BOXED, FORMS, AnswerForm, pattern_form
from llamao1_cli.language.answers import (
    hashed_answer,
    last_number,
    stated_answer,
    stated_letter,
    tagged_answer,
)
from llamao1_cli.language.marked import METAS, Meta

PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="<>"))
NO_DIGIT = st.text(st.characters(codec="utf-8", exclude_categories=["N"], exclude_characters="+-−"))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So <answer> 5 </answer>.", "5"),
        ("<answer>4</answer>, no: <answer>5</answer>", "5"),
        ("<answer>\nx + 1\n</answer>", "x + 1"),
        ("<answer>4</answer> <answer> </answer>", "4"),  # an empty one states nothing
        ("<answer>4 <answer>5</answer>", "5"),
        ("</answer>5<answer>", None),
        ("<answer>5", None),
        (r"The answer is \boxed{5}.", None),
        ("", None),
    ],
)
def test_answers_between_tags(text: str, answer: str | None) -> None:
    assert tagged_answer(text) == answer


@given(PLAIN, PLAIN, PLAIN)
def test_what_stands_between_tags_is_the_answer(before: str, answer: str, after: str) -> None:
    text = f"{before}<answer>{answer}</answer>{after}"
    assert tagged_answer(text) == (answer.strip() or None)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3 + 4 = 7\n#### 7", "7"),
        ("#### 6\nno\n#### 7\n", "7"),
        ("##### A heading", None),
        ("The answer is 7.", None),
    ],
)
def test_answers_behind_hashes(text: str, answer: str | None) -> None:
    assert hashed_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        *((text, "B") for text in ("B", "(B)", "b", "B.", "**B**", "[B]", r"\boxed{\text{B}}")),
        *((text, "B") for text in ("Answer: B", "The answer is (b).", "The correct answer is: B")),
        *((text, "B") for text in ("answer: option B", "The answer is the choice **B**: 5")),
        *((text, "B") for text in ("B) 12", "B: 12", "(B) 12", "So it must be B.", "It fits (B).")),
        ("The answer is B, because A is wrong.", "B"),
        ("The answer is not A. The answer is B.", "B"),
        ("The answer is A. No, the answer is B.", "B"),
        ("Answer: I think so (B)", "B"),
        ("A square, so (B)", "B"),
        ("It is A", "A"),
        ("The answer is I.", "I"),  # a choice, where nobody speaks of themselves
        ("A triangle has three sides.", None),
        ("two apple(s) of f(x)", None),
        ("No letter here.", None),
        ("IV", None),
        ("", None),
    ],
)
def test_the_letter_of_a_choice(text: str, letter: str | None) -> None:
    assert stated_letter(text) == letter


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 apples and 4 pears", "4"),
        ("The answer is 1,234.5 dollars.", "1,234.5"),
        ("That is $12.", "12"),
        ("x=-3/4", "-3/4"),
        ("10 - 3 = -7", "-7"),
        ("10-3", "3"),  # a minus behind a number takes something away
        ("(3)-2", "2"),
        ("−4", "−4"),
        ("about 1e-5", "1e-5"),
        ("it rose by 20%", "20%"),
        ("p = .5", ".5"),
        ("Rs.100", "100"),
        ("12,345,678 in all", "12,345,678"),
        ("It is H2O of x12 in v1.2.", None),  # numbers that belong to names
        ("none", None),
        ("", None),
    ],
)
def test_the_last_number(text: str, number: str | None) -> None:
    assert last_number(text) == number


@given(st.integers(), NO_DIGIT)
def test_any_integer_is_the_last_number(number: int, behind: str) -> None:
    assert last_number(f"3 of them are {number} {behind}") == str(number)


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("boxed", ["5", "x + 1", r"\frac{1}{2}"]),
        ("tags", ["5", "x + 1", "a\nb"]),
        ("hashes", ["5", "x + 1"]),
        ("letter", ["A", "B", "Z"]),
        ("number", ["5", "-1,234.5"]),
    ],
)
def test_a_form_reads_what_it_states(name: str, answers: list[str]) -> None:
    form = FORMS[name]
    assert [form.stated(form.statement(answer)) for answer in answers] == answers
    assert form.stated_by(Meta.CONCLUSION, form.statement(answers[0])) == answers[0]


def test_boxed_is_what_data_sets_and_models_use_by_themselves() -> None:
    assert BOXED.stated is stated_answer
    assert BOXED.statement("5") == r"The answer is \boxed{5}."
    assert FORMS["boxed"] is BOXED


@pytest.mark.parametrize("name", ["letter", "number"])
def test_only_a_conclusion_states_what_any_step_seems_to(name: str) -> None:
    form = FORMS[name]
    text = form.statement("B" if name == "letter" else "5")
    for meta in (*METAS, None):
        assert (form.stated_by(meta, text) is not None) is (meta is Meta.CONCLUSION)


@pytest.mark.parametrize("name", ["boxed", "tags", "hashes"])
def test_any_thought_states_an_answer_with_marks_of_its_own(name: str) -> None:
    form = FORMS[name]
    assert {form.stated_by(meta, form.statement("5")) for meta in (*METAS, None)} == {"5"}


def pattern(regex: str, template: str) -> AnswerForm:
    pytest.importorskip("re2")
    return pattern_form(regex, template)


def test_a_pattern_finds_the_last_answer() -> None:
    form = pattern("(?i)final: *([^.\n]*)", "Final: {answer}")
    assert form.stated("Final: 4. No, FINAL: 5.") == "5"
    assert form.stated("Final: 4\nfinal:   ") == "4"  # nothing is no answer
    assert form.stated("The answer is 5.") is None
    assert form.statement("{x}") == "Final: {x}"
    assert form.stated_by(None, "Final: 5") == "5"
    assert form.where == "as in Final: …"


@pytest.mark.parametrize(
    ("regex", "template", "message"),
    [
        ("Final: (", "Final: {answer}", "no regular expression of RE2: missing \\)"),
        ("(?<=:)(.)", "Final: {answer}", "no regular expression of RE2"),  # looks behind itself
        (r"(.)\1", "{answer}", "no regular expression of RE2"),
        ("Final: .+", "Final: {answer}", "has 0 groups; put parentheses"),
        ("(a)(b)", "{answer}", "has 2 groups; put parentheses"),
        ("Final: (.+)", "Result: {answer}", "does not find the answer that the template 'Result:"),
        ("Final: (.)", "Final:{answer}", "does not find the answer that the template"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(regex: str, template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        pattern(regex, template)
    assert "\n" not in str(error.value)


UNITS = ("1,234,", "1,", "(A", "A)", "answer: ", "answer is I am ", "<answer>", "B ", "-1", "1.1")
MORE = ("1e1", "1/", "(a)", r"\a{", "<answer></answer>", "#### ", "the choice ", "*", " ", "1")


@pytest.mark.parametrize("unit", [*UNITS, *MORE])
def test_a_megabyte_takes_linear_time(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    started = time.process_time()
    for form in FORMS.values():
        form.stated(text)
        form.bare(text)
    assert time.process_time() - started < 5


def test_no_text_makes_a_pattern_slow() -> None:
    form = pattern(r"(?:(?:a|aa)+)+: (\w+)|(?:a+)+b?c", "a: {answer}")
    started = time.process_time()
    assert form.stated("a" * 1_000_000) is None
    assert form.stated("a" * 1_000_000 + ": 5") == "5"
    assert time.process_time() - started < 2
