"""The task of reasoning-gym's data sets: which problems it makes, and its worked solutions."""

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("reasoning_gym", reason="the extra `reasoning-gym` is not installed")

from llamao1_cli.config import ReasoningGymTask
from llamao1_cli.errors import UserError
from llamao1_cli.language.answer_forms import BOXED, FORMS
from llamao1_cli.language.marked import MarkedNode, Meta, Rating
from llamao1_cli.tasks.gym import process
from llamao1_cli.tasks.gym.demonstrations import MISREAD, SLIP, demonstrate
from llamao1_cli.tasks.gym.task import COUNT, FIRST, NO_ANSWER, ReasoningGym
from llamao1_cli.tasks.load import load_task
from llamao1_cli.tasks.problem import Problem, RewardFile, Task

SMALL = {"max_terms": 3, "max_digits": 1}


def gym(dataset: Any = "chain_sum", **keys: Any) -> ReasoningGym:
    task: Task = load_task(ReasoningGymTask(dataset=dataset, **keys))
    assert isinstance(task, ReasoningGym)
    return task


@pytest.fixture(scope="module")
def sums() -> ReasoningGym:
    return gym(config=SMALL, instruction="")


def number(problem: Problem) -> int:
    """Seed plus index: what most data sets draw an entry from."""
    _, _, seed, index = problem.id.split(":")
    return int(seed) + int(index)


def test_problems_are_those_of_the_data_set(sums: ReasoningGym) -> None:
    for problem in sums.train_problems(0, 1, 50):
        expression = problem.text.split(": ")[1].removesuffix(" =")
        total = sum(int(term) for term in re.findall(r"[+-]?\d", expression.replace(" ", "")))
        assert problem.answer == str(total)


def test_problems_depend_on_seed_and_iteration_alone(sums: ReasoningGym) -> None:
    first = sums.train_problems(3, 2, 20)
    assert (
        sums.train_problems(3, 2, 20)
        == first
        == gym(config=SMALL, instruction="").train_problems(3, 2, 20)
    )
    assert sums.train_problems(3, 2, 30, before=20)[:20] == first
    assert sums.train_problems(4, 2, 20) != first
    assert not {p.id for p in sums.train_problems(3, 1, 20)} & {p.id for p in first}


@given(st.integers(0, 2**31), st.integers(1, 10**6), st.integers(1, 5))
def test_seeds_of_training_and_of_held_out_problems_cannot_meet(
    sums: ReasoningGym, seed: int, iteration: int, count: int
) -> None:
    """Not even where the index is added to the seed, as most data sets do."""
    for problem in sums.train_problems(seed, iteration, count):
        assert FIRST <= number(problem) < FIRST + COUNT
        assert number(problem) + FIRST < 2**32  # NumPy's old generator takes no larger seed
    assert all(number(problem) < FIRST for problem in sums.test_problems(200))


def test_no_training_problem_is_held_out() -> None:
    """Of two digits in a row there are few sums, so that many would be."""
    task = gym(config={"min_terms": 2, "max_terms": 2, "max_digits": 1}, instruction="")
    held_out = {problem.text for problem in task.test_problems(1000)}
    train = {problem.text for problem in task.train_problems(0, 1, 1000)}
    assert len(held_out) == len(task.test_problems(1000)) >= 25
    assert not train & held_out
    assert len(train) > len(held_out)  # most are left to train on


def test_held_out_problems_are_the_same_for_every_number_of_them(sums: ReasoningGym) -> None:
    assert sums.test_problems(10) == sums.test_problems(200)[:10]
    assert len(sums.test_problems(1000)) == 200
    assert len({problem.text for problem in sums.test_problems(200)}) == 200


def test_where_hardly_any_problem_is_left_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llamao1_cli.tasks.gym.task._TRIES", 1)
    task = gym("chain_sum", config={"min_terms": 1, "max_terms": 1, "max_digits": 1})
    with pytest.raises(UserError, match=r"chain_sum is held out; lower task\.test_problems"):
        task.train_problems(0, 1, 500)


def test_several_data_sets_come_as_often_as_their_weights_say() -> None:
    task = gym([{"name": "chain_sum", "weight": 3, "config": SMALL}, "products"])
    found = Counter(each.id.split(":")[0] for each in task.train_problems(0, 1, 400))
    assert set(found) == {"chain_sum", "products"}
    assert 240 < found["chain_sum"] < 360


def test_options_of_one_data_set_lie_over_those_of_all() -> None:
    task = gym(
        [{"name": "chain_sum", "config": {"max_terms": 2}}, "products"],
        config={"max_terms": 5, "min_terms": 2, "max_digits": 1, "min_digits": 1},
    )
    for each in task.train_problems(0, 1, 100):
        numbers = re.findall(r"\d+", each.text)
        assert len(numbers) == 2 or each.id.startswith("products")


def test_the_instruction_stands_below_every_problem() -> None:
    for answers, words in (("tags", "between <answer> and </answer>"), ("boxed", "in \\boxed{}")):
        task = gym(config=SMALL, answers=answers)
        for problem in (*task.train_problems(0, 1, 2), *task.test_problems(2)):
            assert problem.text.splitlines()[-1] == task.instruction
        assert task.instruction.endswith(f"{words}.")
        assert task.demonstrations(0, 1)[0][0].text.endswith(task.instruction)
    own = gym(config=SMALL, instruction="Just the number.")
    assert own.train_problems(0, 1, 1)[0].text.endswith("\nJust the number.")


def test_an_open_problem_says_so() -> None:
    task = gym("graph_color")
    assert task.train_problems(0, 1, 1)[0].answer == NO_ANSWER


def test_levels_are_climbed_and_held_out_problems_are_of_the_highest() -> None:
    task = gym(config={"max_digits": 1}, levels=3, instruction="")
    assert task.levels == 3

    def terms(problems: list[Problem]) -> int:
        return max(len(re.findall(r"\d", each.text)) for each in problems)

    assert [terms(task.train_problems(0, 1, 50, level=level)) for level in (1, 2, 3)] == [2, 3, 4]
    assert terms(task.train_problems(0, 1, 50)) == 4
    assert terms(task.test_problems(50)) == 4


def test_rewards_are_scored_with_the_same_options(sums: ReasoningGym) -> None:
    assert isinstance(sums.reward, RewardFile)
    assert sums.reward.options == {"data_sets": {"chain_sum": SMALL}, "levels": 1}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"dataset": "chian_sum"}, "did you mean `chain_sum`?"),
        ({"dataset": "chain_sum", "config": {"max_term": 3}}, "did you mean `max_terms`?"),
        ({"dataset": "chain_sum", "levels": 12}, "lower task.levels"),
        ({"dataset": ["chain_sum", "acre"], "levels": 2}, "acre has 1, not 2"),
    ],
)
def test_what_does_not_exist_is_refused_at_once(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as refused:
        load_task(ReasoningGymTask(**keys))
    assert words in str(refused.value)


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'llamao1-cli\[reasoning-gym\]'"):
        gym()


def test_data_sets_without_worked_solutions_say_so() -> None:
    task = gym(["chain_sum", "sudoku"])
    with pytest.raises(UserError, match=r"warmup\.data is missing: sudoku has no worked"):
        task.demonstrations(0, 1)


def test_the_corpus_is_of_demonstrations_or_of_problems(sums: ReasoningGym) -> None:
    assert any(text.startswith("<answer>") for text in sums.corpus())
    assert any("Consider these statements" in text for text in gym("syllogism").corpus())


def test_demonstrations_are_of_training_problems(sums: ReasoningGym) -> None:
    held_out = {problem.text for problem in sums.test_problems(200)}
    shown = sums.demonstrations(0, 200)
    assert not held_out & {nodes[0].text for nodes in shown}
    assert sums.demonstrations(0, 200) == shown
    assert sums.demonstrations(1, 200) != shown


# Worked solutions


def solve(question: str, seed: int = 0) -> list[MarkedNode]:
    return demonstrate(Problem("id", question, ""), BOXED, np.random.default_rng(seed))


def steps(nodes: list[MarkedNode]) -> list[tuple[int, str, int, int, str]]:
    """Value, sign, operand, result and what is left of every step."""
    found = []
    for node in nodes[1:-1]:
        step = re.fullmatch(r"(-?\d+) ([+*-]) (-?\d+) = (-?\d+)(?:, then( .+))?", node.text)
        assert step, node.text
        found.append((int(step[1]), step[2], int(step[3]), int(step[4]), step[5] or ""))
    return found


def ask(first: int, others: list[tuple[str, int]]) -> str:
    chain = "".join(f" {sign} {operand}" for sign, operand in others)
    return f"State the final answer to the following arithmetic problem: {first}{chain} ="


TERMS = st.tuples(st.sampled_from("+-"), st.integers(-99, 99))


@given(st.integers(-99, 99), st.lists(TERMS, max_size=6), st.integers(0, 1000))
def test_every_step_takes_the_next_number_in(
    first: int, others: list[tuple[str, int]], seed: int
) -> None:
    nodes = solve(ask(first, others), seed)
    value, found = first, steps(nodes)
    assert [operand for _, _, operand, _, _ in found] == [operand for _, operand in others]
    for index, (before, sign, operand, result, left) in enumerate(found):
        assert sign == others[index][0] or (index > 0 and sign == "+")
        assert before == value
        assert abs(result - (value + operand if sign == "+" else value - operand)) <= 2
        assert left == "".join(f" {sign} {operand}" for sign, operand in others[index + 1 :])
        value = result
    assert nodes[-1].meta is Meta.CONCLUSION
    assert BOXED.stated(nodes[-1].text) == str(value)
    assert [node.father for node in nodes] == [*range(-1, len(nodes) - 1)]


def test_a_later_minus_is_mostly_misread_and_slips_are_rated_wrong() -> None:
    signs: Counter[str] = Counter()
    rated: Counter[tuple[bool, Rating | None]] = Counter()
    for seed in range(3000):
        nodes = solve("problem: 17 - 5 - 3 =", seed)
        (_, first, _, result, _), (_, second, _, _, _) = steps(nodes)
        assert first == "-"
        signs[second] += 1
        rated[result == 12, nodes[1].rating] += 1
    assert abs(signs["+"] / 3000 - MISREAD) < 0.03
    slips = sum(count for (right, _), count in rated.items() if not right)
    assert abs(slips / 3000 - SLIP) < 0.03
    assert rated[True, Rating.POSITIVE] > 4 * rated[True, Rating.NEGATIVE] > 0
    assert rated[False, Rating.NEGATIVE] > 4 * rated[False, Rating.POSITIVE] > 0
    assert abs(rated[True, Rating.UNKNOWN] / (3000 - slips) - 0.3) < 0.05


def test_what_is_misread_is_not_rated_wrong() -> None:
    """Nobody notices it, so that the warm-up cannot teach that it is wrong."""
    rated: Counter[Rating | None] = Counter()
    for seed in range(1000):
        nodes = solve("problem: 17 - 5 - 3 =", seed)
        if nodes[2].text == "12 + 3 = 15":
            rated[nodes[2].rating] += 1
    assert rated[Rating.POSITIVE] > 4 * rated[Rating.NEGATIVE]


def test_products_are_worked_out_too() -> None:
    nodes = solve("Solve the following multiplication: 4 * 5 * 3. Give only the result.", 1)
    assert [step[1] for step in steps(nodes)] == ["*", "*"]
    assert steps(nodes)[0][3] == 20


def test_the_conclusion_states_the_answer_as_the_task_has_it() -> None:
    rng = np.random.default_rng(0)
    problem = Problem("id", "problem: 3 + 4 =", "")
    for form in (FORMS["boxed"], FORMS["tags"], FORMS["hashes"], FORMS["number"]):
        last = demonstrate(problem, form, rng)[-1]
        assert form.stated_by(Meta.CONCLUSION, last.text) is not None
