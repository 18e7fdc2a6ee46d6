"""MCTS: where trees grow, what comes back up, when it ends."""

from collections import Counter

import pytest
from fake_engine import BY_EQUALITY, FakeEngine, wander

from llamao1_cli.config import SearchConfig
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.rules.mcts import Mcts
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import Problem, Solution
from llamao1_cli.tasks.rewards import Rewards

SEEDS = range(12)


def problem(number: int) -> Problem:
    return Problem(f"p{number}", f"How many are {number}?", "7")


def search(
    engine: FakeEngine,
    language: MarkedLanguage,
    seed: int,
    rewards: Rewards | None = BY_EQUALITY,
    **changes: object,
) -> Tree:
    return grow(
        SearchRequest([problem(seed)], SearchConfig(**changes), [seed], rewards=rewards),
        engine,
        language,
    )[0]


def steps_only(request, depth, meta, rng):
    return f"step {rng.integers(60)}", float(rng.random())


def answers_only(text: str, value: float):
    return lambda request, depth, meta, rng: (f"The answer is \\boxed{{{text}}}.", value)


def test_a_node_takes_candidates_until_it_is_full_then_selection_goes_down(
    language: MarkedLanguage,
) -> None:
    engine = FakeEngine(language, steps_only)
    shape = {"candidates": 2, "max_children": 5, "rollout": False}
    tree = search(engine, language, 0, simulations=3, **shape)
    assert tree.root.children == [1, 2, 3, 4, 5]
    assert [request.depth for request in engine.requests] == [1] * 5  # 2, 2, and the last 1
    deeper = search(FakeEngine(language, steps_only), language, 0, simulations=4, **shape)
    assert [node.depth for node in deeper.nodes] == [0] + [1] * 5 + [2] * 2
    assert deeper.to_json()["nodes"][1]["thought"] == tree.to_json()["nodes"][1]["thought"]


@pytest.mark.parametrize("candidates", [1, 2, 3])
@pytest.mark.parametrize("rollout", [True, False])
def test_no_node_outgrows_its_limits(
    language: MarkedLanguage, candidates: int, rollout: bool
) -> None:
    shape = {"candidates": candidates, "max_children": 3, "max_depth": 2, "rollout": rollout}
    for seed in SEEDS:
        engine = FakeEngine(language, steps_only if seed % 2 else wander)
        tree = search(engine, language, seed, **shape)
        assert all(len(node.children) <= 3 for node in tree.nodes)
        assert max(node.depth for node in tree.nodes) <= 2
        assert {len(request.metas) for request in engine.requests} <= {1, 2}
        assert tree.simulations == 16


def test_three_candidates_are_three_children_each_with_its_own_prior(
    language: MarkedLanguage,
) -> None:
    for seed in SEEDS:
        tree = search(FakeEngine(language), language, seed, candidates=3, simulations=1)
        assert len(tree.root.children) == 3
        assert len({child.likelihood for child in tree.children(tree.root)}) == 3
        assert len({tuple(child.thought.logprobs) for child in tree.children(tree.root)}) == 3


@pytest.mark.parametrize("graded", [True, False])
@pytest.mark.parametrize("rollout", [True, False])
def test_backup_equals_a_recount_from_the_log(
    language: MarkedLanguage, monkeypatch: pytest.MonkeyPatch, graded: bool, rollout: bool
) -> None:
    log: list[Node] = []
    absorb = Mcts.absorb
    monkeypatch.setattr(Mcts, "absorb", lambda *args: (log.append(args[2]), absorb(*args))[1])
    revisits = 0
    for seed in SEEDS:
        log.clear()
        rewards = BY_EQUALITY if graded else None
        tree = search(FakeEngine(language), language, seed, rewards, rollout=rollout, discount=0.9)
        revisits += max(Counter(leaf.id for leaf in log).values()) > 1
        for node in tree.nodes:
            samples = [
                sample * 0.9 ** (leaf.depth - node.depth)
                for leaf in log
                if node in tree.path(leaf)
                for sample in [leaf.value if leaf.outcome is None else leaf.outcome]
            ]
            assert node.visits == len(samples) > 0
            assert node.mean_value == pytest.approx(sum(samples) / len(samples))
    assert revisits  # a terminal leaf is visited again, and counts again


@pytest.mark.parametrize("rollout", [True, False])
def test_what_states_an_answer_is_never_expanded(language: MarkedLanguage, rollout: bool) -> None:
    for seed in SEEDS:
        engine = FakeEngine(language)
        tree = search(engine, language, seed, rollout=rollout, simulations=40)
        ends = [node for node in tree.nodes if node.terminal]
        assert ends
        assert not any(node.children for node in ends)
        asked = {tuple(request.path) for request in engine.requests}
        assert not asked & {tuple(tree.path_ids(node, language)) for node in ends}


def test_outcomes_count_in_training_and_ratings_where_nobody_knows(
    language: MarkedLanguage,
) -> None:
    confident = FakeEngine(language, answers_only("8", 0.9))  # wrong, and sure of itself
    graded = search(confident, language, 0, simulations=3)
    assert {child.outcome for child in graded.children(graded.root)} == {False}
    assert graded.root.mean_value == 0.0
    blind = search(confident, language, 0, None, simulations=3)
    assert {child.outcome for child in blind.children(blind.root)} == {None}
    assert blind.root.mean_value == pytest.approx(0.9)
    timid = FakeEngine(language, answers_only("7", 0.0))
    assert search(timid, language, 0, simulations=3).root.mean_value == 1.0


def test_only_a_stated_answer_is_graded(language: MarkedLanguage) -> None:
    asked = []

    def reward(solved):
        asked.extend(solved)
        return BY_EQUALITY.of(solved)

    def think(request, depth, meta, rng):
        return ("Let us think.", 0.7) if depth < 2 else ("\\boxed{7}", 0.2)

    tree = search(
        FakeEngine(language, think), language, 0, Rewards(reward), simulations=1, candidates=1
    )
    assert [node.outcome for node in tree.nodes] == [None, None, True]
    assert asked == [(problem(0), Solution("Let us think.\n\\boxed{7}", "7"))]


def test_a_value_of_zero_counts(language: MarkedLanguage) -> None:
    tree = search(FakeEngine(language, answers_only("5", 0.0)), language, 0, None, simulations=4)
    assert tree.root.visits == sum(child.visits for child in tree.children(tree.root)) > 4
    assert tree.root.mean_value == 0.0
    once = search(
        FakeEngine(language, answers_only("8", 0.7)), language, 0, simulations=1, candidates=1
    )
    assert once.nodes[1].mean_value == 0.0  # one visit worth 0, and not the rating of 0.7


def test_patience_ends_each_tree_for_itself(language: MarkedLanguage) -> None:
    def think(request, depth, meta, rng):
        easy = language.root(problem(1).text) == request.path[: len(language.root(problem(1).text))]
        return f"\\boxed{{{7 if easy else 8}}}", 0.5

    easy, hard, easy_again = grow(
        SearchRequest(
            [problem(1), problem(2), problem(1)],
            SearchConfig(patience=3, candidates=1, simulations=9),
            [1, 2, 3],
            rewards=BY_EQUALITY,
        ),
        FakeEngine(language, think),
        language,
    )
    assert [tree.simulations for tree in (easy, hard, easy_again)] == [3, 9, 3]
    assert sum(node.outcome is True for node in easy.nodes) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"selection_noise": 0.2},
        {"selection": "alphazero", "root_noise": 0.25, "rollout": False},
        {"meta_actions": "matrix", "hints": "answer"},
    ],
)
def test_a_tree_depends_on_its_seed_and_not_on_its_company(
    language: MarkedLanguage, changes: dict
) -> None:
    problems = [problem(number) for number in (3, 1, 4, 1)]
    together = grow(
        SearchRequest(problems, SearchConfig(**changes), [5, 6, 7, 8], rewards=BY_EQUALITY),
        FakeEngine(language),
        language,
    )
    for index, seed in enumerate([5, 6, 7, 8]):
        alone = grow(
            SearchRequest([problems[index]], SearchConfig(**changes), [seed], rewards=BY_EQUALITY),
            FakeEngine(language),
            language,
        )
        assert alone[0] == together[index]
    assert together[1].nodes[1].thought != together[3].nodes[1].thought  # same problem, other seed


def test_a_rollout_runs_to_the_end_and_one_thought_does_not(language: MarkedLanguage) -> None:
    rolled, single = FakeEngine(language, steps_only), FakeEngine(language, steps_only)
    tree = search(rolled, language, 0, simulations=5, max_depth=4, candidates=1, max_children=2)
    assert {len(request.metas) + request.depth - 1 for request in rolled.requests} == {4}
    assert all(len(tree.path(leaf)) == 5 for leaf in tree.leaf_nodes())
    search(single, language, 0, simulations=5, rollout=False, max_depth=4)
    assert {len(request.metas) for request in single.requests} == {1}


def test_nodes_without_room_are_asked_once(language: MarkedLanguage) -> None:
    engine = FakeEngine(language, steps_only, full=lambda request: request.depth == 2)
    tree = search(engine, language, 0, rollout=False, simulations=50, candidates=2, max_children=4)
    assert tree.simulations == 50
    assert [node.closed for node in tree.nodes] == [False] + [True] * 4
    assert len(engine.requests) == 4 + 4 * 2
    assert len(tree.nodes) == 5


def test_a_problem_without_room_ends_its_search(language: MarkedLanguage) -> None:
    engine = FakeEngine(language, full=lambda request: True, root_value=0.3)
    tree = search(engine, language, 0, simulations=50, candidates=1)
    assert len(engine.requests) == 1
    assert tree.root.closed
    assert tree.simulations == 50
    assert (tree.root.target, tree.root.leaves) == (0.0, 1)


def test_the_root_is_rated_where_it_has_no_rating_yet(language: MarkedLanguage) -> None:
    engine = FakeEngine(language, root_value=0.3)
    tree = search(engine, language, 2, simulations=1)
    assert tree.root.thought.rating == 0.3
    assert engine.rated == [language.unrated(language.root(problem(2).text))]
    assert engine.rated[0][-1] == language.thought_end


def test_rounds_can_be_watched(language: MarkedLanguage) -> None:
    sizes: list[int] = []
    grow(
        SearchRequest(
            [problem(0)],
            SearchConfig(simulations=3, rollout=False),
            [0],
            on_growth=lambda trees: sizes.append(len(trees[0].nodes)),
        ),
        FakeEngine(language, steps_only),
        language,
    )
    assert sizes == [3, 5, 6]
