"""Long arithmetic: events tagged by letters, a finite training set, demonstrations' mistakes."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llamao1_cli.config import ArithmeticTask
from llamao1_cli.language.answer_forms import FORMS, FormName
from llamao1_cli.language.marked import Meta
from llamao1_cli.model.build import build_tokenizer
from llamao1_cli.tasks.arithmetic import WORDINGS, Arithmetic
from llamao1_cli.tasks.problem import Problem

LETTERS = "ABCDEFGHIJKLMNOPQRST"
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


def long_task(**settings: int | float | str) -> Arithmetic:
    return Arithmetic(ArithmeticTask.model_validate({"events": "letters", **settings}))


def values(text: str) -> list[int]:
    """Every value on the way, read off the words of a problem whose events have letters."""
    begin, *events, question = text.split("\n")
    said = re.fullmatch(r"(\w+) has (\d+) (\w+)\.", begin)
    assert said
    assert question == f"How many {said[3]} does {said[1]} have?"
    assert "".join(event[0] for event in events) == LETTERS[: len(events)]
    found = [int(said[2])]
    for event in events:
        verb, _, number = event[2:].partition("-")
        step = {
            "found": lambda value, by: value + by,
            "lost": lambda value, by: value - by,
            "gave": lambda value, by: value - by,
            "doubled": lambda value, by: 2 * value,
            "tripled": lambda value, by: 3 * value,
        }[verb]
        found.append(step(found[-1], NUMBERS.get(number, 0)))
    return found


def test_answers_follow_from_the_text_and_values_stay_small_at_twenty_operations() -> None:
    task = long_task(min_operations=20, max_operations=20)
    for problem in [*task.train_problems(0, 1, 200), *task.test_problems(100)]:
        found = values(problem.text)
        assert len(found) == 21
        assert problem.answer == str(found[-1])
        assert all(0 <= value <= 99 for value in found)


@given(seed=st.integers(0, 2**32), least=st.integers(1, 20), more=st.integers(0, 19))
def test_clean_demonstrations_are_right_in_every_step(seed: int, least: int, more: int) -> None:
    most = min(20, least + more)
    task = long_task(min_operations=least, max_operations=most, misread=0, slip=0)
    for problem, *steps, conclusion in task.demonstrations(seed, 5):
        events, found = problem.text.split("\n")[1:-1], values(problem.text)
        assert least <= len(events) <= most
        assert len(steps) == len(events)
        for event, node, before, after in zip(events, steps, found[:-1], found[1:], strict=True):
            said = re.fullmatch(r"(.+) -> (\d+)([-+*])(\d+)=(\d+)", node.text)
            assert said
            assert (said[1], int(said[2]), int(said[5])) == (event, before, after)
            left, right = int(said[2]), int(said[4])
            assert {"+": left + right, "-": left - right, "*": left * right}[said[3]] == after
        assert conclusion.text == f"The answer is \\boxed{{{found[-1]}}}."


@pytest.mark.parametrize("answers", ["boxed", "tags", "hashes", "number"])
def test_demonstrations_state_answers_as_configured(answers: FormName) -> None:
    task, form = long_task(misread=0, slip=0, answers=answers), FORMS[answers]
    for problem, *steps, conclusion in task.demonstrations(0, 20):
        assert conclusion.text == form.statement(str(values(problem.text)[-1]))
        assert not any(form.stated_by(step.meta, step.text) for step in steps)


@pytest.mark.parametrize("events", ["months", "letters"])
def test_mistakes_come_at_the_configured_rates(events: str) -> None:
    task = long_task(events=events, min_operations=8, max_operations=8, misread=0.4, slip=0.25)
    seen: Counter[str] = Counter()
    for _, *steps, _ in task.demonstrations(0, 1000):
        for node in steps:
            said = re.search(r"(-?\d+)([-+*])(\d+)=(-?\d+)$", node.text)
            assert said
            left, right = int(said[1]), int(said[3])
            due = {"+": left + right, "-": left - right, "*": left * right}[said[2]]
            seen.update(step=1, slip=int(said[4]) != due)
            if "tripled" in node.text or "gave" in node.text or "given" in node.text:
                truth = "*3" if "tripled" in node.text else "-" + said[3]
                seen.update(hard=1, misread=said[2] + said[3] != truth)
    assert seen["slip"] / seen["step"] == pytest.approx(0.25, abs=0.02)
    assert seen["misread"] / seen["hard"] == pytest.approx(0.4, abs=0.04)


def test_demonstrations_can_be_shorter_than_problems() -> None:
    task = long_task(min_operations=10, max_operations=12, shortest_demonstration=3)
    lengths = Counter(len(tree) - 2 for tree in task.demonstrations(0, 3000))
    assert set(lengths) == set(range(3, 13))
    for count in lengths.values():
        assert count / 3000 == pytest.approx(1 / 10, abs=0.02)
    played = [*task.train_problems(0, 1, 200), *task.test_problems(100)]
    assert {len(values(problem.text)) - 1 for problem in played} == {10, 11, 12}


def test_tag_and_event_are_one_token_each_wherever_they_stand() -> None:
    task = long_task(min_operations=1, max_operations=20)
    tokenizer = build_tokenizer(task.corpus(), 700)
    for problem, *steps, _ in task.demonstrations(7, 50):
        asked = tokenizer.encode(problem.text)
        for node in steps:
            tag, event, *_ = tokenizer.encode(node.text)
            assert tokenizer.decode([tag, event]) == node.text.split(" -> ")[0]
            assert asked[asked.index(tag) + 1] == event


def test_problems_with_letters_are_not_learned_but_their_solutions_are() -> None:
    for events, learned in (("letters", False), ("months", True)):
        for problem, *thoughts in long_task(events=events).demonstrations(0, 20):
            assert (problem.meta, problem.imitate) == (Meta.PROBLEM, learned)
            assert all(node.imitate for node in thoughts)


@given(size=st.integers(1, 40), count=st.integers(1, 50), seed=st.integers(0, 2**32))
def test_a_finite_set_is_exhausted_evenly(size: int, count: int, seed: int) -> None:
    task = long_task(problems=size)
    drawn = [p for iteration in (1, 2, 3) for p in task.train_problems(seed, iteration, count)]
    for start in range(0, len(drawn), size):
        one_pass = [problem.id for problem in drawn[start : start + size]]
        assert len(set(one_pass)) == len(one_pass)
    assert len({problem.id for problem in drawn}) == min(size, 3 * count)
    assert task.train_problems(seed, 2, count) == drawn[count : 2 * count]


def test_passes_over_a_finite_set_differ_in_order_alone() -> None:
    task = long_task(problems=50)
    passes = [task.train_problems(0, number, 50) for number in (1, 2)]
    assert passes[0] != passes[1] != task.train_problems(1, 2, 50)
    sets = [{(p.id, p.text, p.answer) for p in drawn} for drawn in passes]
    assert sets[0] == sets[1] == {(p.id, p.text, p.answer) for p in task.train_problems(9, 4, 50)}
    assert long_task(problems=50).train_problems(0, 1, 50) == passes[0]


def test_no_problem_of_a_finite_set_is_held_out() -> None:
    task = long_task(min_operations=1, max_operations=1, problems=5000)
    train = {problem.text for problem in task.train_problems(0, 1, 5000)}
    assert len(train) == 5000
    assert not train & {problem.text for problem in task.test_problems(500)}


def lengths(problems: list[Problem]) -> set[int]:
    return {len(values(problem.text)) - 1 for problem in problems}


@pytest.mark.parametrize("problems", [0, 60])
def test_levels_go_from_the_shortest_horizon_to_that_of_the_held_out_problems(
    problems: int,
) -> None:
    sizes = {"min_operations": 4, "max_operations": 6, "problems": problems}
    task, plain = long_task(**sizes, shortest_demonstration=2), long_task(**sizes)
    assert (task.levels, plain.levels) == (5, 3)
    horizons = [lengths(task.train_problems(0, 1, 60, level=n)) for n in range(1, 6)]
    assert horizons == [{2}, {3}, {4}, {4, 5}, {4, 5, 6}]
    assert [lengths(plain.train_problems(0, 1, 60, level=n)) for n in (1, 2, 3)] == horizons[2:]
    assert task.train_problems(0, 1, 60, level=5) == plain.train_problems(0, 1, 60)
    assert task.test_problems(50) == plain.test_problems(50)
    assert not {p.text for p in task.train_problems(0, 1, 60, level=1)} & {
        p.text for p in long_task(min_operations=2, max_operations=2).test_problems(2000)
    }


def test_a_set_of_a_level_is_played_in_passes_too() -> None:
    task = long_task(problems=7, min_operations=2)
    drawn = [p for number in (1, 2) for p in task.train_problems(3, number, 7, level=1)]
    assert sorted(p.id for p in drawn[:7]) == sorted(p.id for p in drawn[7:])
    assert len({problem.id for problem in drawn}) == 7


@pytest.mark.parametrize(("events", "most"), [("months", 12), ("letters", 20)])
def test_more_operations_than_tags_are_refused(events: str, most: int) -> None:
    assert len(WORDINGS[events].tags) == most
    ArithmeticTask.model_validate({"events": events, "max_operations": most})
    with pytest.raises(
        ValidationError, match=f"max_operations: {most + 1} is more than the {most}"
    ):
        ArithmeticTask.model_validate({"events": events, "max_operations": most + 1})


def test_demonstrations_longer_than_problems_are_refused() -> None:
    with pytest.raises(ValidationError, match="shortest_demonstration"):
        ArithmeticTask(max_operations=4, shortest_demonstration=5)
