"""Code that must pass unit tests: the answer is a Python expression in x, tried on a few inputs.

What is run is what a model wrote. The reward's process is killed with all that it started when its
time is up, and this file runs each program in a process of its own: without an environment, in an
empty folder, with limits on time, memory, files and what it may write. That protects from mistakes:
endless loops, huge results, a full disk. It does NOT protect from malice: the program can read what
your user can read, and reach the network. Train a capable model on such a task in a container or a
virtual machine that has neither secrets nor a network.
"""

import json
import random
import subprocess
import sys
import tempfile

from llamao1_cli.tasks.problem import Problem, Solution

SECONDS, MEMORY_BYTES, MOST_OUTPUT = 2, 1 << 29, 10_000
INPUTS = range(-2, 6)

# Its first line sets the limits before any of the program is read.
PROGRAM = f"""
import resource
for limit, most in (
    (resource.RLIMIT_CPU, {SECONDS}), (resource.RLIMIT_AS, {MEMORY_BYTES}),
    (resource.RLIMIT_FSIZE, {MOST_OUTPUT}), (resource.RLIMIT_NPROC, 0),
):
    resource.setrlimit(limit, (most, most))
import json, sys
code, inputs = json.load(sys.stdin)
function = eval(f"lambda x: {{code}}")
print(json.dumps([function(x) for x in inputs]))
"""


def _problem(rng: random.Random, factors: range) -> dict[str, str]:
    factor, offset = rng.choice(factors), rng.randrange(1, 10)
    text = f"Write a Python expression: {factor} times x, and {offset} more."
    tests = [[x, factor * x + offset] for x in INPUTS]
    return {
        "text": text,
        "answer": json.dumps({"code": f"{factor} * x + {offset}", "tests": tests}),
    }


def train_problems(seed: int, iteration: int, count: int) -> list[dict[str, str]]:
    """Problems of an iteration: the same for the same seed and iteration."""
    rng = random.Random(f"{seed} {iteration}")
    return [_problem(rng, range(2, 20, 2)) for _ in range(count)]


def test_problems(count: int) -> list[dict[str, str]]:
    """Held-out problems, with odd factors."""
    rng = random.Random("held out")
    return [_problem(rng, range(3, 20, 2)) for _ in range(count)]


def worked_solution(problem: Problem) -> str:
    """A solution for the warm-up."""
    code = json.loads(problem.answer)["code"]
    factor = code.split(" ")[0]
    return f"{factor} times x is {factor} * x\nThe answer is \\boxed{{{code}}}."


def reward(problem: Problem, solution: Solution) -> float:
    """The share of the tests that the expression passes; 0 for one that does not run."""
    tests = json.loads(problem.answer)["tests"]
    found = _run(solution.answer, [x for x, _ in tests])
    if len(found) != len(tests):
        return 0.0
    return sum(
        type(y) is int and y == right for y, (_, right) in zip(found, tests, strict=True)
    ) / len(tests)


def _run(code: str, inputs: list[int]) -> list[object]:
    """What the expression makes of the inputs, run apart; nothing where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", PROGRAM],
                input=json.dumps([code, inputs]),
                capture_output=True,
                text=True,
                timeout=SECONDS,
                cwd=folder,
                env={},
            )
            found = json.loads(done.stdout[:MOST_OUTPUT])
        except (subprocess.TimeoutExpired, ValueError):
            return []
    return found if isinstance(found, list) else []
