"""Budgets of tokens: what trees may spend, what they did spend, and what came of it."""

from collections.abc import Sequence

import numpy as np
import pytest
from accelerate import Accelerator
from fake_engine import FakeEndpoint, FakeEngine, thought, wander
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import EvalConfig, SearchConfig
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.evaluate.judges import Judges
from llamao1_cli.evaluate.play import play
from llamao1_cli.evaluate.strategies import GROWTHS, SAMPLES, SELF_REFINE, Growth
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.pending import TokenBudget
from llamao1_cli.search.rules.beam import Beam
from llamao1_cli.search.rules.samples import Samples
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay.local import SelfPlay
from llamao1_cli.tasks.problem import Problem

PROBLEMS = [Problem(f"p{i}", f"How many are {i}?", "7") for i in range(3)]
JUDGED = [SAMPLES.judged(), GROWTHS["beam"].judged(), GROWTHS["mcts"].judged()]
UNJUDGED = [*GROWTHS.values()]
FLAT = SearchConfig(algorithm="forks", max_depth=5)


class Ledger(FakeEngine):
    """Remembers how many tokens it generated for each problem."""

    def __init__(self, language: MarkedLanguage, **changes: object) -> None:
        super().__init__(language, **changes)
        self.roots = [language.root(problem.text) for problem in PROBLEMS]
        self.generated = [0] * len(PROBLEMS)

    def poll(self) -> list[tuple[int, list[Thought]]]:
        results = super().poll()
        for ticket, thoughts in results:
            path = self.requests[ticket].path
            index = next(i for i, root in enumerate(self.roots) if path[: len(root)] == root)
            self.generated[index] += sum(each.generated for each in thoughts)
        return results


def grown(
    growth: Growth,
    engine: FakeEngine,
    language: MarkedLanguage,
    budget: int,
    seed: int,
    endpoint: FakeEndpoint | None = None,
) -> list[Tree]:
    selfplay = SelfPlay(engine, language, Accelerator(cpu=True), seed)
    judges = Judges(endpoint=endpoint)
    return play(growth, PROBLEMS, selfplay, SearchConfig(), EvalConfig(), judges, budget=budget)


@given(
    growth=st.sampled_from(UNJUDGED),
    budget=st.integers(1, 400),
    seed=st.integers(0, 99),
    batch=st.sampled_from([1, 3, 10_000]),
)
def test_a_tree_counts_what_was_generated_and_never_spends_more_than_its_budget(
    language: MarkedLanguage, growth: Growth, budget: int, seed: int, batch: int
) -> None:
    engine = Ledger(language, batch=batch)
    trees = grown(growth, engine, language, budget, seed)
    assert [tree.generated_tokens for tree in trees] == engine.generated
    for tree, spent in zip(trees, engine.generated, strict=True):
        assert 0 < spent <= budget
        if growth in (SAMPLES, GROWTHS["beam"]):
            assert spent == budget  # there is always another chain, or another beam
        elif growth is GROWTHS["mcts_improvement"]:
            sure = any(node.terminal and node.value == 1.0 for node in tree.nodes)
            assert spent == budget or sure
        elif growth not in (GROWTHS["greedy"], SELF_REFINE):
            assert spent == budget or tree.simulations == budget
        leaves = list(tree.leaf_nodes())
        assert sum(not leaf.thought.complete for leaf in leaves) <= 1  # only the last one is cut


@given(
    growth=st.sampled_from(JUDGED),
    budget=st.integers(1, 400),
    seed=st.integers(0, 99),
    price=st.integers(0, 9),
)
def test_strategies_pay_for_their_external_judge(
    language: MarkedLanguage, growth: Growth, budget: int, seed: int, price: int
) -> None:
    engine, endpoint = Ledger(language), FakeEndpoint(price)
    trees = grown(growth, engine, language, budget, seed, endpoint)
    for tree, generated in zip(trees, engine.generated, strict=True):
        judged = len(tree.nodes) if generated else 0  # a tree that cannot begin asks nothing
        assert tree.judging_tokens == price * judged
        assert tree.generated_tokens == generated + tree.judging_tokens <= budget
    assert endpoint.asked == sum(len(tree.nodes) for tree in trees if len(tree.nodes) > 1)


def test_self_refine_spends_its_budget_where_there_is_always_a_solution_to_rewrite(
    language: MarkedLanguage,
) -> None:
    def think(request, depth, meta, rng):
        return "\\boxed{7}", float(rng.random())

    budget = 101
    engine = Ledger(language, script=think)
    for tree in grown(SELF_REFINE, engine, language, budget, 0):
        assert tree.generated_tokens == budget
        cut = [node for node in tree.nodes if not node.thought.complete]
        assert [node.answer for node in cut] == [None] * len(cut)
        assert len(cut) <= 1
        assert all(node.answer == "7" for node in tree.nodes[1:] if node not in cut)


@given(budget=st.integers(1, 300), seed=st.integers(0, 99), count=st.integers(1, 9))
def test_chains_are_those_of_one_after_the_other_cut_where_the_tokens_are_spent(
    language: MarkedLanguage, budget: int, seed: int, count: int
) -> None:
    """Against a forest without a budget, whose tokens are counted off by hand."""

    def played(rule: Samples, most: float) -> Tree:
        engine = FakeEngine(language)
        return grow(
            SearchRequest([PROBLEMS[0]], FLAT, [seed], budget=TokenBudget(most), rule=rule),
            engine,
            language,
        )[0]

    tree = played(Samples(count, FLAT.max_depth, endless=True), budget)
    plenty = played(
        Samples(budget, FLAT.max_depth, endless=False), float("inf")
    )  # each chain takes a token or more
    left, expected = budget, []
    for node in plenty.nodes[1:]:
        if left > 0:
            expected.append((node.parent, node.thought.ids[:left]))
            left -= len(node.thought.ids)
    assert [(node.parent, node.thought.ids) for node in tree.nodes[1:]] == expected
    whole = len(expected) - (left < 0)
    answers = [node.answer for node in tree.nodes[1:]]
    assert answers[:whole] == [node.answer for node in plenty.nodes[1 : whole + 1]]
    assert not any(answers[whole:])  # a cut thought states nothing


def test_a_cut_thought_states_no_answer(language: MarkedLanguage) -> None:
    engine = FakeEngine(
        language, lambda *_: ("The answer is \\boxed{7}. That is it, I think.", 0.5)
    )
    size = len(language.encode("The answer is \\boxed{7}. That is it"))
    (tree,) = grow(
        SearchRequest(
            [PROBLEMS[0]],
            FLAT,
            [0],
            budget=TokenBudget(size),
            rule=Samples(1, FLAT.max_depth, endless=True),
        ),
        engine,
        language,
    )
    assert "\\boxed{7}" in tree.nodes[1].thought.text
    assert not tree.nodes[1].terminal
    assert len(tree.nodes) == 2


@given(budget=st.integers(1, 300), seed=st.integers(0, 99), price=st.integers(0, 9))
def test_judging_is_charged_and_stays_within_the_budget(
    language: MarkedLanguage, budget: int, seed: int, price: int
) -> None:
    engine, judged = Ledger(language), [0] * len(PROBLEMS)

    def judge(trees: Sequence[Tree]) -> None:
        for tree in trees:
            index = PROBLEMS.index(tree.problem)
            fresh = len(tree.nodes) - judged[index]
            judged[index] += fresh
            tree.judging_tokens += fresh * price

    trees = grow(
        SearchRequest(
            PROBLEMS,
            FLAT,
            [seed, seed, seed],
            budget=TokenBudget(budget, price),
            judge=judge,
            rule=Samples(4, FLAT.max_depth, endless=True),
        ),
        engine,
        language,
    )
    for tree, generated, thoughts in zip(trees, engine.generated, judged, strict=True):
        assert tree.generated_tokens == generated + price * thoughts <= budget
        # It stops only where not even one more token could be judged as thoughts may be, with the
        # root if it has not been.
        assert budget - tree.generated_tokens <= (FLAT.max_depth + (not generated)) * price


@pytest.mark.parametrize("growth", UNJUDGED, ids=lambda growth: growth.name)
def test_a_problem_without_room_ends_at_once(language: MarkedLanguage, growth: Growth) -> None:
    engine = Ledger(language, full=lambda request: True)
    for tree in grown(growth, engine, language, 50, 0):
        assert tree.root.closed
        assert tree.generated_tokens == 0


def test_later_beams_are_as_wide_as_what_is_left_pays_for(language: MarkedLanguage) -> None:
    texts = ("step 1", "The answer is \\boxed{7}.")

    def think(request, depth, meta, rng):
        return texts[depth - 1], 0.5

    first, second = (len(language.encode(text)) + 1 for text in texts)
    search = SearchConfig(rollout=False, max_thought_tokens=second)
    for units, widths in ((1, [1]), (2, [1, 1]), (4, [1, 3]), (6, [1, 4, 1]), (7, [1, 4, 2])):
        engine = FakeEngine(language, think)
        budget = units * 2 * (first + second)  # a unit pays for a prefix, at two candidates a step
        (tree,) = grow(
            SearchRequest(
                [PROBLEMS[0]],
                search,
                [0],
                budget=TokenBudget(budget),
                rule=Beam(4, 2, search.max_depth, budget),
            ),
            engine,
            language,
        )
        assert tree.generated_tokens == budget
        depths = [request.depth for request in engine.requests]
        expected = [depth for width in widths for depth in (1, 2) for _ in range(2 * width)]
        assert depths == expected


def test_without_a_budget_nothing_is_limited(language: MarkedLanguage) -> None:
    engine = FakeEngine(language, wander)
    grow(SearchRequest(PROBLEMS, SearchConfig(), [1, 2, 3]), engine, language)
    assert {request.budget for request in engine.requests} == {None}


def test_what_tokens_a_tree_has_survives_its_file(language: MarkedLanguage) -> None:
    tree = Tree.plant(PROBLEMS[0], 0, 0.5)
    tree.attach(tree.root, [thought(language, np.random.default_rng(0), "step 1", 0.5)])
    tree.judging_tokens = 11
    again = Tree.from_json(tree.to_json())
    assert again.generated_tokens == tree.generated_tokens == 11 + len(tree.nodes[1].thought.ids)
