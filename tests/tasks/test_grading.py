import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamao1_cli.language.answers import stated_answer
from llamao1_cli.tasks.grading import Grader

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("LLAMAO1_DATA") or REPOSITORY.parent / "shared" / "data")


def records(name: str) -> list[dict[str, Any]]:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{name} not found under {DATA}; set LLAMAO1_DATA to the data folder")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as shared:
        yield shared


def graded(grader: Grader, pairs: list[tuple[str, str]], verdict: bool) -> set[tuple[str, str]]:
    return {pair for pair, v in zip(pairs, grader.grade(pairs), strict=True) if v == verdict}


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{3} or rather \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{5} and then \boxed{6", "5"),
        (r"\boxed{5} and then \boxed{ }", "5"),
        (r"an open { and \boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{x = \boxed{7}}", "7"),
        (r"\boxed{\boxed{}}", None),
        (r"$\boxed{3}$ and $\boxed{5}$.", "3, 5"),
        (r"\boxed{3}, \boxed{4}, and \boxed{5}", "3, 4, 5"),
        (r"\boxed{5}\text{ or }\boxed{6}", "5, 6"),
        (r"\boxed{5}, that is, \boxed{5}", "5"),
        (r"\boxed{3} so then \boxed{5}", "5"),
        (r"\boxed{3}, \boxed{x=\boxed{5}}", "5"),
        ("The answer is Rs. 100. Good.", "Rs. 100"),
        ("The answer is No. It is odd.", "No"),
        (r"$\fbox 5$.", "5"),
        (r"put it in \boxed{} please", None),
        ("12 eggs\n#### 1,200", "1,200"),
        ("##### Heading", None),
        ("He has 3.\nA: 18\n", "18"),
        ("The answer is 3.5. Good.", "3.5"),
        ("The answer is 3. No, the final answer is $-4$.", "$-4$"),
        ("**Answer:** 12 eggs\nDone.", "12 eggs"),
        ("Let us think.", None),
        ("2*66=132 miles per hour", None),
    ],
)
def test_stated_answer(text: str, answer: str | None) -> None:
    assert stated_answer(text) == answer


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_any_text_is_read(text: str) -> None:
    stated_answer(text)
    stated_answer("the answer is " + text + r" \boxed{" + text)


PLAIN = st.text(st.characters(exclude_characters="\\{}", codec="utf-8"))
BALANCED = st.recursive(PLAIN, lambda inner: st.tuples(PLAIN, inner, PLAIN).map("%s{%s}%s".__mod__))


@given(PLAIN, BALANCED.filter(str.strip), PLAIN)
@settings(max_examples=200, deadline=None)
def test_what_is_boxed_is_found(before: str, content: str, after: str) -> None:
    assert stated_answer(f"{before}\\boxed{{{content}}}{after}") == content.strip()


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 10**5 + "}" * 10**5,
        "\\boxed{5}, " * 10**5,
        "\\" * 10**6,
        "answer" + " " * 10**6,
        ("\\boxed" + " " * 1000) * 1000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    start = time.monotonic()
    stated_answer(text)
    assert time.monotonic() - start < 30  # quadratic time would be many minutes


@given(st.integers(), st.integers())
@settings(max_examples=200, deadline=None)
def test_integers_are_graded_as_integers(left: int, right: int) -> None:
    grader = Grader()  # decided without a worker, so there is nothing to close
    pairs = [(str(left), str(right)), (f"${left:,}.0$", str(left)), (str(-left), str(left))]
    assert grader.grade(pairs) == [left == right, True, left == 0]


def test_equal_answers(grader: Grader) -> None:
    pairs = [
        ("0.5", r"\frac{1}{2}"),
        (r"50\%", "0.5"),
        ("0.333333333333", "1/3"),
        (r"\frac{9}{5}", r"1\frac{4}{5}"),
        ("$18 per day", "18"),
        ("5", "x=5"),
        ("(x+1)^2", "x^2+2x+1"),
        (r"\frac{1}{\sqrt3}", r"\frac{\sqrt{3}}{3}"),
        (r"1+\sqrt{19}, 1-\sqrt{19}", r"1 \pm \sqrt{19}"),
        (r"\begin{pmatrix} 0.2 \\ -3.6 \end{pmatrix}", r"\begin{pmatrix} 1/5\\ -18/5\end{pmatrix}"),
    ]
    assert graded(grader, pairs, False) == set()


def test_different_answers(grader: Grader) -> None:
    pairs = [
        ("-5", "5"),
        ("", ""),
        ("1000000000001", "1000000000000"),
        ("0.0000671", "0.0000672"),
        ("5000%", "0.5"),
        ("5 or 6", "5"),
        ("100, 200", "100,200"),
        ("5 @@ junk", "5"),
        (r"\frac{1}{2} @@", "1/2"),
        ("1 1/2", "11/2"),
        ("52_7", "52_8"),
        ("-1.8 billion", "-1.8"),
        ("seat", r"\text{east}"),
        ("(2,3)", "(2,3]"),
    ]
    assert graded(grader, pairs, True) == set()


HOSTILE = [
    "(" * 900,
    "2003^2002^2001",
    "9**9**9**9",
    "9^{9^{9^{9}}}",
    "100000000!",
    "(a+b+c+d+e+f)^{60}",
    r"\newcommand{\x}{\x\x}\x" * 20,
    "\ud800",
]


def test_hostile_answers_cost_only_their_time_limit() -> None:
    with Grader(workers=2, timeout_s=1.0) as grader:
        start = time.monotonic()
        pairs = [(answer, "x^2+1") for answer in HOSTILE]
        assert grader.grade([*pairs, (r"x \cdot x + 1", "x^2+1")]) == [False] * len(HOSTILE) + [
            True
        ]
        # A second each at most over two workers, and their restarts, on a machine that is busy.
        assert time.monotonic() - start < 60
        start = time.monotonic()
        assert grader.grade(pairs) == [False] * len(HOSTILE)
        assert time.monotonic() - start < 1  # cached


# Decided without a process where they are long, else in one that survives most of them.
STRANGE = [
    "x" * 10**6,
    "9" * 10**6,
    "{" * 10**6,
    r"\frac{1}{" * 10**5 + "x" + "}" * 10**5,
    r"\boxed{" * 10**5,
    "2^" * 400 + "2",
    "2^{" * 200 + "2" + "}" * 200,
    r"\sqrt{" * 120 + "x" + "}" * 120,
    r"\frac{1}{" * 80 + "x" + "}" * 80,
    r"\left(" * 120 + "x",
    r"\begin{pmatrix}" * 50,
    r"\def\x{\x\x}\x",
    r"\input{/etc/passwd}",
    r"\newcommand{\y}[1]{#1#1}\y{\y{\y{x}}}",
    r"\sum_{i=1}^{10^9} i^{i}",
    "__import__('os').system('true')",
    "[x for x in range(10**9)]",
    "(lambda: 0)()",
    "x.__class__.__mro__",
    "\0" * 900,
    "%s%n" * 200,
]


@pytest.mark.slow
def test_strange_answers_are_wrong_and_the_pool_survives_them() -> None:
    with Grader(workers=2, timeout_s=3.0) as grader:
        assert grader.grade([("x+1", "1+x")]) == [True]
        start = time.monotonic()
        assert grader.grade([(answer, "x^2+1") for answer in STRANGE]) == [False] * len(STRANGE)
        # As if every one took its whole time, and a new process after it.
        assert time.monotonic() - start < len(STRANGE) * (3 + 30)
        assert 1 <= len(grader._pool._idle) <= 2
        assert grader.grade([("x+2", "2+x"), ("x+2", "3+x")]) == [True, False]


def test_nothing_is_evaluated(grader: Grader, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    code = f"__import__('os').system('touch {trace}')"
    answers = [code, f"5+{code}", f"\\text{{{code}}}", f"\\operatorname{{{code}}}(1)"]
    assert grader.grade([(answer, "x^2") for answer in answers]) == [False] * len(answers)
    assert not trace.exists()


def test_grading_goes_on_after_a_worker_died(grader: Grader) -> None:
    assert grader.grade([("x+1", "1+x")]) == [True]
    (worker,) = grader._pool._idle
    assert "torch" not in Path(f"/proc/{worker.pid}/maps").read_text()
    os.kill(worker.pid, signal.SIGINT)
    assert grader.grade([("x+2", "2+x")]) == [True]
    assert grader._pool._idle == [worker]  # an interrupt is the parent's business
    os.kill(worker.pid, signal.SIGKILL)
    assert grader.grade([("x+3", "3+x"), ("x+3", "4+x")]) == [True, False]
    assert grader._pool._idle != [worker]


def test_workers_end_with_the_context() -> None:
    with Grader() as grader:
        grader.grade([("x+1", "1+x")])
        pid = grader._pool._idle[0].pid
    assert not running(pid)


def test_workers_die_with_a_killed_parent() -> None:
    program = (
        "from llamao1_cli.tasks.grading import Grader\n"
        "grader = Grader(timeout_s=1)\n"
        "assert grader.grade([('x+1', '1+x')]) == [True]\n"
        "print(grader._pool._idle[0].pid, flush=True)\n"
        "grader.grade([('9^{9^{9^{9}}}', 'x')])\n"
    )
    command = [sys.executable, "-c", program]
    parent = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
        time.sleep(0.3)  # into the hostile pair, which no end of its input would stop
        parent.kill()
        parent.wait()
    end = time.monotonic() + 15
    while running(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not running(pid)


def test_bad_limits_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one worker"):
        Grader(workers=0)
    with pytest.raises(ValueError, match="positive time limit"):
        Grader(timeout_s=0)


def test_published_gsm8k_verdicts(grader: Grader) -> None:
    rows = records("gsm8k/labelled_solutions.jsonl")
    stated = [(stated_answer(row["solution"]), stated_answer(row["ground_truth"])) for row in rows]
    verdicts = grader.grade([(left or "", right or "") for left, right in stated])
    assert len(rows) == 2638
    assert verdicts == [row["is_correct"] for row in rows]


def test_gsm8k_answers_are_found() -> None:
    rows = records("gsm8k/train.jsonl")
    assert len(rows) == 7473
    for row in rows:
        assert stated_answer(row["answer"]) == row["answer"].rpartition("#### ")[2]


def test_math500_solutions_are_right(grader: Grader) -> None:
    rows = records("math500/test.jsonl")
    pairs = [(stated_answer(row["solution"]) or "", row["answer"]) for row in rows]
    assert len(pairs) == 500
    assert graded(grader, pairs, False) == set()


@pytest.mark.parametrize("shift", [1, 7])
def test_answers_of_other_math500_problems_are_wrong(grader: Grader, shift: int) -> None:
    answers = [row["answer"] for row in records("math500/test.jsonl")]
    shifted = zip(answers[shift:] + answers[:shift], answers, strict=True)
    pairs = [p for p in shifted if p[0].strip("$") != p[1].strip("$")]
    assert len(pairs) > 450
    assert graded(grader, pairs, True) <= {
        ("5", "x=5"),
        ("x=5", "5"),
    }  # the value of x, with and without its name
