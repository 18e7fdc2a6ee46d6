"""Problems: arithmetic made on the spot, and data sets read from files."""

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import ArithmeticTask, DataSource, DataTask
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked import Meta, Rating, parse_tree, render_tree
from llamao1_cli.tasks.arithmetic import Arithmetic
from llamao1_cli.tasks.dataset import DataSet
from llamao1_cli.tasks.load import load_task
from llamao1_cli.tasks.problem import Problem, Task
from llamao1_cli.tasks.rows import read_rows

DATA = Path(os.environ.get("LLAMAO1_DATA") or Path(__file__).parents[3] / "shared" / "data")

# What an event says, its sign and operand: 0 stands for the number in it.
OPERATIONS = {
    "find": (r"(\d+) found", "+", 0),
    "lose": (r"(\d+) lost", "-", 0),
    "give": (r"(\d+) given away", "-", 0),
    "double": (r"all doubled", "*", 2),
    "triple": (r"all tripled", "*", 3),
}


def calculate(left: int, sign: str, right: int) -> int:
    return {"+": left + right, "-": left - right, "*": left * right}[sign]


def operations(text: str) -> list[tuple[str, str, int]]:
    """Verb, sign and operand of every event of a problem."""
    found = []
    for event in text.split(". ")[1:-1]:
        words = re.sub(r"^\w+: ", "", event)
        ((verb, sign, operand),) = [
            (verb, sign, operand)
            for verb, (rule, sign, operand) in OPERATIONS.items()
            if re.fullmatch(rule, words)
        ]
        found.append((verb, sign, operand or int(re.sub(r"\D", "", words))))
    return found


def values(text: str) -> list[int]:
    """Every value on the way, read off the words of a problem."""
    begin = re.match(r"(\w+) has (\d+) (\w+)\. ", text)
    assert begin, text
    assert text.endswith(f". How many {begin[3]} does {begin[1]} have?")
    found = [int(begin[2])]
    for _, sign, operand in operations(text):
        found.append(calculate(found[-1], sign, operand))
    return found


def test_answers_follow_from_the_text_and_values_stay_small(arithmetic: Arithmetic) -> None:
    problems = arithmetic.train_problems(0, 1, 3000) + arithmetic.test_problems(1000)
    lengths = Counter()
    for problem in problems:
        found = values(problem.text)
        assert problem.answer == str(found[-1]), problem.text
        assert all(0 <= value <= 60 for value in found), problem.text
        lengths[len(found) - 1] += 1
    assert set(lengths) == {2, 3, 4, 5}
    assert min(lengths.values()) > 800


def test_the_number_of_operations_is_as_configured() -> None:
    task = load_task(ArithmeticTask(min_operations=7, max_operations=8))
    lengths = {len(values(problem.text)) - 1 for problem in task.train_problems(0, 1, 100)}
    assert lengths == {7, 8}


def test_training_and_held_out_problems_never_overlap() -> None:
    task = Arithmetic(ArithmeticTask(min_operations=1, max_operations=2))
    held_out = {problem.text for problem in task.test_problems(2000)}
    train = {problem.text for problem in task.train_problems(3, 1, 20_000)}
    shown = {tree[0].text for tree in task.demonstrations(3, 5000)}
    assert len(held_out) == 2000
    assert len(train) > 5000  # so small a world that the two would share hundreds by chance
    assert not held_out & train
    assert not held_out & shown
    assert not held_out & set(task.corpus())


def test_held_out_problems_are_always_the_same_and_no_more_than_configured() -> None:
    task = Arithmetic(ArithmeticTask(test_problems=50))
    assert task.test_problems(30) == task.test_problems(80)[:30]
    assert len(task.test_problems(80)) == 50
    assert Arithmetic(ArithmeticTask()).test_problems(50) == task.test_problems(50)


def test_seed_and_iteration_decide_the_training_problems(arithmetic: Arithmetic) -> None:
    first = arithmetic.train_problems(0, 1, 20)
    assert arithmetic.train_problems(0, 1, 20) == first
    assert Arithmetic(ArithmeticTask()).train_problems(0, 1, 20) == first
    assert arithmetic.train_problems(0, 2, 20) != first
    assert arithmetic.train_problems(1, 1, 20) != first
    assert len({problem.id for problem in first}) == 20


def test_the_author_of_demonstrations_errs_at_the_stated_rates(arithmetic: Arithmetic) -> None:
    seen: Counter[str] = Counter()
    for problem, *steps, conclusion in arithmetic.demonstrations(0, 3000):
        value, right = values(problem.text)[0], True
        for (verb, *truth), node in zip(operations(problem.text), steps, strict=True):
            equation = re.fullmatch(r"\w+: [\w ]+, (-?\d+)([-+*])(\d+)=(-?\d+)", node.text)
            assert equation, node.text
            assert node.text.split(",")[0] in problem.text
            sign, operand, result = equation[2], int(equation[3]), int(equation[4])
            assert (int(equation[1]), node.meta) == (value, Meta.EXPANSION)
            slip = calculate(value, sign, operand) != result
            value, right = result, right and not slip
            seen.update(
                {"step": 1, verb: 1, "slip": slip, f"{verb} by habit": [sign, operand] != truth}
            )
            wrong = Rating.NEGATIVE if right else Rating.POSITIVE
            seen.update(known=node.rating is not Rating.UNKNOWN, flipped=node.rating is wrong)
        assert (conclusion.text, conclusion.meta) == (
            f"The answer is \\boxed{{{value}}}.",
            Meta.CONCLUSION,
        )
    for verb in ("triple", "give"):
        assert seen[f"{verb} by habit"] / seen[verb] == pytest.approx(0.7, abs=0.05)
    assert not any(seen[f"{verb} by habit"] for verb in ("find", "lose", "double"))
    assert seen["slip"] / seen["step"] == pytest.approx(0.1, abs=0.015)
    assert seen["known"] / seen["step"] == pytest.approx(0.7, abs=0.02)
    assert seen["flipped"] / seen["known"] == pytest.approx(0.1, abs=0.015)


def test_every_demonstration_is_marked_text(arithmetic: Arithmetic) -> None:
    trees = arithmetic.demonstrations(1, 200)
    assert arithmetic.demonstrations(1, 200) == trees
    assert arithmetic.demonstrations(2, 200) != trees
    for tree in trees:
        assert parse_tree(render_tree(tree)) == tree
        assert [(node.father, node.local) for node in tree] == [
            (index - 1, index) for index in range(len(tree))
        ]
        assert (tree[0].meta, tree[0].rating) == (Meta.PROBLEM, None)


def write(path: Path, rows: list[Any]) -> DataSource:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return DataSource(path=str(path))


def rows(count: int) -> list[dict[str, Any]]:
    return [{"problem": f"What is {n} + 0?", "answer": str(n)} for n in range(count)]


def data_set(train: DataSource, test: DataSource, **fields: str) -> DataSet:
    task = load_task(DataTask(train=train, test=test, **fields))
    assert isinstance(task, DataSet)
    return task


@pytest.fixture
def test_source(tmp_path: Path) -> DataSource:
    return write(tmp_path / "test.jsonl", [{"problem": "1 + 1?", "answer": "2"}])


def answers_of(tmp_path: Path, test: DataSource, answers: list[Any]) -> list[str]:
    train = [{"q": f"Problem {n}", "a": answer} for n, answer in enumerate(answers)]
    write(Path(str(test.path)), [{"q": "1 + 1?", "a": 2}])
    task = data_set(
        write(tmp_path / "train.jsonl", train), test, problem_field="q", answer_field="a"
    )
    found = {p.text: p.answer for p in task.train_problems(0, 1, len(answers))}
    return [found[f"Problem {n}"] for n in range(len(answers))]


def test_fields_are_named_and_answers_come_in_many_shapes(
    tmp_path: Path, test_source: DataSource
) -> None:
    given = [18, -2.5, "18", " 1/2 ", "16 - 3 = 13\n#### 18", "so \\boxed{7}", "x#### 1,000\n"]
    expected = ["18", "-2.5", "18", "1/2", "18", "7", "1,000"]
    assert answers_of(tmp_path, test_source, given) == expected


def test_blank_lines_are_passed_over_and_a_limit_is_kept(tmp_path: Path) -> None:
    source = write(tmp_path / "some.jsonl", ["", *rows(5), "", " "])
    assert [where for where, _ in read_rows(source)] == [
        f"{source.path} line {number}" for number in range(2, 7)
    ]
    some = source.model_copy(update={"limit": 2})
    assert [row for _, row in read_rows(some)] == rows(2)


BAD_ROWS: list[tuple[Any, str]] = [
    ({"problem": "What?", "anwser": "1"}, "field `answer` is missing; it has problem, anwser"),
    ({"answer": "1"}, "field `problem` is missing"),
    ({}, "it has nothing"),
    ('{"problem": "What?", "answer": ', "not valid JSON"),
    ("[1, 2]", "expected a JSON object"),
    ("[" * 100_000, "not valid JSON"),
    ({"problem": ["What?"], "answer": "1"}, "field `problem` must be text or a number"),
    ({"problem": "What?", "answer": None}, "field `answer` must be text or a number, not None"),
    ({"problem": True, "answer": "1"}, "field `problem` must be text or a number, not True"),
    ({"problem": " \n", "answer": "1"}, "field `problem` is empty"),
    ({"problem": "What?", "answer": " "}, "field `answer` is empty"),
    ({"problem": "What\ud800?", "answer": "1"}, "field `problem` holds half a character"),
]


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_a_bad_row_is_named_by_file_and_line(
    tmp_path: Path, test_source: DataSource, row: Any, message: str
) -> None:
    source = write(tmp_path / "train.jsonl", [*rows(16), row])
    with pytest.raises(UserError, match=re.escape(message)) as error:
        data_set(source, test_source)
    assert str(error.value).startswith(f"{source.path} line 17: ")


def test_files_that_hold_nothing_or_are_not_there(tmp_path: Path, test_source: DataSource) -> None:
    def refusal(source: DataSource) -> str:
        with pytest.raises(UserError, match=re.escape(str(source.path))) as error:
            data_set(source, test_source)
        return str(error.value)

    assert "no problems in it" in refusal(write(tmp_path / "empty.jsonl", [""]))
    assert "no such data file" in refusal(DataSource(path=str(tmp_path / "missing.jsonl")))
    assert "cannot be read" in refusal(DataSource(path=str(tmp_path)))
    (tmp_path / "latin.jsonl").write_bytes('{"problem": "é"}'.encode("latin-1"))
    assert "cannot be read" in refusal(DataSource(path=str(tmp_path / "latin.jsonl")))
    with pytest.raises(UserError, match=r"^task\.train: every problem is also in task\.test"):
        data_set(test_source, test_source)


def test_a_training_problem_that_is_also_held_out_is_dropped(tmp_path: Path) -> None:
    held_out = write(tmp_path / "test.jsonl", rows(3))
    task = data_set(
        write(tmp_path / "train.jsonl", [*rows(5), {**rows(1)[0], "more": 1}]), held_out
    )
    assert {problem.answer for problem in task.train_problems(0, 1, 40)} == {"3", "4"}
    assert [problem.answer for problem in task.test_problems(2)] == ["0", "1"]
    assert task.corpus() == ["What is 3 + 0?", "What is 4 + 0?"]
    with pytest.raises(UserError, match=r"warmup\.data is missing"):
        task.demonstrations(0, 1)


def test_every_round_goes_through_the_whole_set_in_a_new_order(
    tmp_path: Path, test_source: DataSource
) -> None:
    task = data_set(write(tmp_path / "train.jsonl", rows(10)), test_source)
    drawn = [p.answer for iteration in range(1, 6) for p in task.train_problems(0, iteration, 4)]
    assert sorted(drawn[:10], key=int) == sorted(drawn[10:], key=int) == [str(n) for n in range(10)]
    assert drawn[:10] != drawn[10:]
    again = [p.answer for iteration in range(1, 6) for p in task.train_problems(0, iteration, 4)]
    assert again == drawn
    assert [p.answer for p in task.train_problems(1, 1, 10)] != drawn[:10]


@pytest.fixture(scope="module")
def endless_tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Task]:
    """New problems all the time, and passes over ten: of a finite set, and of a file."""
    folder = tmp_path_factory.mktemp("tasks")
    files = [write(folder / f"{name}.jsonl", rows(size)) for name, size in (("test", 2), ("t", 12))]
    return {
        "new": Arithmetic(ArithmeticTask()),
        "set": Arithmetic(ArithmeticTask(problems=10)),
        "data": data_set(files[1], files[0]),
    }


@given(
    kind=st.sampled_from(["new", "set", "data"]),
    seed=st.integers(0, 2**32),
    played=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    more=st.integers(0, 20),
    level=st.integers(1, 4),
)
def test_an_iteration_begins_alike_however_many_problems_it_has(
    endless_tasks: dict[str, Task],
    kind: str,
    seed: int,
    played: list[int],
    more: int,
    level: int,
) -> None:
    task, before = endless_tasks[kind], 0
    level = min(level, task.levels)
    drawn: list[Problem] = []
    for number, count in enumerate(played, start=1):
        some = task.train_problems(seed, number, count, before=before, level=level)
        longer = task.train_problems(seed, number, count + more, before=before, level=level)
        assert len(longer) == count + more
        assert longer[:count] == some
        before += count
        drawn += some
    if kind != "new":  # however many an iteration plays, none comes twice in a pass
        for start in range(0, len(drawn), 10):
            one_pass = [problem.id for problem in drawn[start : start + 10]]
            assert len({*one_pass}) == len(one_pass)
    equal = task.train_problems(seed, 3, 5, before=10, level=level)
    assert task.train_problems(seed, 3, 5, level=level) == equal


def test_the_grade_school_problems_are_read_whole() -> None:
    sources = {name: DATA / "gsm8k" / f"{name}.jsonl" for name in ("train", "test")}
    if not all(path.is_file() for path in sources.values()):
        pytest.skip(f"gsm8k not found under {DATA}; set LLAMAO1_DATA to the data folder")
    train, test = (DataSource(path=str(path)) for path in sources.values())
    assert [sum(1 for _ in read_rows(source)) for source in (train, test)] == [7473, 1319]
    task = data_set(train, test, problem_field="question")
    held_out = task.test_problems(2000)
    assert len(held_out) == 1319
    assert held_out[0].answer == "18"
    size = len(task.corpus())
    assert size == 5000
    drawn = task.train_problems(0, 1, 50) + held_out
    assert all(re.fullmatch(r"-?[\d,]+(\.\d+)?", problem.answer) for problem in drawn)
