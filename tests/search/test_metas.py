"""Meta-actions and hints: what is drawn, what is told, and who never learns the answer."""

import math
from collections import Counter

import numpy as np
import pytest
from fake_engine import BY_EQUALITY, FakeEngine, random_tree

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.language.marked import METAS, Meta
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.rules.metas import draw_metas, transition_matrix
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem

SECRET = "zq98123"
PROBLEM = Problem("p", "How many are there?", SECRET)
UNIFORM = np.full((5, 5), 0.2)


def planted(*children: tuple[Meta | None, float]) -> Tree:
    tree = Tree.plant(PROBLEM, 0, 0.5)
    for meta, value in children:
        tree.attach(tree.root, [Thought(meta, "a step", rating=value)])
    return tree


def test_transition_matrix_by_hand() -> None:
    tree = planted((Meta.CRITIC, 1.0), (Meta.CRITIC, 0.6), (None, 0.0))
    tree.attach(tree.nodes[1], [Thought(Meta.REFINE, "again", rating=1.0)])
    matrix = transition_matrix(tree)
    # Smoothed by one sample of 0.5: critic (0.5 + 1 + 0.6) / 3, a plain thought (0.5 + 0) / 2.
    row = [math.exp(mean) for mean in (0.25, 0.5, 0.7, 0.5, 0.5)]
    assert matrix[METAS.index(Meta.PROBLEM)] == pytest.approx([e / sum(row) for e in row])
    row = [math.exp(mean) for mean in (0.5, 0.5, 0.5, 0.75, 0.5)]
    assert matrix[METAS.index(Meta.CRITIC)] == pytest.approx([e / sum(row) for e in row])
    assert matrix[METAS.index(Meta.REFINE)] == pytest.approx([0.2] * 5)


def test_transition_matrix_reads_backed_up_means_and_not_sums() -> None:
    crowd = planted(*[(Meta.EXPANSION, 0.5)] * 40)
    assert transition_matrix(crowd) == pytest.approx(UNIFORM)
    tree = planted((Meta.CRITIC, 0.9))
    tree.nodes[1].visits, tree.nodes[1].value_sum = 4, 0.0
    assert transition_matrix(tree)[1, 2] == pytest.approx(
        math.exp(0.25) / (math.exp(0.25) + 4 * math.exp(0.5))
    )


def test_transition_matrix_equals_a_count_of_edges(language: MarkedLanguage) -> None:
    for seed in range(20):
        tree = random_tree(language, seed, 30)
        samples: dict[tuple[Meta, Meta], list[float]] = {}
        for node in tree.nodes:
            for child in tree.children(node):
                edge = (node.thought.meta or METAS[0], child.thought.meta or METAS[0])
                samples.setdefault(edge, [0.5]).append(child.value_sum / child.visits)
        matrix = transition_matrix(tree)
        for i, before in enumerate(METAS):
            means = [np.mean(samples.get((before, after), [0.5])) for after in METAS]
            assert matrix[i] == pytest.approx(np.exp(means) / np.exp(means).sum())


def test_draws_follow_the_rows_of_their_predecessors() -> None:
    matrix = np.random.default_rng(1).dirichlet(np.ones(5), size=5)
    rng = np.random.default_rng(0)
    chains = [draw_metas(matrix, Meta.CRITIC, 2, list(METAS), rng) for _ in range(20_000)]
    first = Counter(chain[0] for chain in chains)
    for meta, share in zip(METAS, matrix[2], strict=True):
        assert first[meta] / 20_000 == pytest.approx(share, abs=0.015)
    for i, before in enumerate(METAS[:-1]):
        second = Counter(chain[1] for chain in chains if chain[0] is before)
        for meta, share in zip(METAS, matrix[i], strict=True):
            assert second[meta] / first[before] == pytest.approx(share, abs=0.04)


def test_draws_end_at_a_conclusion_and_keep_to_what_is_allowed() -> None:
    rng = np.random.default_rng(0)
    allowed = [Meta.EXPANSION, Meta.CONCLUSION]
    chains = [draw_metas(UNIFORM, None, 6, allowed, rng) for _ in range(300)]
    assert {meta for chain in chains for meta in chain} == set(allowed)
    assert {len(chain) for chain in chains} == set(range(1, 7))
    for chain in chains:
        assert Meta.CONCLUSION not in chain[:-1]
        assert len(chain) == 6 or chain[-1] is Meta.CONCLUSION


def test_every_request_gets_a_fresh_draw(language: MarkedLanguage) -> None:
    engine = FakeEngine(language)
    config = SearchConfig(
        meta_actions="matrix", candidates=40, max_children=40, simulations=1, rollout=False
    )
    tree = grow(SearchRequest([PROBLEM], config, [3]), engine, language)[0]
    drawn = Counter(request.metas[0] for request in engine.requests)
    assert set(drawn) == set(METAS)  # 40 draws of 5: one is missed once in 1,500 seeds
    assert [node.thought.meta for node in tree.nodes[1:]] == [r.metas[0] for r in engine.requests]
    assert len({request.seed for request in engine.requests}) == 40


def test_later_draws_use_what_the_tree_has_learned(
    language: MarkedLanguage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def spy(matrix, *args):
        seen.append(matrix)
        return draw_metas(matrix, *args)

    monkeypatch.setattr("llamao1_cli.search.grow.draw_metas", spy)
    config = SearchConfig(meta_actions="matrix", simulations=4, rollout=False)
    tree = grow(
        SearchRequest([PROBLEM], config, [3], rewards=BY_EQUALITY), FakeEngine(language), language
    )[0]
    assert seen[0] == pytest.approx(UNIFORM)
    assert not np.allclose(seen[-1], seen[2])
    assert len(seen) == len(tree.nodes) - 1


def hinted(language: MarkedLanguage, hints: str, *, graded: bool, **changes: object) -> FakeEngine:
    engine = FakeEngine(language)
    config = SearchConfig(meta_actions="matrix", hints=hints, simulations=12, **changes)
    rewards = BY_EQUALITY if graded else None
    grow(SearchRequest([PROBLEM] * 3, config, [1, 2, 3], rewards=rewards), engine, language)
    return engine


def test_hints_name_the_answer_only_when_asked_and_only_in_training(
    language: MarkedLanguage,
) -> None:
    asked = hinted(language, "answer", graded=True)
    told = [
        (meta, sentence)
        for request in asked.requests
        for meta, sentence in zip(request.metas, request.hints, strict=True)
    ]
    assert {meta for meta, _ in told} == set(METAS)
    assert all((SECRET in (hint or "")) == (meta is Meta.EXPANSION) for meta, hint in told)
    for engine in (
        hinted(language, "meta", graded=True),
        hinted(language, "meta", graded=False),
        hinted(language, "answer", graded=False),
    ):
        pairs = [(m, h) for r in engine.requests for m, h in zip(r.metas, r.hints, strict=True)]
        assert all((hint is None) == (meta is Meta.EXPANSION) for meta, hint in pairs)
        assert not any(SECRET in (hint or "") for _, hint in pairs)


@pytest.mark.parametrize("graded", [True, False])
@pytest.mark.parametrize("hints", ["none", "meta", "answer"])
@pytest.mark.parametrize("algorithm", ["mcts", "forks"])
def test_no_path_holds_the_answer(
    language: MarkedLanguage, hints: str, graded: bool, algorithm: str
) -> None:
    engine = hinted(language, hints, graded=graded, algorithm=algorithm)
    for path in [*engine.rated, *(request.path for request in engine.requests)]:
        assert SECRET not in language.tokenizer.decode(path)
    if hints == "none":
        assert not any(any(request.hints) for request in engine.requests)


def test_without_a_matrix_the_model_writes_its_own_meta_actions(language: MarkedLanguage) -> None:
    engine = FakeEngine(language)
    grow(SearchRequest([PROBLEM], SearchConfig(), [1]), engine, language)
    assert {meta for request in engine.requests for meta in request.metas} == {None}
