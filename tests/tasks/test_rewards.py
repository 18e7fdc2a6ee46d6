"""Rewards of a task's own: what they may return, and what hostile ones cost."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import GradingConfig
from llamao1_cli.errors import UserError
from llamao1_cli.tasks.problem import EQUALITY, Problem, RewardFile, Solution
from llamao1_cli.tasks.reward_worker import MOST_TEXT
from llamao1_cli.tasks.rewards import RewardWorkers, rewards_by_equality
from llamao1_cli.tasks.verifier import Verifier

# Does what the answer says: a statement, or the value of an expression.
OBEDIENT = """
import os, subprocess, sys, time, math, threading
import neighbour
calls = 0

def reward(problem, solution):
    global calls
    calls += 1
    code = solution.answer
    if code.startswith("return "):
        return eval(code.removeprefix("return "))
    exec(code)
    return 1.0
"""
LIMIT_S = 1.0


class Workers:
    """The workers of the obedient reward."""

    def __init__(self, folder: Path, limit_s: float = LIMIT_S) -> None:
        self.path = folder / "obedient.py"
        self.path.write_text(OBEDIENT)
        (folder / "neighbour.py").write_text("half = 0.5\n")
        self.log = folder / "run" / "rewards.log"
        self.log.parent.mkdir(exist_ok=True)
        config = GradingConfig(timeout_s=limit_s)
        self.pool = RewardWorkers(RewardFile(str(self.path), {}), config, self.log)

    def __call__(self, *codes: str) -> list[float | None]:
        problem = Problem("p1", "Which?", "secret")
        return self.pool.of([(problem, Solution(f"A thought.\n{code}", code)) for code in codes])


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    made = Workers(tmp_path)
    yield made
    made.pool.close()


def alive(marker: str) -> list[str]:
    """The processes, but for zombies, whose command line has the marker in it."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and marker in (folder / "cmdline").read_text():
                found += [folder.name] * (") Z " not in (folder / "stat").read_text())
        except OSError:
            continue
    return found


def test_rewards_are_those_of_the_file(workers: Workers) -> None:
    earned = workers(
        "return 0", "return 1", "return 0.25", "return True", "return neighbour.half",
        "return float(problem.answer == 'secret')", "return float(problem.id == 'p1')",
        "return float(solution.text.startswith('A thought.') and problem.text == 'Which?')",
        "return __import__('numpy').float32(0.5)",
    )  # fmt: skip
    assert earned == [0.0, 1.0, 0.25, 1.0, 0.5, 1.0, 1.0, 1.0, 0.5]


def test_equal_solutions_are_rewarded_once(workers: Workers) -> None:
    assert workers("return 1 / calls", "return 1 / calls", "pass") == [1.0, 1.0, 1.0]
    assert workers("return 1 / calls", "return 1.0 / calls") == [1.0, 1 / 3]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2.0", r"2\.0 \(float\)"),
        ("-0.1", r"-0\.1 \(float\)"),
        ("math.nan", r"nan \(float\)"),
        ("math.inf", r"inf \(float\)"),
        ("'0.5'", r"'0\.5' \(str\)"),
        ("None", r"None \(NoneType\)"),
        ("[1.0]", r"\[1\.0\] \(list\)"),
        ("1j", r"1j \(complex\)"),
    ],
)
def test_what_is_no_reward_is_an_error_that_names_the_problem(
    workers: Workers, value: str, shown: str
) -> None:
    with pytest.raises(UserError, match=f"obedient.py: the reward of problem p1 is {shown}"):
        workers(f"return {value}")


HOSTILE = {
    "hangs": "while True: pass",
    "sleeps": "time.sleep(3600)",
    "forks and hangs": "os.fork(); time.sleep(3600)",
    "starts and hangs": f"subprocess.run(['sleep', '3601.{os.getpid()}'])",
    "eats memory": "x = bytearray(1 << 40)",
    "eats memory slowly": "x = [0]\nwhile True: x += x",
    "raises": "1 / 0",
    "raises what is no error": "raise KeyboardInterrupt",
    "leaves": "sys.exit(3)",
    "recurses": "def f(): f()\nf()",
    "ends its process": "os._exit(0)",
    "kills its process": "os.kill(os.getpid(), 9)",
    "does not compile": "return",
    "raises a megabyte": "raise ValueError('x' * 1_000_000)",
}


@pytest.mark.parametrize("code", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_reward_earns_nothing_and_the_next_one_is_called(
    workers: Workers, code: str
) -> None:
    begun = time.monotonic()
    assert workers(code, "return 0.5") == [None, 0.5]
    assert time.monotonic() - begun < 30  # its limit of a second, and processes on a busy machine
    assert not alive(f"3601.{os.getpid()}")


@pytest.mark.parametrize(
    "code",
    [
        "print('x' * 1_000_000)",
        "sys.stderr.write('x' * 1_000_000)",
        "os.write(1, b'x' * 1_000_000)",
        "os.system('echo true; yes | head -c 1000000')",
        "sys.stdin.read()",
    ],
)
def test_what_a_reward_prints_and_reads_goes_nowhere(
    workers: Workers, code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert workers(code, "return 0.5") == [1.0, 0.5]
    assert capfd.readouterr() == ("", "")


def test_what_a_reward_leaves_behind_is_killed(workers: Workers) -> None:
    marker = f"3602.{os.getpid()}"
    assert workers(f"subprocess.Popen(['sleep', '{marker}'])", "return 0.5") == [1.0, 0.5]
    workers.pool.close()
    assert not alive(marker)
    # A fork that comes back from the reward answers nothing.
    assert workers("os.fork()", "return 0.25", "os.fork()\npass") == [1.0, 0.25, 1.0]


def test_threads_and_memory_of_one_call_do_not_end_the_next(workers: Workers) -> None:
    hung = "threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()"
    assert workers(hung, "x = bytearray(1 << 28)", "return 0.5") == [1.0, 1.0, 0.5]


def test_long_texts_reach_the_reward(workers: Workers) -> None:
    long = "return len(solution.text) / 2_000_000" + " " * 900_000
    assert workers(long)[0] == pytest.approx(0.45, abs=0.01)


def test_a_failure_is_shown_once_with_its_traceback_in_the_log(
    workers: Workers, capfd: pytest.CaptureFixture[str]
) -> None:
    assert workers("1 / 0", "2 / 0", "[][1]") == [None, None, None]
    _, shown = capfd.readouterr()
    assert shown.count("\n") == 2
    assert "obedient.py: line 12: ZeroDivisionError: division by zero (problem p1" in shown
    assert "IndexError" in shown
    log = workers.log.read_text()
    assert log.count("Traceback") == 2
    assert "in reward\n    exec(code)" in log
    assert str(workers.log) in shown


def test_without_a_run_folder_the_traceback_is_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workers = Workers(tmp_path)
    workers.log.parent.rmdir()
    assert workers("1 / 0") == [None]
    workers.pool.close()
    assert "Traceback" in capfd.readouterr().err
    assert not workers.log.parent.exists()


def test_a_traceback_is_cut(workers: Workers) -> None:
    assert workers("raise ValueError('x' * 1_000_000)") == [None]
    assert len(workers.log.read_text()) < 2 * MOST_TEXT


def test_a_file_that_a_worker_cannot_load_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("\nimport os\nos.environ['NOT_THERE']\n")
    pool = RewardWorkers(RewardFile(str(path), {}), GradingConfig(), tmp_path / "rewards.log")
    with pytest.raises(UserError, match=r"broken.py: .*cannot load it: line 3: KeyError"):
        pool.of([(Problem("p", "?", ""), Solution("", ""))])
    pool.close()


@given(st.lists(st.tuples(st.sampled_from("789"), st.sampled_from("789"))))
def test_equality_earns_one_or_nothing(pairs: list[tuple[str, str]]) -> None:
    of = rewards_by_equality(lambda asked: [one == other for one, other in asked])
    solved = [(Problem("p", "?", true), Solution("So.", said)) for said, true in pairs]
    assert of(solved) == [float(said == true) for said, true in pairs]


def test_a_verifier_compares_answers_and_rewards_solutions(tmp_path: Path) -> None:
    solved = [(Problem("p", "?", "1/2"), Solution("So.", "0.5"))]
    with Verifier(GradingConfig(), EQUALITY, 1.0, tmp_path / "log") as verifier:
        assert verifier.rewards.of(solved) == [1.0]
        assert verifier.equal([("0.5", "1/2")]) == [True]
    path = tmp_path / "task.py"
    path.write_text("def reward(problem, solution): return 0.75")
    source = RewardFile(str(path), {})
    with Verifier(GradingConfig(), source, 0.5, tmp_path / "log") as verifier:
        assert (verifier.rewards.of(solved), verifier.rewards.solved_at) == ([0.75], 0.5)
        assert verifier.equal([("0.5", "1/2")]) == [True]
