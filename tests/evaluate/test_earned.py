"""Strategies on tasks whose rewards are between 0 and 1."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from fake_engine import FakeEndpoint, FakeEngine, by_equality

from llamao1_cli.config import EvalConfig, SearchConfig
from llamao1_cli.config.strategies import PASS, PASS_DISTINCT
from llamao1_cli.evaluate.calibration import step_quality, value_quality
from llamao1_cli.evaluate.evaluator import Evaluator
from llamao1_cli.evaluate.judges import Judges
from llamao1_cli.evaluate.scoring import Forest, sample_rewards
from llamao1_cli.evaluate.strategies import STRATEGIES
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.report.tables import evaluation_table
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.selfplay.local import SelfPlay
from llamao1_cli.tasks.problem import Problem, Solution
from llamao1_cli.tasks.rewards import Rewards

PROBLEMS = [Problem(f"p{i}", f"How many are {i}?", str(i)) for i in range(3)]
EVERY = [*STRATEGIES, PASS, PASS_DISTINCT]
Solved = Sequence[tuple[Problem, Solution]]


def evaluator(
    language: MarkedLanguage, of: Any, solved_at: float, monkeypatch: pytest.MonkeyPatch
) -> Evaluator:
    """An evaluator that fails where something is rewarded while trees grow or are chosen from."""
    searching = False

    def sealed(act: Any) -> Any:
        def watched(*arguments: Any, **options: Any) -> Any:
            nonlocal searching
            searching = True
            try:
                return act(*arguments, **options)
            finally:
                searching = False

        return watched

    def rewarded(solved: Solved) -> Any:
        assert not searching
        return of(solved)

    selfplay = SelfPlay(FakeEngine(language), language, Accelerator(cpu=True), seed=0)
    monkeypatch.setattr(selfplay, "play", sealed(selfplay.play))
    monkeypatch.setattr(selfplay, "refine", sealed(selfplay.refine))
    verifier: Any = SimpleNamespace(equal=by_equality, rewards=Rewards(rewarded, solved_at))
    config, judges = EvalConfig(samples=3, simulations=4), Judges(endpoint=FakeEndpoint())
    return Evaluator(PROBLEMS, selfplay, verifier, SearchConfig(), config, judges)


@pytest.mark.parametrize("budget", [None, 150])
@pytest.mark.parametrize(("solved_at", "accuracy"), [(1.0, 0.0), (0.5, 1.0)])
def test_every_strategy_earns_partial_rewards(
    language: MarkedLanguage,
    monkeypatch: pytest.MonkeyPatch,
    budget: int | None,
    solved_at: float,
    accuracy: float,
) -> None:
    runs = evaluator(language, lambda solved: [0.5] * len(solved), solved_at, monkeypatch)
    result = runs.run(EVERY) if budget is None else runs.at_budget(EVERY, budget)
    assert len(result["strategies"]) >= len(STRATEGIES)
    for row in result["strategies"].values():
        assert row["accuracy"] <= accuracy
        if "reward" in row and row["accuracy"] in (0.0, 1.0):
            answered = row["reward"] * 2  # the share of problems with an answer
            assert row["accuracy"] == (answered if accuracy else 0.0)
    assert any(row.get("reward") == 0.5 for row in result["strategies"].values())


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_solution_that_a_strategy_chose_is_rewarded(
    language: MarkedLanguage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Problem, Solution]] = []

    def note(solved: Solved) -> list[float]:
        seen[:] = solved
        return [len(said.text) / 1000 for _, said in solved]

    result = evaluator(language, note, 1.0, monkeypatch).run([name])
    (row,) = result["strategies"].values()
    assert seen
    assert all(said.answer in said.text for _, said in seen)
    total = sum(len(said.text) / 1000 for _, said in seen)
    assert row["reward"] == pytest.approx(total / len(PROBLEMS))


def test_failed_rewards_of_an_evaluation_are_counted_and_shown(
    language: MarkedLanguage, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = evaluator(language, lambda solved: [None] * len(solved), 1.0, monkeypatch)
    result = runs.run(["majority"])
    assert result["failed_rewards"] > 0
    assert result["strategies"]["majority@3"]["reward"] == 0.0
    assert f"earned 0: {result['failed_rewards']}" in str(evaluation_table(result, "x").caption)
    assert runs.run(["greedy"])["failed_rewards"] <= len(PROBLEMS)


def test_the_table_has_rewards_where_they_are_not_the_accuracy(
    language: MarkedLanguage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for reward, shown in ((0.5, True), (1.0, False)):
        runs = evaluator(language, lambda solved, r=reward: [r] * len(solved), 1.0, monkeypatch)
        table = evaluation_table(runs.run(["majority", "greedy"]), "held-out")
        assert ("reward" in [column.header for column in table.columns]) is shown


def test_values_are_held_to_partial_rewards(language: MarkedLanguage) -> None:
    request = SearchRequest(PROBLEMS, SearchConfig(), range(3))
    trees = grow(request, FakeEngine(language), language)
    rewards = Rewards(lambda solved: [0.25 if said.answer == "7" else 0.75 for _, said in solved])
    earned = sample_rewards(Forest(trees, 0.0), rewards)
    flat = np.array([each for row in earned for each in row])
    assert {*flat.tolist()} <= {0.0, 0.25, 0.75}
    for node in (node for tree in trees for node in tree.nodes):
        node.value = 0.5
    quality = value_quality(trees, earned, lambda node: node.value, 0.7)
    assert quality["brier"] == pytest.approx(np.mean((0.5 - flat) ** 2))
    assert quality["auc"] == pytest.approx(0.5)
    assert value_quality(trees, earned, lambda node: node.value, 0.9)["auc"] is None  # none solved
    steps = step_quality(trees, earned, lambda node: node.value, 0.7)
    (row,) = steps["bins"]
    assert steps["ece"] == pytest.approx(abs(row["right"] - 0.5))
