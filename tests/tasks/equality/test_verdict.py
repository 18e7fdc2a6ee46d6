import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamao1_cli.tasks.equality.verdict import verdict
from llamao1_cli.tasks.grading import Grader

FOLDER = Path(__file__).parent
DATA = Path(os.environ.get("LLAMAO1_DATA") or FOLDER.parents[3] / "shared" / "data")
KINDS = (FOLDER / "kinds.txt").read_text(encoding="utf-8").split("\n\n")[1:]

PIECES = [
    *r"0159.,-+/ $%{}()[]^_\!~*aEx=<>|;:'",
    *("\\frac", "\\text{", "\\circ", "\\left", "\\,", "\\boxed{", "10^", "√", "½", "１"),
    *(" cm", "and ", " or ", "x=", "am", "pm", " May ", "Rs.", "degrees ", "(A) ", " north"),
    *("per ", " million", "1 cm and ", "x<1 or ", "A: "),
]
ANSWERS = st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join))


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as shared:
        yield shared


def test_verdicts_on_pairs_of_real_data_sets(grader: Grader) -> None:
    path = DATA / "answers" / "pairs.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} not found; set LLAMAO1_DATA to the data folder")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 263
    right = [row["right"] for row in rows]
    assert grader.grade([(row["answer"], row["reference"]) for row in rows]) == right
    assert grader.grade([(row["reference"], row["answer"]) for row in rows]) == right


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[2:].split(".")[0][:40])
def test_a_kind_of_rule(grader: Grader, kind: str) -> None:
    rows = [line for line in kind.strip().split("\n") if not line.startswith("#")]
    right = [row[0] == "=" for row in rows]
    pairs = [(answer, reference) for answer, _, reference in (r[2:].partition(" | ") for r in rows)]
    assert grader.grade(pairs) == right
    assert grader.grade([(reference, answer) for answer, reference in pairs]) == right


@pytest.mark.parametrize("space", ["\u00a0", "\u2009", "\u202f"])
def test_spaces_of_every_width_part_thousands(space: str) -> None:
    """Model output on GSM8K and MATH-500."""
    assert verdict(f"12{space}500", "12500") is True
    assert verdict(f"1{space}234{space}567", "1,234,567") is True
    assert verdict(f"12{space}500", "12501") is False


def test_a_unit_that_one_side_names_is_forgiven_but_not_two() -> None:
    assert verdict("12 kg", "12") is True
    assert verdict("12", "12 g") is True
    assert verdict("12 kg", "12 g") is False


def test_only_formulas_are_left_to_mathematics() -> None:
    assert verdict("2x+1", "1+2x") == ("2x+1", "1+2x")
    assert verdict(r"5\pi\text{ cm}", r"\pi\cdot5") == (r"5\pi", r"\pi\cdot5")
    assert verdict("5AB", "5BA") == (r"5\text{AB}", r"5\text{BA}")
    assert verdict("x<1 or x>2", "5")[0] == r"(-\infty, 1) \cup (2, \infty)"  # type: ignore[index]


@given(ANSWERS, ANSWERS)
@settings(max_examples=500, deadline=None)
def test_the_order_of_the_two_does_not_matter(one: str, two: str) -> None:
    forth, back = verdict(one, two), verdict(two, one)
    assert back == (forth if isinstance(forth, bool) else (forth[1], forth[0]))


@given(ANSWERS.filter(str.strip))
@settings(max_examples=500, deadline=None)
def test_nothing_raises_and_text_equals_itself(text: str) -> None:
    verdict(text, "7")
    assert verdict(f"a {text}", f"a {text}") is True


@pytest.mark.parametrize("piece", [*PIECES, "1,", "x=1, ", "= ", "5 degrees ", "dozen ", "{" * 9])
def test_hostile_answers_cost_little(piece: str) -> None:
    start = time.monotonic()
    text = (piece * 1000)[:990]
    for answer, reference in ((text, text[:-1]), (f"7 {text}", "7"), (piece * 10**6, "7")):
        verdict(answer, reference)
    assert time.monotonic() - start < 20  # about 0.1 s; a machine may be busy
