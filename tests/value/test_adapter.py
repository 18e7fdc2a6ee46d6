"""The value adapter against peft's own on single paths, and what it leaves alone."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_engine import BY_EQUALITY, FakeEngine, random_tree, thought
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_update import play, wild_trees
from toy_models import KINDS, toy_model
from transformers import PreTrainedModel
from value_adapters import adapted, adapter_on, by_peft, opinionated, path_logit

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.builtin.weights import merged_weights, plain_copy
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem
from llamao1_cli.value.adapter import ADAPTER_FILE, ValueAdapter
from llamao1_cli.value.features import logit
from llamao1_cli.value.head import ValueHead
from llamao1_cli.value.tree_tokens import TokenReader

PROBLEMS = [Problem(f"p{number}", f"How many are {number}?", "7") for number in range(4)]


@pytest.fixture(scope="module")
def toy(language: MarkedLanguage) -> PreTrainedModel:
    return toy_model(language)


@pytest.mark.parametrize("limit", [8192, 60])
@pytest.mark.parametrize("kind", [*KINDS, "llama with lora"])
def test_values_are_those_of_plain_forwards_with_peft(
    language: MarkedLanguage, kind: str, limit: int
) -> None:
    policy = toy_model(language, kind.split()[0])
    policy = adapted(policy) if "lora" in kind else policy
    trees = play(toy_model(language, kind.split()[0]), language, count=3)
    adapter = opinionated(policy, language, limit=limit)
    items = adapter.read(trees)
    batches = adapter.batches(items)
    assert len(batches) > 1 or limit > 60
    got = torch.zeros(sum(len(tree.nodes) for tree in trees))
    with adapter.reading(), torch.no_grad():
        for batch in batches:
            got[batch.nodes] = adapter.logits(batch)
    wrapped = by_peft(policy, adapter)
    with torch.no_grad():
        expected = [
            float(path_logit(wrapped, adapter.weights, language, tree, node))
            for tree in trees
            for node in tree.nodes
        ]
    assert got.tolist() == pytest.approx(expected, abs=1e-5, rel=1e-5)
    ratings = [logit(node.thought.rating) for tree in trees for node in tree.nodes]
    assert got.tolist() != pytest.approx(ratings, abs=0.1)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), stop=st.integers(1, 11), limit=st.sampled_from([8192, 40]))
def test_new_nodes_are_worth_what_they_are_in_the_whole_tree(
    language: MarkedLanguage, toy: PreTrainedModel, seed: int, stop: int, limit: int
) -> None:
    tree = wild_trees(language, 3)[2] if seed % 5 == 0 else random_tree(language, seed, 12)
    adapter = opinionated(toy, language, limit=limit)
    (whole,) = adapter.read([tree])
    expected = adapter.values([whole])
    part = copy.deepcopy(tree)
    part.nodes = part.nodes[:stop]
    judge = adapter.judge()
    judge([part])
    part.nodes += copy.deepcopy(tree.nodes[stop:])
    judge([part])
    assert [node.value for node in part.nodes] == pytest.approx(expected, abs=1e-5)
    judge([part])  # nothing is new


def test_a_tree_is_read_once_and_new_nodes_with_their_paths_alone(
    language: MarkedLanguage, toy: PreTrainedModel
) -> None:
    tree = Tree.plant(PROBLEMS[0], 0, 0.5)
    rng = np.random.default_rng(0)
    chains = [[thought(language, rng, f"{a} {b}", 0.5) for b in range(3)] for a in range(2)]
    tree.attach(tree.root, chains[0])
    reader = TokenReader(language)
    first = reader.read(tree)
    ids = tree.path_ids(tree.nodes[-1], language)[:-2]
    assert first.ids.tolist() == ids
    assert (first.before == np.arange(-1, len(ids) - 1)).all()
    said = [index for index, logprob in enumerate(first.logprobs.tolist()) if logprob]
    assert [ids[index] for index in said] == [t for node in tree.nodes for t in node.thought.ids]
    sampled = [lp for node in tree.nodes for lp in node.thought.logprobs]
    assert first.logprobs[said].tolist() == pytest.approx(sampled)
    tree.attach(tree.nodes[1], chains[1])
    second = reader.read(tree)
    assert second.ids.tolist() == tree.path_ids(tree.nodes[-1], language)[:-2]
    assert len(second.at) == 3


@pytest.mark.parametrize("algorithm", ["mcts", "forks"])
def test_an_untrained_adapter_gives_exactly_the_ratings(
    language: MarkedLanguage, toy: PreTrainedModel, algorithm: str
) -> None:
    config, adapter = SearchConfig(algorithm=algorithm), adapter_on(toy, language)
    judged, plain = (
        grow(
            SearchRequest(PROBLEMS, config, range(4), rewards=BY_EQUALITY, **judge),
            FakeEngine(language),
            language,
        )
        for judge in ({"judge": adapter.judge()}, {})
    )
    assert judged == plain
    ratings = [node.thought.rating for tree in judged for node in tree.nodes]
    inside = [min(max(rating, 1e-6), 1 - 1e-6) for rating in ratings]
    assert adapter.values(adapter.read(judged)) == pytest.approx(inside, abs=1e-6)


def test_the_policy_and_its_rollout_copy_know_nothing_of_it(
    language: MarkedLanguage, toy: PreTrainedModel
) -> None:
    model = copy.deepcopy(toy)
    ids = torch.tensor([language.root("How many?")])
    with torch.no_grad():
        before = model(input_ids=ids).logits
    adapter = opinionated(model, language)
    trees = play(model, language, count=1)
    adapter.judge()(trees)
    copied = plain_copy(model, torch.float32)
    with torch.no_grad():
        assert (model(input_ids=ids).logits == before).all()
        assert (copied(input_ids=ids).logits == before).all()
    assert model.state_dict().keys() == toy.state_dict().keys()
    assert dict(merged_weights(model)).keys() == dict(merged_weights(toy)).keys()
    assert play(model, language, count=2) == play(toy, language, count=2)


def test_a_saved_adapter_comes_back_whole(
    tmp_path: Path, language: MarkedLanguage, toy: PreTrainedModel
) -> None:
    adapter, again = opinionated(toy, language), adapter_on(toy, language, seed=1)
    adapter.save(tmp_path)
    again.load(tmp_path)
    assert all((again.weights[name] == weight).all() for name, weight in adapter.weights.items())
    assert all(weight.requires_grad for weight in again.weights.values())
    assert not list(tmp_path.glob("*.safetensors"))  # those there are the model's
    with pytest.raises(UserError, match=r"value_head\.rank"):
        ValueAdapter(toy, language, rank=5, seed=0, max_tokens=100).load(tmp_path)
    with pytest.raises(UserError, match=r"value_head\.kind"):
        ValueHead(8, 0).load(tmp_path)
    (tmp_path / ADAPTER_FILE).write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="not a value adapter"):
        again.load(tmp_path)
    ValueHead(8, 0).save(tmp_path / "other")
    with pytest.raises(UserError, match=r"value_head\.kind"):
        again.load(tmp_path / "other")
    fresh = adapter_on(toy, language)
    fresh.load(tmp_path / "elsewhere")
    assert fresh.untrained
    assert not adapter.untrained


def test_an_adapter_depends_on_its_seed_and_draws_nothing_from_torch(
    language: MarkedLanguage, toy: PreTrainedModel
) -> None:
    before = torch.get_rng_state()
    one, same, other = (adapter_on(toy, language, seed).weights for seed in (1, 1, 2))
    assert (torch.get_rng_state() == before).all()
    downs = [name for name in one if name.endswith(".down")]
    assert len(downs) == 2 * 7  # of each layer
    assert all((one[name] == same[name]).all() for name in one)
    assert not any((one[name] == other[name]).any() for name in downs)
