"""Tasks from Python files: what they may hold, and how it is said what is wrong with one."""

from pathlib import Path
from typing import Any

import pytest

from llamao1_cli.config import PythonTask
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked import Meta, Rating
from llamao1_cli.tasks.load import load_task
from llamao1_cli.tasks.problem import Problem, RewardFile
from llamao1_cli.tasks.task_file import TaskFile

FUNCTIONS = """
import random

def train_problems(seed, iteration, count):
    rng = random.Random(f"{seed} {iteration}")
    return [problem(rng.randrange(10, 1000)) for _ in range(count)]

def test_problems(count):
    return [problem(number) for number in (7, 8, 9)][:count]

def problem(number):
    return {"text": f"How many are {number}?", "answer": str(number)}

def reward(problem, solution):
    return float(problem.answer == solution.answer)
"""
WORKED = """
def worked_solution(problem):
    n = problem.answer
    return f"Count them.\\nThere are {n} = {n}.\\nThe answer is {n}."
"""
CLASS = """
class Task:
    instruction = "Say it in words."

    def __init__(self, size, word="pens"):
        self.size, self.word = size, word

    def train_problems(self, seed, iteration, count):
        return [{"text": f"{self.size} {self.word}", "answer": "1", "id": f"{iteration}-{i}"}
                for i in range(count)]

    def test_problems(self, count):
        return ({"text": f"{self.size} held out"},)

    def reward(self, problem, solution):
        return 1
"""


def task(folder: Path, text: str, **options: Any) -> TaskFile:
    path = folder / "task.py"
    path.write_text(text)
    made = load_task(PythonTask(path=str(path), options=options))
    assert isinstance(made, TaskFile)
    return made


def changed(old: str, new: str) -> str:
    assert old in FUNCTIONS
    return FUNCTIONS.replace(old, new)


def test_functions_are_a_task(tmp_path: Path) -> None:
    made = task(tmp_path, FUNCTIONS)
    path = str(tmp_path / "task.py")
    assert (made.name, made.levels, made.instruction) == (path, 1, "")
    assert made.reward == RewardFile(path, {})
    assert [problem.answer for problem in made.test_problems(2)] == ["7", "8"]
    assert made.test_problems(9)[0] == Problem("test/1", "How many are 7?", "7")
    first, more = made.train_problems(3, 2, 2), made.train_problems(3, 2, 5, before=9, level=1)
    assert more[:2] == first == made.train_problems(3, 2, 2)
    assert [problem.id for problem in first] == ["train 3/2/1", "train 3/2/2"]
    assert len({tuple(made.train_problems(seed, 1, 3)) for seed in range(4)}) == 4


def test_a_class_is_made_with_the_options(tmp_path: Path) -> None:
    made = task(tmp_path, CLASS, size=3)
    assert made.train_problems(0, 4, 1) == [Problem("4-0", "3 pens\nSay it in words.", "1")]
    assert made.test_problems(5) == [Problem("test/1", "3 held out\nSay it in words.", "")]
    assert made.reward == RewardFile(str(tmp_path / "task.py"), {"size": 3})
    assert task(tmp_path, CLASS, size=3, word="ink").train_problems(0, 1, 1)[0].text[:5] == "3 ink"


def test_problems_may_be_objects_of_ours(tmp_path: Path) -> None:
    ours = changed('{"text": f"How many are {number}?", "answer": str(number)}', "ours(number)")
    ours += """
from llamao1_cli.tasks.problem import Problem

def ours(number):
    return Problem(f"p{number}", f"Is it {number}?", str(number))
"""
    assert task(tmp_path, ours).test_problems(1) == [Problem("p7", "Is it 7?", "7")]


def test_worked_solutions_become_demonstrations(tmp_path: Path) -> None:
    made = task(tmp_path, FUNCTIONS + WORKED)
    trees = made.demonstrations(0, 40)
    assert trees[:20] == made.demonstrations(0, 20) != made.demonstrations(1, 20)
    right = next(tree for tree in trees if all(node.rating is not Rating.NEGATIVE for node in tree))
    problem, step, other, conclusion = right
    assert (step.text, step.meta, conclusion.meta) == (
        "Count them.",
        Meta.EXPANSION,
        Meta.CONCLUSION,
    )
    number = problem.text.removeprefix("How many are ").removesuffix("?")
    assert other.text == f"There are {number} = {number}."
    assert conclusion.text == f"The answer is \\boxed{{{number}}}."
    assert any(node.rating is Rating.NEGATIVE for tree in trees for node in tree)
    texts = made.corpus()
    assert len(texts) == 1000
    assert texts[500].startswith("Count them.")


def test_a_task_without_worked_solutions_has_no_demonstrations(tmp_path: Path) -> None:
    made = task(tmp_path, FUNCTIONS)
    with pytest.raises(UserError, match=r"worked_solution\(problem\) in .*task.py"):
        made.demonstrations(0, 1)
    silent = 'def worked_solution(problem): return "It is so."'
    with pytest.raises(UserError, match=r"states no answer to problem train .*'It is so.'; end it"):
        task(tmp_path, FUNCTIONS + silent).demonstrations(0, 1)
    with pytest.raises(UserError, match="worked_solution returned no text: 7"):
        task(tmp_path, FUNCTIONS + "def worked_solution(problem): return 7").corpus()


WRONG = {
    "no reward": (changed("def reward", "def other"), r"no function reward\(problem, solution\)"),
    "no problems": (changed("def train_p", "def p"), r"no function train_problems\(seed, iter"),
    "no test": (changed("def test_p", "def p"), r"no function test_problems\(count\)"),
    "not callable": (FUNCTIONS + "\nreward = 3", r"no function reward"),
    "one argument": (changed("reward(problem, solution)", "reward(problem)"), "called as reward"),
    "a third": (changed("(problem, solution)", "(problem, solution, x)"), r"missing .*'x'"),
    "instruction": (FUNCTIONS + "\ninstruction = 3", "instruction is no text: 3"),
    "syntax": (FUNCTIONS + "\ndef f(:", "it cannot be loaded: .*SyntaxError"),
    "raises": (FUNCTIONS + "\n1 / 0", "it cannot be loaded: line 17: ZeroDivisionError"),
    "fails": (changed("rng.randrange(10, 1000)", "1 / 0"), "train_problems failed in line 6: Z"),
    "no list": (changed("[:count]", "[0]"), "test_problems returned no list of problems: {'text'"),
    "text": (changed('str(number)}', 'number}'), "answer of a problem is no text: .*; write it"),
    "key": (changed('"answer"', '"anser"'), "made {'text': .*make dictionaries of text, answer"),
    "no text": (changed('"text"', '"id"'), "make dictionaries of text"),
    "empty": (changed('f"How many are {number}?"', '" "'), "text of problem train 0/1/1 is empty"),
    "too few": (changed("range(count)", "range(1)"), "made 1 problems of the 2 asked for"),
    "none held out": (changed("(7, 8, 9)", "()"), "test_problems made 0 problems where up to 2"),
    "too many": (changed("[:count]", ""), "test_problems made 3 problems where up to 2"),
    "chance": (changed('Random(f"{seed} {iteration}")', "Random()"), "other problems each time"),
    "held out": (changed("(10, 1000)", "(7, 10)"), "training problem is held out, too: 'How"),
    "count": (changed('iteration}")', 'iteration} {count}")'), "other problems each time"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_file_is_said_in_one_line(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(UserError, match=said) as error:
        task(tmp_path, text)
    assert str(error.value).count("\n") == 0
    assert "task.py" in str(error.value)


def test_options_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task.options: .*'colour'; it takes size, word"):
        task(tmp_path, CLASS, size=1, colour="red")
    with pytest.raises(UserError, match=r"task.options: .*missing .*'size'; it takes size, word"):
        task(tmp_path, CLASS)
    with pytest.raises(UserError, match=r"task.options: .*has no class Task"):
        task(tmp_path, FUNCTIONS, size=1)
    with pytest.raises(UserError, match="cannot be loaded: line 6: ValueError: too small"):
        task(tmp_path, CLASS.replace("self.size, ", "raise ValueError('too small')  # "), size=1)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task.path: .*nowhere.py: no such file"):
        load_task(PythonTask(path=str(tmp_path / "nowhere.py")))


def test_a_changed_file_is_read_again_in_the_same_second(tmp_path: Path) -> None:
    assert task(tmp_path, FUNCTIONS).test_problems(1)[0].answer == "7"
    assert task(tmp_path, FUNCTIONS.replace("(7,", "(6,")).test_problems(1)[0].answer == "6"
    assert not [*tmp_path.rglob("*.pyc")]
