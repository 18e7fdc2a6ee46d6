"""Entries of reasoning-gym: the same in every process, scored by their data sets, and safely."""

import ast
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("reasoning_gym", reason="the extra `reasoning-gym` is not installed")

from llamao1_cli.errors import UserError
from llamao1_cli.tasks.gym.entries import BLOCK, NAMES, Entries, defaults, levels_of, settings
from llamao1_cli.tasks.gym.evaluation import may_be_scored
from llamao1_cli.tasks.gym.process import Library, described
from llamao1_cli.tasks.gym.reward import Task
from llamao1_cli.tasks.problem import Problem, Solution

# Those whose entries have no answer of their own: any that fits is right.
OPEN = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
SLOW = {"acre", "arc_agi", "codeio", "futoshiki", "knight_swap", "puzzle24", "zebra_puzzles"}
SLOW |= {"figlet_font", "group_anagrams", "intermediate_integration", "word_ladder", "sokoban"}
# Data sets that walk through sets, whose order hangs on the hash seed, or draw from generators of
# the process.
UNSTEADY = ["isomorphic_strings", "polynomial_multiplication", "ransom_note", "list_functions"]


def entries(*names: str, levels: int = 1, **options: Any) -> Entries:
    return Entries(dict.fromkeys(names, options), levels)


@pytest.mark.parametrize("name", sorted({*NAMES} - OPEN - SLOW))
def test_own_answers_score_as_right(name: str) -> None:
    made = entries(name)
    _, answer = made.problem(f"{name}:1:0:3")
    assert answer is not None
    assert made.score(f"{name}:1:0:3", answer) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SLOW))
def test_own_answers_of_slow_data_sets_score_as_right(name: str) -> None:
    test_own_answers_score_as_right(name)


def test_there_are_105_data_sets() -> None:
    assert len(NAMES) == 105


def test_some_data_sets_give_a_part_of_the_reward() -> None:
    made = entries("sudoku")
    _, answer = made.problem("sudoku:1:0:0")
    assert answer is not None
    assert 0 < made.score("sudoku:1:0:0", answer[:-1] + "x") < 1


def test_an_open_problem_is_solved_by_what_fits() -> None:
    """Two vertices of a graph that are joined, and every colouring of it."""
    made = entries("graph_color", min_num_vertices=2, max_num_vertices=2, num_colors=2)
    scores = {
        made.score("graph_color:1:0:0", json.dumps({"0": one, "1": other}))
        for one in (1, 2)
        for other in (1, 2)
    }
    assert made.problem("graph_color:1:0:0")[1] is None
    assert 1.0 in scores


def test_an_entry_is_what_the_package_makes_of_seed_and_index() -> None:
    import reasoning_gym

    theirs = reasoning_gym.create_dataset("chain_sum", seed=7 * BLOCK, size=BLOCK, max_terms=3)[41]
    ours = entries("chain_sum", max_terms=3).problem(f"chain_sum:1:{7 * BLOCK}:41")
    assert ours == (theirs["question"], theirs["answer"])


def test_entries_are_the_same_in_every_process_and_in_every_order() -> None:
    ids = [f"{name}:1:5000:{index}" for name in UNSTEADY for index in range(8)]
    arguments = {"data_sets": {name: {} for name in UNSTEADY}, "levels": 1}
    first, second = Library(arguments), Library(arguments)
    assert first.problems(ids) == second.problems(ids[::-1])[::-1]


def test_the_environment_of_the_caller_changes_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"isomorphic_strings:1:0:{index}" for index in range(20)]
    arguments = {"data_sets": {"isomorphic_strings": {}}, "levels": 1}
    found = []
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        found.append(Library(arguments).problems(ids))
    assert found[0] == found[1]


def test_every_level_that_is_told_can_be_made() -> None:
    for name in NAMES:
        for level in range(1, levels_of(name) + 1) if levels_of(name) > 1 else ():
            settings(name, {}, level)
    # Higher ones of these are refused by the data set itself: 25 letters are no more than the
    # alphabet has.
    assert (levels_of("caesar_cipher"), levels_of("knight_swap")) == (2, 1)


def test_levels_are_those_of_the_data_sets_own_curriculum() -> None:
    assert levels_of("chain_sum") == 11
    assert levels_of("acre") == 1
    easy, hard = (settings("chain_sum", {"max_digits": 1}, level) for level in (1, 3))
    assert (easy["max_terms"], hard["max_terms"]) == (2, 4)
    assert easy["max_digits"] == hard["max_digits"] == 1  # what is given lies over the level
    made = entries("chain_sum", levels=3, max_digits=1)
    assert max(len(made.problem(f"chain_sum:1:0:{n}")[0].split()) for n in range(30)) < max(
        len(made.problem(f"chain_sum:3:0:{n}")[0].split()) for n in range(30)
    )


@pytest.mark.parametrize(
    ("name", "options", "level", "words"),
    [
        ("chian_sum", {}, None, "did you mean `chain_sum`?"),
        ("qqqq", {}, None, "`llamao1 tasks` lists all"),
        ("composite", {}, None, "no such data set"),
        ("chain_sum", {"max_term": 3}, None, "did you mean `max_terms`?"),
        ("chain_sum", {"qqqq": 3}, None, "it has min_terms, max_terms"),
        ("chain_sum", {"max_terms": 1}, None, "max_terms must be >= min_terms"),
        ("chain_sum", {"max_terms": "x"}, None, "cannot be made"),
        ("chain_sum", {"seed": 1}, None, "leave it out"),
        ("chain_sum", {"size": 1}, None, "leave it out"),
        ("chain_sum", {}, 12, "has 11, not 12"),
        ("acre", {}, 2, "has 1, not 2"),
        ("chain_sum", {"min_terms": 3}, 1, "at level 1"),
    ],
)
def test_what_does_not_exist_is_refused(
    name: str, options: dict[str, Any], level: int | None, words: str
) -> None:
    with pytest.raises(ValueError, match=r"^task\.\w+: ") as refused:
        settings(name, options, level)
    assert words in str(refused.value)


def test_defaults_leave_out_what_the_run_decides() -> None:
    assert not {"seed", "size"} & defaults("chain_sum").keys()


@pytest.mark.parametrize("name", sorted({*NAMES} - SLOW))
def test_no_answer_is_evaluated(name: str, tmp_path: Path) -> None:
    """Words that would write a file if Python, or SymPy's parser, evaluated them."""
    written = tmp_path / "written"
    call = f"__import__('pathlib').Path({str(written)!r}).touch()"
    codes = "+".join(f"chr({ord(letter)})" for letter in call)
    made = entries(name)
    for answer in (call, f"[{call}]", f"eval({codes})", f"1 + exec({codes})", f"x.{call}"):
        # A data set may fail at an answer that it cannot read, which counts as 0.
        with suppress(ValueError, TypeError, IndexError, KeyError, AttributeError):
            assert 0 <= made.score(f"{name}:1:0:0", answer) <= 1
    assert not written.exists()


MATHS = ["sin", "exp", "log", "pi", "x", "C", "(", ")", ".", "1", "2.5", "+", "**", ",", " "]
PYTHON = ["eval", "exec", "chr", "__class__", "lambda", "if", "for", "[", "]", ":", "'", "=", "_"]
WORDS = st.sampled_from([*MATHS, *PYTHON])


@given(st.lists(WORDS, max_size=12).map("".join))
def test_what_is_read_as_a_formula_reaches_into_nothing(formula: str) -> None:
    if not may_be_scored("countdown", formula):
        return
    try:
        tree = ast.parse(formula.strip(), mode="eval")
    except SyntaxError:
        return
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert names <= {"sin", "exp", "log", "pi", "x", "C"}
    assert not any(isinstance(node, ast.Attribute | ast.Subscript) for node in ast.walk(tree))


@pytest.mark.parametrize(
    "formula",
    ["94*2 - 39 + 48 - 25", "-cos(4*x + 10)**5/5 + C", "5264*y**5 - 4.5*y", "3*(10 + 7 - 9)"],
)
def test_formulas_are_read(formula: str) -> None:
    assert may_be_scored("simple_integration", formula)


@pytest.mark.parametrize(
    "formula",
    ["x.real", "eval(x)", "'x'", "[1]", "x_y", "lambda: 1", "1 if x else 2", "exit()", "1" * 2001],
)
def test_what_is_more_than_a_formula_is_not_read(formula: str) -> None:
    assert not may_be_scored("simple_integration", formula)


def test_the_reward_is_the_score_of_the_stated_answer() -> None:
    task = Task(**{"data_sets": {"chain_sum": {"max_terms": 3}}, "levels": 1})
    entry_id = "chain_sum:1:0:0"
    question, answer = Entries({"chain_sum": {"max_terms": 3}}, 1).problem(entry_id)
    problem = Problem(entry_id, question, "not looked at")
    assert answer is not None
    assert task.reward(problem, Solution("whatever", answer)) == 1
    assert task.reward(problem, Solution(answer, "no number")) == 0


def test_the_process_that_makes_problems_ends_with_its_owner() -> None:
    script = (
        "from llamao1_cli.tasks.gym.process import Library\n"
        "made = Library({'data_sets': {'chain_sum': {}}, 'levels': 1})\n"
        "print(made._process.pid, flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_a_data_set_that_fails_is_named() -> None:
    made = Library({"data_sets": {"chain_sum": {}}, "levels": 1})
    with pytest.raises(UserError, match="chain_sum cannot make its entry chain_sum:1:0:x"):
        made.problems(["chain_sum:1:0:x"])
    assert len(made.problems(["chain_sum:1:0:0"])) == 1  # and the process goes on


def test_a_data_set_is_described() -> None:
    (told,) = described(["sudoku"])
    assert told["area"] == "games"
    assert told["levels"] == 5
    assert told["options"] == {"min_empty": 30, "max_empty": 50}
    assert len(told["examples"]) == 3
