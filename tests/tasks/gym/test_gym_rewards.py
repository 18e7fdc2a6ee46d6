"""Rewards of reasoning-gym in worker processes, as a run asks for them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("reasoning_gym", reason="the extra `reasoning-gym` is not installed")

from llamao1_cli.config import GradingConfig, ReasoningGymTask
from llamao1_cli.tasks.gym.task import ReasoningGym
from llamao1_cli.tasks.problem import Problem, Solution
from llamao1_cli.tasks.verifier import Verifier

# Of different kinds; the questions of the last three hang on the order of a set of words.
NAMES = ["chain_sum", "sudoku", "knights_knaves", "spiral_matrix", "number_sorting", "syllogism"]
NAMES += ["countdown", "isomorphic_strings", "polynomial_multiplication", "ransom_note"]


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    task = ReasoningGym(ReasoningGymTask(dataset=NAMES, test_problems=60))
    return [*task.test_problems(60), *task.train_problems(0, 1, 60)]


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifier]:
    task = ReasoningGym(ReasoningGymTask(dataset=NAMES))
    log = tmp_path_factory.mktemp("run") / "log"
    with Verifier(GradingConfig(timeout_s=20), task.reward, 1.0, log) as made:
        yield made


def test_a_worker_scores_the_entry_that_the_problem_is_made_of(
    problems: list[Problem], verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the hash seed of the run."""
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    assert {each.id.split(":")[0] for each in problems} == {*NAMES}
    earned = verifier.rewards.of([(each, Solution("", each.answer)) for each in problems])
    assert [each.id for each, got in zip(problems, earned, strict=True) if got != 1] == []


def test_an_answer_to_another_problem_or_of_another_kind_earns_little(
    problems: list[Problem], verifier: Verifier
) -> None:
    for wrong in ("", "banana", "1", "None"):
        earned = verifier.rewards.of([(each, Solution("", wrong)) for each in problems])
        assert all(got is None or 0 <= got < 1 for got in earned)


def test_what_is_not_the_answer_is_not_looked_at(
    problems: list[Problem], verifier: Verifier
) -> None:
    """The score is the data set's, not a comparison with the answer that is kept."""
    some = problems[:20]
    moved = [Problem(each.id, "another text", "another answer") for each in some]
    earned = verifier.rewards.of(
        [(each, Solution(said.answer, said.answer)) for each, said in zip(moved, some, strict=True)]
    )
    assert set(earned) == {1.0}


def test_a_hanging_score_counts_as_nothing(tmp_path: Path) -> None:
    """A power that SymPy would work out for longer than anybody waits."""
    task = ReasoningGym(ReasoningGymTask(dataset="puzzle24", test_problems=1))
    (problem,) = task.test_problems(1)
    with Verifier(GradingConfig(timeout_s=2), task.reward, 1.0, tmp_path / "log") as verifier:
        hanging = Solution("", "9**9**9**9**9 + 1/7")
        right = Solution("", problem.answer)
        assert verifier.rewards.of([(problem, hanging), (problem, right)])[1] == 1
        assert not verifier.rewards.of([(problem, hanging)])[0]
