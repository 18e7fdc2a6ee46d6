"""Test-time strategies: what each one answers, what it costs, and that none sees the truth."""

import math
import re
from xml.etree import ElementTree

import pytest
import torch
from accelerate import Accelerator
from fake_engine import VERIFIER, FakeEndpoint, FakeEngine, Script, answer_of

from llamao1_cli.config import EvalConfig, SearchConfig
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.evaluate.calibration import value_quality
from llamao1_cli.evaluate.choices import best_of, first_answer, majority, search_vote, weighted_vote
from llamao1_cli.evaluate.evaluator import Evaluator
from llamao1_cli.evaluate.intervals import paired_difference
from llamao1_cli.evaluate.judges import Judges
from llamao1_cli.evaluate.strategies import STRATEGIES
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.report.evaluation_charts import budget_picture, reliability_picture
from llamao1_cli.report.reading import BudgetEvaluation, Quality
from llamao1_cli.report.tables import budget_table, evaluation_table
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay.local import SelfPlay
from llamao1_cli.tasks.grading import Grader
from llamao1_cli.tasks.problem import Problem
from llamao1_cli.value.head import ValueHead

EVERYTHING = ["greedy", "pass", "majority", "best_of", "weighted_vote", "mcts"]
SECRET = "zq98123"


def evaluator(
    engine: FakeEngine,
    language: MarkedLanguage,
    answers: list[str],
    search: SearchConfig,
    **changes: object,
) -> Evaluator:
    problems = [Problem(str(i), f"How many are {i}?", a) for i, a in enumerate(answers)]
    selfplay = SelfPlay(engine, language, Accelerator(cpu=True), seed=0)
    config = EvalConfig(**{"samples": 4, "simulations": 3, **changes})
    judges = Judges(endpoint=FakeEndpoint())
    return Evaluator(problems, selfplay, VERIFIER, search, config, judges)


def sampled(*samples: tuple[str | None, float, int]) -> Tree:
    """A tree of one-thought samples: answer, rating, visits."""
    tree = Tree.plant(Problem("p", "How many?", "7"), 0, 0.5)
    for answer, value, visits in samples:
        text = f"The answer is \\boxed{{{answer}}}." if answer else "Let us think."
        tree.attach(tree.root, [Thought(None, text, rating=value)])[0].visits = visits
    return tree


equal = Grader().grade  # plain numbers need no process


def test_votes_by_hand() -> None:
    tree = sampled(("7", 0.5, 1), ("8", 0.9, 1), (None, 1.0, 9), ("7.0", 0.3, 1), ("9", 0.1, 9))
    assert answer_of(first_answer(tree, equal)) == "7"
    assert answer_of(majority(tree, equal)) == "7"  # 7 and 7.0 are one answer
    assert answer_of(weighted_vote(tree, equal)) == "8"  # 0.8, 0.9, 0.1
    assert answer_of(best_of(tree, equal)) == "8"  # a thought without an answer is none
    assert answer_of(search_vote(tree, equal)) == "8"  # 0.8, 0.9, 0.9: the earliest of equals
    tree.nodes[5].visits = 10
    assert answer_of(search_vote(tree, equal)) == "9"
    for choose in (first_answer, majority, weighted_vote, best_of, search_vote):
        assert answer_of(choose(sampled((None, 0.5, 1)), equal)) is None


def test_votes_merge_answers_by_the_rule_of_grading() -> None:
    tree = sampled(("8", 1, 1), (r"\frac{1}{\sqrt3}", 1, 1), (r"\frac{\sqrt{3}}{3}", 1, 1))
    with Grader() as grader:
        assert answer_of(majority(tree, grader.grade)) == r"\frac{1}{\sqrt3}"
    tree = sampled(("2% loss", 1, 1), ("2% profit", 1, 1), ("2% gain", 1, 1))
    assert answer_of(majority(tree, equal)) == "2% profit"


def test_a_rating_of_zero_still_votes() -> None:
    tree = sampled(("7", 0.0, 1), ("7", 0.0, 1))
    assert [answer_of(choose(tree, equal)) for choose in (majority, weighted_vote, best_of)] == [
        "7"
    ] * 3


def test_no_strategy_learns_the_answer_nor_what_was_right(language: MarkedLanguage) -> None:
    engine = FakeEngine(language)
    search = SearchConfig(meta_actions="matrix", hints="answer", patience=1)
    watched: list[Tree] = []
    evaluator(engine, language, [SECRET] * 3, search).run(
        EVERYTHING, lambda name, trees: watched.extend(trees)
    )
    assert len(engine.requests) >= 3 * (1 + 4 + 3)
    for request in engine.requests:
        assert not any(request.hints)
        assert SECRET not in language.tokenizer.decode(request.path)
    assert {node.outcome for tree in watched for node in tree.nodes} == {None}


def by_problem(language: MarkedLanguage) -> Script:
    """Problem 0 is always solved, 1 in the sample after a long thought only, 2 never answered."""

    def think(request, depth, meta, rng):
        number = next(
            i
            for i in range(3)
            if request.path[: len(p := language.root(f"How many are {i}?"))] == p
        )
        if number == 2:
            return "Let us think.", 0.5
        right = number == 0 or request.seed % 2
        return f"\\boxed{{{7 if right else 8}}}", 0.9 if right else 0.2

    return think


def test_accuracies_by_hand(language: MarkedLanguage) -> None:
    engine = FakeEngine(language, by_problem(language))
    forests: dict[str, list[Tree]] = {}
    result = evaluator(engine, language, ["7"] * 3, SearchConfig()).run(
        EVERYTHING, forests.__setitem__
    )
    assert result["rating"] == result["value"]  # there is no head
    figures = result["strategies"]
    lucky = [node.answer == "7" for node in forests["samples"][1].nodes[1:]]
    assert len(lucky) == 4
    right = sum(lucky)
    assert 0 < right < 4
    assert figures["pass@1"]["accuracy"] == pytest.approx((1 + right / 4) / 3)
    assert figures["pass@4"]["accuracy"] == pytest.approx(2 / 3)
    assert figures["best_of_4"]["accuracy"] == pytest.approx(2 / 3)  # the rating tells them apart
    assert figures["majority@4"]["correct"] == 1 + (right > 2 or (right == 2 and lucky[0]))
    assert set(figures) == {
        "greedy",
        "pass@1",
        "pass@2",
        "pass@4",
        "majority@4",
        "best_of_4",
        "weighted_vote@4",
        "mcts",
    }
    assert all(figure["n"] == 3 for figure in figures.values())
    tokens = {
        name: sum(len(n.thought.ids) for t in trees for n in t.nodes)
        for name, trees in forests.items()
    }
    assert figures["greedy"]["generated_tokens"] == tokens["greedy"]
    assert figures["best_of_4"]["generated_tokens"] == tokens["samples"]
    assert figures["mcts"]["generated_tokens"] == tokens["mcts"]
    assert result["value"]["n"] == 12
    assert result["value"]["auc_within"] == 1.0


def test_greedy_takes_the_likeliest_token_once_and_samples_do_not(language: MarkedLanguage) -> None:
    engine = FakeEngine(language)
    search = SearchConfig(temperature=0.3)
    evaluator(engine, language, ["7"] * 2, search, temperature=0.9).run(["greedy"])
    assert [request.sampling.temperature for request in engine.requests] == [0.0] * 2
    evaluator(engine, language, ["7"] * 2, search, temperature=0.9).run(["majority", "mcts"])
    assert {request.sampling.temperature for request in engine.requests[2:]} == {0.9}


def test_a_problem_without_room_counts_as_failed(language: MarkedLanguage) -> None:
    full = language.root("How many are 1?")
    engine = FakeEngine(
        language, by_problem(language), full=lambda request: request.path[: len(full)] == full
    )
    result = evaluator(engine, language, ["7"] * 3, SearchConfig()).run(EVERYTHING)
    assert {round(f["accuracy"], 6) for f in result["strategies"].values()} == {0.333333}


def test_value_quality_by_hand() -> None:
    trees = [sampled(("7", 0.9, 1), ("8", 0.4, 1)), sampled(("8", 0.6, 1), ("8", 0.1, 1))]
    outcomes = [[True, False], [False, False]]
    quality = value_quality(trees, outcomes, lambda node: node.thought.rating)
    assert quality["auc"] == 1.0
    assert quality["auc_within"] == 1.0
    assert quality["brier"] == pytest.approx((0.01 + 0.16 + 0.36 + 0.01) / 4)
    assert quality["brier_constant"] == pytest.approx(0.25 * 0.75)
    assert quality["n"] == 4


def test_votes_go_by_values_and_not_by_ratings() -> None:
    tree = sampled(("7", 0.9, 1), ("8", 0.1, 1))
    for node, value in zip(tree.nodes[1:], (0.2, 0.3), strict=True):
        node.value = value
    for choose in (weighted_vote, search_vote, best_of):
        assert answer_of(choose(tree, equal)) == "8"


def test_what_the_weighted_vote_gains_over_majority(language: MarkedLanguage) -> None:
    def think(request, depth, meta, rng):
        right = request.seed % 3 == 0
        return f"\\boxed{{{7 if right else 8}}}", 1.0 if right else 0.05

    forests: dict[str, list[Tree]] = {}
    engine, search = FakeEngine(language, think), SearchConfig()
    result = evaluator(engine, language, ["7"] * 40, search, samples=5).run(
        ["majority", "weighted_vote"], forests.__setitem__
    )
    answers = [[node.answer for node in tree.nodes[1:]] for tree in forests["samples"]]
    gained = sum(0 < row.count("7") < 3 for row in answers)
    assert 0 < gained < 40
    assert result["differences"].keys() == {"weighted_vote@5 - majority@5"}
    (row,) = result["differences"].values()
    assert row["difference"] == pytest.approx(gained / 40)
    assert row["ci95"] == paired_difference([1] * gained + [0] * (40 - gained), [0] * 40)["ci95"]
    assert row["n"] == 40
    alone = evaluator(engine, language, ["7"], search).run(["majority", "best_of"])
    assert alone["differences"] == {}


def test_values_and_ratings_are_both_judged(language: MarkedLanguage) -> None:
    head = ValueHead(4, 0)
    torch.nn.init.ones_(head.outer.bias)  # every logit is one more than the rating's
    problems = [Problem(str(i), f"How many are {i}?", "7") for i in range(6)]
    engine = FakeEngine(language, lambda *_: ("\\boxed{8}", 0.5))
    selfplay = SelfPlay(engine, language, Accelerator(cpu=True), seed=0, value_function=head)
    search, config = SearchConfig(), EvalConfig(samples=4)
    result = Evaluator(problems, selfplay, VERIFIER, search, config).run(["majority"])
    assert result["rating"]["brier"] == pytest.approx(0.25)
    assert result["value"]["brier"] == pytest.approx((1 / (1 + math.exp(-1))) ** 2)


def test_the_table_tells_what_the_head_is_good_for(language: MarkedLanguage) -> None:
    result = evaluator(FakeEngine(language), language, ["7"] * 3, SearchConfig()).run(EVERYTHING)
    result["differences"]["weighted_vote@4 - majority@4"] |= {
        "difference": 0.25,
        "ci95": [-0.5, 0.75],
    }
    result["value"] |= {"auc": 0.875, "auc_within": None}
    lines = str(evaluation_table(result, "held-out").caption).splitlines()
    assert lines[0] == "weighted_vote@4 - majority@4: +0.250 (-0.500 to +0.750)"
    assert lines[1].startswith("pass@4 - best_of_4: ")
    assert lines[2].startswith("values of 12 solutions: AUC 0.875, within a problem none, Brier 0.")
    assert lines[3].startswith("ratings of 12 solutions: AUC ")
    assert re.fullmatch(r"values of \d+ steps: calibration error 0\.\d{3}", lines[4])
    assert lines[5].startswith("ratings of ")
    greedy = evaluator(FakeEngine(language), language, ["7"], SearchConfig()).run(["greedy"])
    assert evaluation_table(greedy, "held-out").caption is None


def test_evaluation_is_the_same_each_time(language: MarkedLanguage) -> None:
    runs = []
    for _ in range(2):
        result = evaluator(FakeEngine(language), language, ["7"] * 3, SearchConfig()).run(
            EVERYTHING
        )
        for figure in result["strategies"].values():
            del figure["seconds"]
        runs.append(result)
    assert runs[0] == runs[1]


def test_what_the_best_loses_to_an_oracle(language: MarkedLanguage) -> None:
    """best_of goes by values that mislead; with five samples, no power of two."""

    def think(request, depth, meta, rng):
        right = request.seed % 3 == 0
        return f"\\boxed{{{7 if right else 8}}}", 0.1 if right else 0.9

    forests: dict[str, list[Tree]] = {}
    engine = FakeEngine(language, think)
    result = evaluator(engine, language, ["7"] * 40, SearchConfig(), samples=5).run(
        ["pass", "best_of", "best_of:min"], forests.__setitem__
    )
    counts = [sum(n.answer == "7" for n in tree.nodes) for tree in forests["samples"]]
    some, every = sum(count > 0 for count in counts), sum(count == 5 for count in counts)
    assert result["strategies"].keys() == {
        *("pass@1", "pass@2", "pass@4", "pass@5", "best_of_5", "best_of_5:min")
    }
    assert result["strategies"]["pass@5"]["accuracy"] == pytest.approx(some / 40)
    for name in ("pass@5 - best_of_5", "pass@5 - best_of_5:min"):
        assert result["differences"][name]["difference"] == pytest.approx((some - every) / 40)


def test_at_a_budget_all_are_compared_with_majority(language: MarkedLanguage) -> None:
    def think(request, depth, meta, rng):
        right = request.seed % 3 == 0
        return f"\\boxed{{{7 if right else 8}}}", 1.0 if right else 0.05

    forests: dict[str, list[Tree]] = {}
    size = len(language.encode("\\boxed{7}")) + 1
    search = SearchConfig(max_thought_tokens=size, max_depth=2)
    row = evaluator(FakeEngine(language, think), language, ["7"] * 30, search, samples=2).at_budget(
        ["weighted_vote", "pass", "greedy", "mcts"], 5 * size, forests.__setitem__
    )
    answers = [[node.answer for node in tree.nodes[1:]] for tree in forests["samples"]]
    assert {len(each) for each in answers} == {5}
    right = {
        "majority": [each.count("7") >= 3 for each in answers],
        "weighted_vote": ["7" in each for each in answers],
        "pass": ["7" in each for each in answers],
    }
    assert row["tokens"] == 5 * size
    assert row["strategies"].keys() == {"greedy", "pass", "majority", "weighted_vote", "mcts"}
    assert row["differences"].keys() == {"greedy", "pass", "weighted_vote", "mcts"}
    for name, each in right.items():
        assert row["strategies"][name]["right"] == [int(one) for one in each]
        assert row["strategies"][name]["generated_tokens"] == 30 * 5 * size
    assert row["strategies"]["greedy"]["generated_tokens"] == 30 * size
    gap = row["differences"]["weighted_vote"]
    assert gap == paired_difference(right["weighted_vote"], right["majority"])
    lines = [str(cell) for column in budget_table(row, "").columns for cell in column.cells]
    assert lines[:5] == list(row["strategies"])
    assert f"{5 * size:.1f}" in lines


def reliability_of(judge: Evaluator) -> str:
    steps = judge.run(["majority"])["steps"]
    return reliability_picture({name: Quality.model_validate(each) for name, each in steps.items()})


def test_pictures_are_drawn(language: MarkedLanguage) -> None:
    judge = evaluator(FakeEngine(language), language, ["7"] * 3, SearchConfig())
    budgets = [judge.at_budget(list(STRATEGIES), budget) for budget in (40, 20)]
    rows = BudgetEvaluation.model_validate({"n": 3, "budgets": budgets}).rows()
    full = FakeEngine(language, full=lambda request: True)
    silent = evaluator(full, language, ["7"], SearchConfig())
    assert evaluation_table(silent.run(["majority"]), "nothing").caption
    for picture, names in (
        (budget_picture(rows), list(STRATEGIES)),
        (reliability_of(judge), ["values, calibration error", "ratings, calibration error"]),
        (reliability_of(silent), ["values, no steps", "ratings, no steps"]),
    ):
        root = ElementTree.fromstring(picture)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        legend = [text.text or "" for text in root.findall("{http://www.w3.org/2000/svg}text")[1:]]
        assert len(legend) == len(names)
        assert all(row.startswith(name) for row, name in zip(legend, names, strict=True))
