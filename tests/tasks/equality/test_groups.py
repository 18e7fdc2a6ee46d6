from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.tasks.equality.groups import Group, join
from llamao1_cli.tasks.equality.verdict import verdict


def surely(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    return [verdict(*pair) is True for pair in pairs]


def grouped(answers: list[str]) -> list[Group]:
    groups: list[Group] = []
    for answer in answers:
        join(answer, groups, surely)
    return groups


def test_votes_are_counted_by_the_rule_of_grading() -> None:
    assert grouped(["7", "7.0", "8", "$7", "14/2", "8 apples"]) == [
        ["7", "7.0", "$7", "14/2"],
        ["8", "8 apples"],
    ]
    assert grouped(["2% profit", "2% loss", "2% gain"]) == [["2% profit", "2% gain"], ["2% loss"]]


def test_no_group_holds_two_that_differ() -> None:
    assert grouped(["12", "12 kg", "12 g"]) == [["12", "12 kg"], ["12 g"]]


@given(st.lists(st.sampled_from(["12", "12 kg", "12 g", "12000 g", "12.0", "13", "13 kg"])))
def test_every_answer_is_in_one_group_of_equals(answers: list[str]) -> None:
    groups = grouped(answers)
    assert sorted(each for group in groups for each in group) == sorted({*answers})
    for group in groups:
        assert all(surely([(one, two) for one in group for two in group]))
