"""Self-refine search: what it asks for, what it compares and rewrites, against a plain replay."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from fake_engine import FakeEngine
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.protocol import Request
from llamao1_cli.language.marked import Meta, hint
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.grow import SearchRequest
from llamao1_cli.search.refine.preference import Comparison, blended_quality, value_log_odds
from llamao1_cli.search.refine.self_refine import self_refine
from llamao1_cli.search.refine.solutions import Refinement
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import Problem

CONFIG = SearchConfig(max_depth=4)


def solve(
    request: Request, depth: int, meta: Meta | None, rng: np.random.Generator
) -> tuple[str, float]:
    """A critique, or a step that says how good it is; every third one concludes."""
    if meta is Meta.CRITIC:
        return "this is wrong", 0.5
    end = " \\boxed{7}" if rng.random() < 0.4 else ""
    return f"worth {rng.integers(40)}{end}", 0.5


class Taste:
    """Prefers the solution whose steps sum higher, and remembers what it compared."""

    def __init__(self) -> None:
        self.calls: list[list[Comparison]] = []

    def __call__(self, comparisons: Sequence[Comparison]) -> np.ndarray:
        self.calls.append(list(comparisons))
        return np.array([(merit(c.first) - merit(c.second)) / 16 for c in comparisons])


def merit(text: str) -> int:
    return sum(int(word) for word in text.replace("\\boxed{7}", "").split() if word.isdigit())


def searched(
    language: MarkedLanguage,
    seeds: list[int],
    refinement: Refinement,
    config: SearchConfig = CONFIG,
) -> tuple[list[Tree], FakeEngine, Taste]:
    problems = [Problem(f"p{seed}", f"How many are {seed}?", "secret") for seed in seeds]
    engine, taste = FakeEngine(language, solve), Taste()
    trees = self_refine(SearchRequest(problems, config, seeds), engine, language, refinement, taste)
    return trees, engine, taste


def solutions_of(tree: Tree) -> list[tuple[Node, int, str]]:
    """Each solution's end, the index of what it rewrites, and its text, found from the tree: a
    chain begins below the root or with a critique."""
    found: list[tuple[Node, int, str]] = []
    for node in tree.nodes[1:]:
        if node.parent != 0 and node.thought.meta is not Meta.CRITIC:
            continue
        chain = [node]
        while True:
            after = [c for c in tree.children(chain[-1]) if c.thought.meta is not Meta.CRITIC]
            if not after:
                break
            chain.append(after[0])
        ends = [end.id for end, _, _ in found]
        words = chain[1:] if node.parent else chain
        text = "\n".join(step.thought.text for step in words)
        found.append((chain[-1], ends.index(node.parent) if node.parent else -1, text))
    return found


def replay(
    ends: list[tuple[Node, int, str]], refinement: Refinement
) -> tuple[list[float], list[float], list[float]]:
    """Qualities, carried qualities and UCT scores (-1: closed), of the solutions so far."""
    size = len(ends)
    parents = [parent for _, parent, _ in ends]
    odds = np.array([[(merit(a[2]) - merit(b[2])) / 16 for b in ends] for a in ends])
    near = np.array(
        [[parents[i] == j or parents[j] == i for j in range(size)] for i in range(size)]
    )
    quality = blended_quality(odds, near, refinement.global_weight).tolist()
    carried, visits = list(quality), [1] * size
    for leaf in range(size):
        child = leaf
        while parents[child] >= 0:
            up = parents[child]
            carried[up] = (1 - refinement.gamma) * carried[up] + refinement.gamma * carried[child]
            visits[up] += 1
            child = up
    scores = []
    for i in range(size):
        above = visits[parents[i]] if parents[i] >= 0 else size
        below = [carried[j] for j in range(size) if parents[j] == i]
        shut = len(below) >= 3 and max(below) >= carried[i]
        explore = refinement.exploration * math.sqrt(math.log(above) / visits[i])
        scores.append(-1.0 if shut else carried[i] + explore)
    return quality, carried, scores


@given(
    seed=st.integers(0, 10**6),
    first=st.integers(1, 3),
    rewritings=st.integers(0, 7),
    weight=st.sampled_from([0.0, 0.5, 1.0]),
    exploration=st.sampled_from([0.0, 0.3, 1.4]),
)
def test_the_search_is_what_a_replay_makes_of_it(
    language: MarkedLanguage,
    seed: int,
    first: int,
    rewritings: int,
    weight: float,
    exploration: float,
) -> None:
    refinement = Refinement(first, rewritings, exploration, weight, 0.4)
    trees, _, taste = searched(language, [seed, seed + 1], refinement)
    for tree in trees:
        ends = solutions_of(tree)
        assert len(ends) <= first + rewritings
        for size in range(first, len(ends)):  # what each rewriting was of
            _, _, scores = replay(ends[:size], refinement)
            chosen = ends[size][1]
            assert scores[chosen] == pytest.approx(max(scores))
        quality, carried, scores = replay(ends, refinement)
        assert [end.value for end, _, _ in ends] == pytest.approx(quality)
        assert [end.mean_value for end, _, _ in ends] == pytest.approx(carried)
        assert len(ends) == first + rewritings or max(scores) == -1.0
        asked = [
            (c.first, c.second)
            for call in taste.calls
            for c in call
            if c.question == tree.problem.text
        ]
        texts = [text for _, _, text in ends]
        assert asked == [
            (texts[i], texts[j]) for i in range(len(ends)) for j in range(i)
        ]  # each pair once


@given(seed=st.integers(0, 10**6))
def test_without_a_judge_of_pairs_the_values_of_the_last_thoughts_decide(
    language: MarkedLanguage, seed: int
) -> None:
    """Against a preference that reads each solution's value from its text. The same
    log-odds to the last digit, as that parts equal scores."""

    def think(
        request: Request, depth: int, meta: Meta | None, rng: np.random.Generator
    ) -> tuple[str, float]:
        text, _ = solve(request, depth, meta, rng)
        return text, worth(text)

    def worth(text: str) -> float:
        return (1 + merit(text.splitlines()[-1])) / 42

    def prefer(comparisons: Sequence[Comparison]) -> np.ndarray:
        return value_log_odds(np.array([(worth(c.first), worth(c.second)) for c in comparisons]))

    problem, shown = Problem("p", "How many?", "secret"), []
    for judge_of_pairs in (None, prefer):
        engine = FakeEngine(language, think)
        (tree,) = self_refine(
            SearchRequest([problem], CONFIG, [seed]),
            engine,
            language,
            Refinement(2, 5),
            judge_of_pairs,
        )
        shown.append([(n.parent, n.thought.text, n.visits) for n in tree.nodes])
        shown.append([round(n.value, 9) for n in tree.nodes])
    assert shown[:2] == shown[2:]


def test_the_values_may_be_a_judges(language: MarkedLanguage) -> None:
    """One that turns every rating round turns the ranks round."""

    def think(
        request: Request, depth: int, meta: Meta | None, rng: np.random.Generator
    ) -> tuple[str, float]:
        return "\\boxed{7}", float(rng.uniform(0.1, 0.9))

    def turned(trees: Sequence[Tree]) -> None:
        for tree in trees:
            for node in tree.nodes:
                node.value = 1 - node.thought.rating

    problem = Problem("p", "How many?", "secret")
    for options, sign in (({}, 1), ({"judge": turned}, -1)):
        (tree,) = self_refine(
            SearchRequest([problem], CONFIG, [3], **options),
            FakeEngine(language, think),
            language,
            Refinement(4, 3, global_weight=1.0),
            None,
        )
        ranked = sorted(tree.nodes[1:], key=lambda node: sign * node.thought.rating)
        assert [node.value for node in ranked] == sorted(node.value for node in tree.nodes[1:])


def test_requests_ask_for_a_solution_then_for_critique_and_rewriting(
    language: MarkedLanguage,
) -> None:
    (tree,), engine, _ = searched(language, [3], Refinement(2, 4))
    ends = solutions_of(tree)
    assert len(engine.requests) == len(ends) == 6
    for index, request in enumerate(engine.requests):
        start = tree.root if index < 2 else ends[ends[index][1]][0]
        assert request.path == tree.path_ids(start, language)
        assert request.depth == start.depth + 1
        critique = (Meta.CRITIC, Meta.REFINE, None, None, None)
        assert request.metas == (critique if index >= 2 else (None,) * 4)
        assert set(request.hints) == {None}
    assert len({request.seed for request in engine.requests}) == 6
    words = language.tokenizer.decode([token for r in engine.requests for token in r.path])
    assert "secret" not in words


def test_hints_are_given_where_they_are_configured(language: MarkedLanguage) -> None:
    config = CONFIG.model_copy(update={"hints": "meta", "meta_actions": "matrix"})
    _, engine, _ = searched(language, [3], Refinement(1, 1), config)
    first, second = engine.requests
    assert first.hints == (None,) * 4
    assert second.hints[:2] == (hint(Meta.CRITIC, None, ""), hint(Meta.REFINE, None, ""))
    assert None not in second.hints[:2]
    assert second.hints[2:] == (None,) * 3


def test_the_same_seeds_grow_the_same_trees(language: MarkedLanguage) -> None:
    alone = searched(language, [5], Refinement())[0]
    among = searched(language, [4, 5, 6], Refinement())[0]
    assert alone[0].to_json() == among[1].to_json()
    assert Tree.from_json(alone[0].to_json()) == alone[0]


def test_the_preferred_solution_is_worth_most(language: MarkedLanguage) -> None:
    trees, _, _ = searched(language, list(range(20)), Refinement(2, 6, global_weight=1.0))
    for tree in trees:
        ends = solutions_of(tree)
        best = max(merit(text) for _, _, text in ends)
        assert {merit(text) for end, _, text in ends if end.value == 1.0} == {best}


def test_a_solution_without_room_is_closed_and_the_tree_ends(language: MarkedLanguage) -> None:
    engine, taste = FakeEngine(language, solve, full=lambda request: request.depth > 1), Taste()
    problem = Problem("p", "How many?", "7")
    (tree,) = self_refine(
        SearchRequest([problem], CONFIG, [1]), engine, language, Refinement(2, 5), taste
    )
    assert len(engine.requests) == 4  # two solutions, and one try to rewrite each
    assert [end.closed for end, _, _ in solutions_of(tree)] == [True, True]
    nothing = FakeEngine(language, solve, full=lambda request: True)
    (tree,) = self_refine(
        SearchRequest([problem], CONFIG, [1]), nothing, language, Refinement(), Taste()
    )
    assert len(tree.nodes) == len(nothing.requests) == 1
