"""The value head: silent before it has learned, and what it judges afterwards."""

import math
from pathlib import Path

import pytest
import torch
from fake_engine import BY_EQUALITY, FakeEngine, random_tree
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import SearchConfig
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem
from llamao1_cli.value import features as path_features
from llamao1_cli.value.features import (
    FEATURES,
    UNRATED_FEATURES,
    PathStats,
    extend_paths,
    feature_rows,
)
from llamao1_cli.value.head import PathJudge, ValueHead

PROBLEMS = [Problem(f"p{number}", f"How many are {number}?", "7") for number in range(4)]


def opinionated(seed: int = 0) -> ValueHead:
    """A head as if it had learned something, whatever it is."""
    head = ValueHead(8, seed)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.outer.weight.normal_(generator=random)
        head.outer.bias.fill_(0.3)
    head.standardise(torch.randn(50, len(FEATURES), generator=random) * 2 - 1)
    return head


def features(tree: Tree) -> torch.Tensor:
    paths: list[PathStats] = []
    extend_paths(paths, tree.nodes)
    return torch.from_numpy(feature_rows(paths))


def values(head: ValueHead, tree: Tree) -> list[float]:
    with torch.no_grad():
        return head(features(tree)).sigmoid().tolist()


@pytest.mark.parametrize("algorithm", ["mcts", "forks"])
def test_an_untrained_head_gives_exactly_the_ratings(
    language: MarkedLanguage, algorithm: str
) -> None:
    config, head = SearchConfig(algorithm=algorithm), ValueHead(8, 0)
    judged, plain = (
        grow(
            SearchRequest(PROBLEMS, config, range(4), rewards=BY_EQUALITY, **judge),
            FakeEngine(language),
            language,
        )
        for judge in ({"judge": PathJudge(head)}, {})
    )
    assert judged == plain
    nodes = [node for tree in judged for node in tree.nodes]
    assert [node.value for node in nodes] == [node.thought.rating for node in nodes]
    assert {0.0, 1.0} <= {node.value for node in nodes}
    rows = features(random_tree(language, 0))
    assert (head(rows) == rows[:, FEATURES.index("rating")]).all()


def by_hand(head: ValueHead, row: torch.Tensor) -> float:
    """The network's logit of one path, one unit at a time."""
    inputs = [
        min(max((x - m) / d, -6.0), 6.0)
        for x, m, d in zip(*(t.tolist() for t in (row, head.mean, head.deviation)), strict=True)
    ]
    logit = float(row[0]) + head.outer.bias.item()
    for weights, bias, out in zip(
        head.inner.weight.tolist(),
        head.inner.bias.tolist(),
        head.outer.weight[0].tolist(),
        strict=True,
    ):
        logit += out * math.tanh(sum(w * x for w, x in zip(weights, inputs, strict=True)) + bias)
    return logit


@given(seed=st.integers(0, 10**6))
def test_the_network_by_hand(language: MarkedLanguage, seed: int) -> None:
    head, rows = opinionated(seed), features(random_tree(language, seed))
    assert head(rows).tolist() == pytest.approx([by_hand(head, row) for row in rows], abs=1e-4)


def test_inputs_are_standardised_and_a_constant_one_does_no_harm() -> None:
    head, rows = ValueHead(8, 0), torch.randn(100, len(FEATURES))
    rows[:, 2] = 4.0
    head.standardise(rows)
    scaled = (rows - head.mean) / head.deviation
    assert scaled.mean(0).tolist() == pytest.approx([0.0] * len(FEATURES), abs=1e-5)
    expected = [0.0 if index == 2 else 1.0 for index in range(len(FEATURES))]
    assert scaled.std(0, correction=0).tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("algorithm", ["mcts", "forks"])
@pytest.mark.parametrize("batch", [1, 10_000])
def test_nodes_are_judged_while_trees_grow(
    language: MarkedLanguage, monkeypatch: pytest.MonkeyPatch, algorithm: str, batch: int
) -> None:
    reads: list[int] = []
    extend = path_features.extend_path
    monkeypatch.setattr(
        path_features, "extend_path", lambda *args: (reads.append(1), extend(*args))[1]
    )
    head, engine = opinionated(), FakeEngine(language, batch=batch)
    config = SearchConfig(algorithm=algorithm, max_depth=4)
    trees = grow(
        SearchRequest(PROBLEMS, config, range(4), rewards=BY_EQUALITY, judge=PathJudge(head)),
        engine,
        language,
    )
    assert len(reads) == sum(len(tree.nodes) for tree in trees)  # every thought once
    for tree in trees:
        judged = [node.value for node in tree.nodes]
        assert judged == pytest.approx(values(head, tree), abs=1e-5)
        assert judged != pytest.approx([node.thought.rating for node in tree.nodes], abs=0.01)


def test_search_backs_up_values_and_not_ratings(language: MarkedLanguage) -> None:
    config = SearchConfig(simulations=1, candidates=2, unfinished="rating")
    (tree,) = grow(
        SearchRequest(PROBLEMS[:1], config, [3], judge=PathJudge(opinionated())),
        FakeEngine(language),
        language,
    )
    ends = [leaf.value for leaf in tree.leaf_nodes()]
    assert tree.root.mean_value == pytest.approx(sum(ends) / 2)
    assert tree.root.target == pytest.approx(sum(ends) / 2)


def test_a_saved_head_comes_back_whole(tmp_path: Path, language: MarkedLanguage) -> None:
    head, again = opinionated(), ValueHead(8, 1)
    head.save(tmp_path)
    again.load(tmp_path)
    rows = features(random_tree(language, 0))
    assert (again(rows) == head(rows)).all()
    assert not list(tmp_path.glob("*.safetensors"))  # those there are the model's
    with pytest.raises(UserError, match=r"value_head\.hidden_size"):
        ValueHead(9, 0).load(tmp_path)
    fresh = ValueHead(8, 0)
    fresh.load(tmp_path / "elsewhere")
    assert fresh.untrained


def test_a_head_depends_on_its_seed_and_draws_nothing_from_torch() -> None:
    before = torch.get_rng_state()
    weights = [ValueHead(8, seed).inner.weight for seed in (1, 1, 2)]
    assert (torch.get_rng_state() == before).all()
    assert (weights[0] == weights[1]).all()
    assert not (weights[0] == weights[2]).any()


def test_a_head_without_ratings_begins_at_one_half_and_moves_by_its_own_features() -> None:
    head = ValueHead(8, 0, UNRATED_FEATURES)
    rows = torch.randn(20, len(UNRATED_FEATURES))
    assert head.untrained
    assert head(rows).tolist() == [0.0] * 20
    with torch.no_grad():
        head.outer.weight.fill_(1.0)
    assert len(set(head(rows).tolist())) == 20
