"""Test-time strategies: how their trees grow, what they answer, and that none sees the truth."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from fake_engine import (
    VERIFIER,
    FakeEndpoint,
    FakeEngine,
    answer_of,
    by_equality,
    chain_tree,
    random_tree,
)
from hypothesis import given
from hypothesis import strategies as st
from toy_models import toy_model

from llamao1_cli.config import EvalConfig, SearchConfig
from llamao1_cli.config.strategies import STRATEGY_NAMES
from llamao1_cli.evaluate.choices import best_of, path_worth, weighted_vote
from llamao1_cli.evaluate.confidence import Confidence
from llamao1_cli.evaluate.evaluator import Evaluator
from llamao1_cli.evaluate.judges import Judges
from llamao1_cli.evaluate.pairwise import PairwiseJudge
from llamao1_cli.evaluate.reductions import REDUCTIONS
from llamao1_cli.evaluate.strategies import GROWTHS, LIKELIEST, SAMPLES, STRATEGIES, by_growth
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.model.load import LanguageModel
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.rules.beam import Beam
from llamao1_cli.search.rules.improvement import Improvement, best_below
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.selfplay.local import SelfPlay
from llamao1_cli.tasks.problem import Problem
from llamao1_cli.value.head import ValueHead

PROBLEMS = [Problem(f"p{i}", f"How many are {i}?", "7") for i in range(3)]
VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=7)


def by_hand(name: str, values: Sequence[float]) -> float:
    if name == "last":
        return [*values].pop()
    if name == "min":
        return sorted(values)[0]
    if name == "mean":
        return statistics.fmean(values)
    result = 1.0
    for value in values:
        result *= value
    return result


# Reductions and choices


@given(name=st.sampled_from(sorted(REDUCTIONS)), values=VALUES)
def test_reductions_equal_a_plain_loop(name: str, values: list[float]) -> None:
    assert REDUCTIONS[name](values) == pytest.approx(by_hand(name, values))


def test_a_path_is_worth_its_thoughts_and_not_its_problem() -> None:
    tree = chain_tree([0.01, 0.5, 0.25, 0.75], True)
    worth = {name: path_worth(tree, tree.nodes[3], REDUCTIONS[name]) for name in REDUCTIONS}
    assert worth == {"last": 0.75, "min": 0.25, "product": 0.09375, "mean": 0.5}


@given(name=st.sampled_from(sorted(REDUCTIONS)), seed=st.integers(0, 200))
def test_votes_and_the_best_equal_a_recount(language: MarkedLanguage, name: str, seed: int) -> None:
    tree = random_tree(language, seed, size=20)
    ends = [node for node in tree.nodes if node.answer is not None]
    scores: list[tuple[str, float]] = []
    for end in ends:
        values, node = [], end
        while node.parent is not None:
            values.insert(0, node.value)
            node = tree.nodes[node.parent]
        scores.append((end.answer, by_hand(name, values)))
    reduce = REDUCTIONS[name]
    best = answer_of(best_of(tree, by_equality, reduce))
    voted = answer_of(weighted_vote(tree, by_equality, reduce))
    if not ends:
        assert best is voted is None
        return
    sums = {form: math.fsum(w for f, w in scores if f == form) for form, _ in scores}
    assert best is not None
    assert voted is not None
    assert best == max(scores, key=lambda score: score[1])[0]
    assert sums[voted] == pytest.approx(max(sums.values()))


# Confidence


@given(seed=st.integers(0, 200))
def test_confidence_is_the_geometric_mean_probability_of_the_paths_tokens(
    language: MarkedLanguage, seed: int
) -> None:
    tree = random_tree(language, seed)
    whole, judge = random_tree(language, seed), Confidence()
    tree.nodes = tree.nodes[:1]
    for node in whole.nodes[1:]:  # it sees the tree grow
        judge([tree])
        tree.nodes.append(node)
    judge([tree])
    assert tree.root.value == 1.0
    for node in tree.nodes[1:]:
        logprobs = [each for step in tree.path(node) for each in step.thought.logprobs]
        assert node.value == pytest.approx(math.exp(statistics.fmean(logprobs)))


def test_mcts_by_confidence_reads_no_rating(language: MarkedLanguage) -> None:
    """Two engines that differ in their ratings alone get the same search."""
    trees = []
    for rating in (0.1, 0.9):
        engine = FakeEngine(language, lambda *_, rating=rating: ("\\boxed{7}", rating))
        setup = GROWTHS["mcts_confidence"].set_up(SearchConfig(), EvalConfig(), None)
        (tree,) = grow(
            SearchRequest(PROBLEMS[:1], setup.search, [0], rule=setup.rule, judge=setup.judge),
            engine,
            language,
        )
        trees.append([(n.parent, n.visits, n.value_sum, n.value) for n in tree.nodes])
    assert trees[0] == trees[1]


# Beam search


@given(
    width=st.integers(1, 4),
    candidates=st.integers(1, 3),
    depth=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_a_beam_equals_a_recount_of_its_levels(
    language: MarkedLanguage, width: int, candidates: int, depth: int, seed: int
) -> None:
    config = SearchConfig(rollout=False, max_depth=depth)
    rule = Beam(width, candidates, depth)
    (tree,) = grow(
        SearchRequest(PROBLEMS[:1], config, [seed], rule=rule), FakeEngine(language), language
    )
    assert len(tree.root.children) == width * candidates
    kept, concluded = [tree.root], 0
    for level in range(1, depth + 1):
        made = [node for node in tree.nodes if node.depth == level]
        if level > 1:
            parents = {node.parent for node in made}
            assert parents == {node.id for node in kept}
            assert all(len(node.children) == candidates for node in kept)
        ranked = sorted(made, key=lambda node: (-node.value, kept_place(kept, node), node.id))
        best = ranked[: width - concluded]
        concluded += sum(node.terminal for node in best)
        kept = [node for node in best if not node.terminal]
        if not kept:
            break
    assert max(node.depth for node in tree.nodes) == level


def kept_place(kept: list[Node], node: Node) -> int:
    """Where a node's parent stands among the prefixes, which are asked for best first."""
    return [prefix.id for prefix in kept].index(node.parent or 0)


# Search for improvement


def improved(tree: Tree, node: Node) -> float:
    """Q(n) (1 - B(n)) from scratch: over all conclusions below a node, at whatever depth."""
    ends = [leaf for leaf in tree.leaf_nodes() if leaf is not node and node in tree.path(leaf)]
    values = [leaf.value if leaf.terminal else 0.0 for leaf in ends]
    return statistics.fmean([node.value, *values]) * (1 - max(values, default=0.0))


@given(seed=st.integers(0, 99), rollouts=st.integers(1, 12), depth=st.integers(1, 4))
def test_every_rollout_begins_where_it_likeliest_improves(
    language: MarkedLanguage, seed: int, rollouts: int, depth: int
) -> None:
    config, seen = SearchConfig(max_depth=depth), list[tuple[int, float]]()

    class Watched(Improvement):
        def pick(self, trees: list[Tree]) -> list[Pick]:
            picks = super().pick(trees)
            for pick in picks:
                tree, node, count = pick.tree, pick.node, pick.count
                expandable = [
                    n for n in tree.nodes if not n.terminal and not n.closed and n.depth < depth
                ]
                scores = {n.id: improved(tree, n) for n in expandable}
                assert scores[node.id] == pytest.approx(max(scores.values()))
                seen.append((count, scores[node.id]))
            return picks

    rule = Watched(rollouts, depth)
    (tree,) = grow(
        SearchRequest(PROBLEMS[:1], config, [seed], rule=rule), FakeEngine(language), language
    )
    assert len(seen) == tree.simulations == len([*tree.leaf_nodes()])
    sure = any(node.terminal and node.value == 1.0 for node in tree.nodes)
    assert len(seen) == rollouts or sure
    assert {count for count, _ in seen} == {1}
    assert seen[0] == (1, pytest.approx(tree.root.value))


def test_a_doubtful_chain_is_forked_at_its_best_thought() -> None:
    """A root of 0.3, thoughts of 0.9, 0.8 and 0.2, a conclusion of 0.1: a fork of the first thought
    is worth (0.9 + 0.1) / 2 * (1 - 0.1) = 0.45, of the others 0.405 and 0.135, a new chain 0.18."""
    tree = chain_tree([0.3, 0.9, 0.8, 0.2, 0.1], False)
    rule = Improvement(2, 7)
    tree.simulations = 1
    rule.absorb(tree, tree.nodes[-1])
    (pick,) = rule.pick([tree])
    assert (pick.node.id, pick.count) == (1, 1)
    assert rule.pick([tree]) == []  # two roll-outs are all
    tree.nodes[-1].value = 1.0  # nothing betters a conclusion that is certain
    assert best_below(tree) == [1.0] * 5
    assert Improvement(9, 7).pick([tree]) == []


def test_what_never_concludes_is_worth_nothing(language: MarkedLanguage) -> None:
    engine = FakeEngine(language, lambda *_: ("and on", 0.9))
    setup = STRATEGIES["mcts_improvement"].growth.set_up(
        SearchConfig(max_depth=3), EvalConfig(), None
    )
    (tree,) = grow(
        SearchRequest(PROBLEMS[:1], setup.search, [0], rule=setup.rule), engine, language
    )
    assert tree.root.visits == tree.simulations == 8  # as many roll-outs as mcts has
    assert tree.root.value_sum == 0.0
    assert answer_of(best_of(tree, by_equality)) is None


# All of them


def test_every_strategy_can_be_configured_and_every_name_is_one() -> None:
    assert {*STRATEGIES, "pass", "pass_distinct"} == {*STRATEGY_NAMES}


def test_a_name_that_is_no_strategy_is_not_passed_over() -> None:
    assert by_growth(["pass"]) == [(SAMPLES, [])]
    assert by_growth(["pass_distinct"]) == [(LIKELIEST, [])]
    with pytest.raises(ValueError, match="no strategies: majorty"):
        by_growth(["greedy", "majorty", "pass"])


def test_names_in_results() -> None:
    labels = {name: strategy.label(name, 8) for name, strategy in STRATEGIES.items()}
    assert labels["greedy"] == "greedy"
    assert labels["majority"] == "majority@8"
    assert labels["best_of"] == "best_of_8"
    assert labels["best_of:min"] == "best_of_8:min"
    assert labels["weighted_vote"] == "weighted_vote@8"
    assert labels["weighted_vote:product"] == "weighted_vote@8:product"
    assert labels["mcts_alphazero"] == "mcts_alphazero"
    assert labels["weighted_vote_judge"] == "weighted_vote_judge@8"
    assert labels["best_of_judge:min"] == "best_of_judge_8:min"
    assert len({*labels.values()}) == len(labels)


def test_rules_of_selection(language: MarkedLanguage) -> None:
    chosen = {}
    for configured in ("reference", "alphazero"):
        for name in ("mcts", "mcts_reference", "mcts_alphazero"):
            setup = GROWTHS[name].set_up(SearchConfig(selection=configured), EvalConfig(), None)
            chosen[configured, name] = setup.search.selection
    assert chosen == {
        ("reference", "mcts"): "reference",
        ("reference", "mcts_reference"): "reference",
        ("reference", "mcts_alphazero"): "alphazero",
        ("alphazero", "mcts"): "alphazero",
        ("alphazero", "mcts_reference"): "reference",
        ("alphazero", "mcts_alphazero"): "alphazero",
    }


class Sealed(Problem):
    """A problem whose answer must not be looked up while trees grow."""

    open = True

    def __getattribute__(self, name: str) -> object:
        if name == "answer" and not Sealed.open:
            raise AssertionError("the answer was looked up during search")
        return super().__getattribute__(name)


@pytest.mark.parametrize("budget", [None, 150])
@pytest.mark.parametrize("hints", ["none", "answer"])
def test_no_strategy_looks_up_an_answer_while_it_searches(
    language: MarkedLanguage, monkeypatch: pytest.MonkeyPatch, budget: int | None, hints: str
) -> None:
    search = SearchConfig(meta_actions="matrix", hints=hints, patience=1)
    problems = [Sealed(f"p{i}", f"How many are {i}?", "7") for i in range(3)]
    monkeypatch.setattr(Sealed, "open", False)
    with pytest.raises(AssertionError, match="looked up"):
        getattr(problems[0], "answer")  # noqa: B009  the seal holds
    Sealed.open = True
    searched: list[str] = []

    def sealed(act: Callable[..., Any], *, note: bool = False) -> Callable[..., Any]:
        def watched(*arguments: object, **options: object) -> object:
            Sealed.open = False
            try:
                return act(*arguments, **options)
            finally:
                Sealed.open = True
                if note:
                    searched.append(str(arguments[1]))

        return watched

    head = ValueHead(4, 0)
    torch.nn.init.ones_(head.outer.bias)  # one that has learned, or it would judge nothing
    accelerator = Accelerator(cpu=True)
    selfplay = SelfPlay(FakeEngine(language), language, accelerator, seed=0, value_function=head)
    monkeypatch.setattr(selfplay, "play", sealed(selfplay.play, note=True))
    monkeypatch.setattr(selfplay, "refine", sealed(selfplay.refine, note=True))
    for name, strategy in STRATEGIES.items():
        shut = replace(strategy, choose=sealed(strategy.choose))
        monkeypatch.setitem(STRATEGIES, name, shut)
    pairwise = PairwiseJudge(
        LanguageModel(toy_model(language), language.tokenizer, "toy"), 300, 1500
    )
    config, judges = EvalConfig(samples=3), Judges(FakeEndpoint(2), pairwise)
    evaluator = Evaluator(problems, selfplay, VERIFIER, search, config, judges)
    names = [*STRATEGIES, "pass", "pass_distinct"]
    result = evaluator.run(names) if budget is None else evaluator.at_budget(names, budget)
    samples = [*["samples"] * 2, *["likeliest"] * 2]
    seeds = ["greedy", *samples, "beam", "beam", *["mcts"] * 6, "self_refine"]
    assert searched == [f"eval-{name}" for name in seeds]
    assert pairwise.compared > 0
    assert len(result["strategies"]) >= len(STRATEGIES)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_finds_the_answer_that_is_always_given(
    language: MarkedLanguage, name: str
) -> None:
    def think(request, depth, meta, rng):
        return ("\\boxed{7}", 0.9) if depth == 2 else ("a step", 0.6)

    selfplay = SelfPlay(FakeEngine(language, think), language, Accelerator(cpu=True), seed=0)
    search, judges = SearchConfig(rollout=True), Judges(endpoint=FakeEndpoint())
    config = EvalConfig(samples=3)
    evaluator = Evaluator(PROBLEMS, selfplay, VERIFIER, search, config, judges)
    label = STRATEGIES[name].label(name, 3)
    assert evaluator.run([name])["strategies"][label]["accuracy"] == 1.0
    assert evaluator.at_budget([name], 100)["strategies"][name]["accuracy"] == 1.0
