"""The example tasks: each trains, is evaluated by every strategy, exported and resumed."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rank_runs import alone, sets, together
from safetensors.numpy import load_file
from test_train import fit, metrics, stop_at_iteration

from llamao1_cli.config import Config
from llamao1_cli.config.file import load_config
from llamao1_cli.config.strategies import PASS, PASS_DISTINCT
from llamao1_cli.errors import InterruptedRunError, UserError
from llamao1_cli.evaluate.strategies import STRATEGIES
from llamao1_cli.export.commands import export_openlongcot
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.run import commands
from llamao1_cli.search.tree_files import read_trees
from llamao1_cli.tasks.load import load_task
from llamao1_cli.tasks.problem import Problem, Solution
from llamao1_cli.tasks.verifier import Verifier

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.yaml"))
ALL = [name for name, each in STRATEGIES.items() if not each.growth.external]
SMALL = [
    "run.iterations=2", "run.checkpoint_every=1", "run.threads=1",
    "model.build={hidden_size: 32, layers: 1, heads: 2, feed_forward: 32}",
    "warmup.examples=128", "learn.problems=3", "search.simulations=3", "eval.problems=2",
    "eval.samples=2", "eval.simulations=2", "search.max_thought_tokens=8",
]  # fmt: skip


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def small(name: str, run: Path, *overrides: str) -> Config:
    file = Path("examples") / f"{name}.yaml"
    return load_config(file, [f"run.dir={run}", "eval.strategies=[greedy]", *SMALL, *overrides])


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_trains_is_evaluated_exported_and_resumed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    fit(small(name, whole))
    weights = RunFolder(whole).latest() / "model"
    every = f"eval.strategies={json.dumps([*ALL, PASS, PASS_DISTINCT])}"
    commands.evaluate(small(name, whole, every), weights, tmp_path / "eval.json")
    result = json.loads((tmp_path / "eval.json").read_text())
    assert len(result["strategies"]) >= len(ALL)
    assert all(0 <= row["reward"] <= 1 for row in result["strategies"].values() if "reward" in row)
    export_openlongcot(whole, tmp_path / "trees.jsonl", last=0, overwrite=False)
    with monkeypatch.context() as patch:
        stop_at_iteration(patch, 1)
        with pytest.raises(InterruptedRunError):
            fit(small(name, stopped))
    fit(small(name, stopped), resume=True)
    assert metrics(stopped) == metrics(whole)
    state = Path("checkpoints") / "iteration-000002" / "model" / "model.safetensors"
    one, other = load_file(whole / state), load_file(stopped / state)
    assert all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_worked_solution_solves_its_problem(tmp_path: Path, name: str) -> None:
    config = small(name, tmp_path)
    task, form = load_task(config.task), config.task.answer_form
    held_out = {problem.text for problem in task.test_problems(200)}
    problems = task.train_problems(1, 1, 5)
    assert not held_out & {problem.text for problem in task.train_problems(1, 1, 200)}
    worked = [task._worked(problem) for problem in problems]  # type: ignore[attr-defined]
    solved = [
        (problem, Solution(text, form.stated(text) or ""))
        for problem, text in zip(problems, worked, strict=True)
    ]
    with Verifier(config.grading, task.reward, config.task.solved_at, tmp_path / "log") as verifier:
        assert verifier.rewards.of(solved) == [1.0] * 5


# Example, a problem's answer, a solution's text and answer, and what that earns.
EARNED: list[tuple[str, str, str, str, float]] = [
    ("two_numbers", "9", "So.", "4, 5", 1.0),
    ("two_numbers", "9", "So.", "1, 8", 1.0),
    ("two_numbers", "9", "So.", "8,1", 0.5),
    ("two_numbers", "9", "So.", "0, 9", 0.0),
    ("two_numbers", "9", "So.", "4, 6", 0.0),
    ("two_numbers", "9", "So.", "nine", 0.0),
    ("multiple_choice", "B", "So.", "(b)", 1.0),
    ("multiple_choice", "B", "So.", "A", 0.0),
    ("format_reward", "7", "3 + 4 = 7\nThe answer is 7.", "7", 1.0),
    ("format_reward", "7", "It is clear.\nThe answer is 7.", "7", 0.5),
    ("format_reward", "7", "The answer is 7.", "7", 0.5),
    ("format_reward", "7", "3 + 5 = 8\nThe answer is 8.", "8", 0.5),
    ("format_reward", "7", "3 + 5 = 7\nThe answer is 8.", "8", 0.0),
    ("unit_tests", '{"tests": [[0, 1], [2, 5]]}', "So.", "2 * x + 1", 1.0),
    ("unit_tests", '{"tests": [[0, 1], [2, 5]]}', "So.", "x + 1", 0.5),
    ("unit_tests", '{"tests": [[0, 1], [2, 5]]}', "So.", "x +", 0.0),
    ("unit_tests", '{"tests": [[0, 1], [2, 5]]}', "So.", "True + 0 * 'x'", 0.0),
    ("unit_tests", '{"tests": [[0, 1], [2, 5]]}', "So.", "[y for y in iter(int, 1)]", 0.0),
    ("unit_tests", '{"tests": [[0, 1], [2, 5]]}', "So.", "9 ** 9 ** 9 ** x", 0.0),
    ("unit_tests", '{"tests": [[0, 1], [2, 5]]}', "So.", "open('x', 'w').write('y' * 10**9)", 0.0),
    ("unit_tests", '{"tests": [[0, 1], [2, 5]]}', "So.", "__import__('os')._exit(0)", 0.0),
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_solutions_of_an_example_earn(tmp_path: Path, name: str) -> None:
    config = small(name, tmp_path)
    source = load_task(config.task).reward
    rows = [row[1:] for row in EARNED if row[0] == name]
    solved = [(Problem("p", "?", true), Solution(text, said)) for true, text, said, _ in rows]
    assert rows
    with Verifier(config.grading, source, 1.0, tmp_path / "log") as verifier:
        assert verifier.rewards.of(solved) == [row[-1] for row in rows]


def test_a_changed_task_file_is_noticed_on_resume(tmp_path: Path) -> None:
    run, path = tmp_path / "run", tmp_path / "task.py"
    text = (ROOT / "examples" / "two_numbers.py").read_text()
    path.write_text(text)
    settings = [f"task.path={path}", "run.iterations=1", "eval.strategies=[greedy]"]
    fit(small("two_numbers", run, *settings))
    path.write_text(text.replace("0.5", "0.25"))
    with pytest.raises(UserError, match=re.escape(f"task.path: {path} has changed")):
        fit(small("two_numbers", run, *settings), resume=True)


def test_failed_rewards_are_counted_and_logged_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, path = tmp_path / "run", tmp_path / "task.py"
    text = (ROOT / "examples" / "two_numbers.py").read_text()
    path.write_text(text.replace("    numbers = re.", "    1 / 0\n    numbers = re."))
    # Any text is an answer, so that a model that has learned nothing states some.
    settings = [f"task.path={path}", "run.iterations=1", "eval.strategies=[greedy, majority]",
                "task.answers={pattern: '(.+)', template: '{answer}'}"]  # fmt: skip
    fit(small("two_numbers", run, *settings))
    (row,) = (row for row in metrics(run) if row["stage"] == "self-play")
    assert row["failed_rewards"] > 0
    assert row["success"] == 0
    trees = read_trees(RunFolder(run).trees(1), None)
    ended = [node for tree in trees for node in tree.nodes if node.terminal]
    assert {(node.reward, node.outcome) for node in ended} == {(0.0, False)}
    assert sum(tree.failed_rewards for tree in trees) == len(ended) == row["failed_rewards"]
    assert RunFolder(run).reward_log.read_text().count("Traceback") == 1
    result: dict[str, Any] = json.loads([*RunFolder(run).evaluations().values()][-1].read_text())
    assert result["failed_rewards"] > 0


@pytest.mark.slow
def test_two_ranks_play_an_example_as_one_does(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for out, play in ((one, alone), (two, lambda words: together(tmp_path, words))):
        words = ["self-play", "--config", "examples/two_numbers.yaml", "--out", str(out)]
        play([*words, *sets([*SMALL, "warmup=null", "learn.problems=4"])])
    first, second = (read_trees(out / "iteration-000001.jsonl", None) for out in (one, two))
    assert len(first) == 4
    for tree, other in zip(first, second, strict=True):
        assert [node.reward for node in tree.nodes] == [node.reward for node in other.nodes]
        assert [node.thought.ids for node in tree.nodes] == [n.thought.ids for n in other.nodes]
