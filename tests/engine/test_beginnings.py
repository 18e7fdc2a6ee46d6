"""Thoughts that begin with known tokens, and draws that some tokens are barred from."""

from dataclasses import replace

import pytest
import torch
from built_in_engine import check, engine, requests
from hypothesis import given
from hypothesis import strategies as st
from toy_models import toy_model

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.protocol import Beginning, Request, Thought, complete
from llamao1_cli.engine.sampler import NO_TOKEN, Sampler, make_choice
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.language.sampling import Sampling
from llamao1_cli.search.coverage import covered
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem

PROBLEMS = [Problem(f"p{n}", f"Mia has {n} coins. How many coins?", "7") for n in range(5)]


def begun(request: Request, thought: Thought, index: int, barred: frozenset[int]) -> Request:
    """The request again, its first thought beginning with the first tokens of another."""
    figures = (thought.ids, thought.logprobs, thought.entropy, thought.varentropy)
    kept = [tuple(each[:index]) for each in figures]
    return replace(request, begins=Beginning(*kept, barred), seed=request.seed + 1)


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_barred_tokens_leave_the_others_their_shares(seed: int, size: int) -> None:
    """The draw is that of the distribution without the barred tokens, the figures those with."""
    torch.manual_seed(seed)
    logits = torch.randn(size, 9)
    sampler = Sampler(torch.ones(3, 9, dtype=torch.bool))
    uniforms = torch.rand(size).tolist()
    choice = make_choice([Sampling(temperature=0.7)] * size, [0] * size, uniforms, logits.device)
    mask = torch.rand(size, 9) < 0.5
    mask[0] = True
    barred = [tuple(pair) for pair in mask.nonzero().tolist()]
    drawn = sampler.draw(logits, choice, barred=barred)
    log_p = (logits / 0.7).log_softmax(-1)
    for row in range(size):
        token = int(drawn.tokens[row])
        if mask[row].all():
            assert token == NO_TOKEN
            continue
        left = log_p[row].exp().masked_fill(mask[row], 0.0)
        below = float(left[:token].sum() / left.sum())
        assert not mask[row, token]
        assert below - 1e-5 <= uniforms[row] <= below + float(left[token] / left.sum()) + 1e-5
        assert float(drawn.logprobs[row]) == pytest.approx(float(log_p[row, token]), abs=1e-5)
        entropy = float(-(log_p[row].exp() * log_p[row]).sum())
        assert float(drawn.entropy[row]) == pytest.approx(entropy, abs=1e-4)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2-sliding"])
@pytest.mark.parametrize("burst", [0, 3])
def test_figures_are_those_of_a_plain_forward(
    language: MarkedLanguage, kind: str, burst: int
) -> None:
    model = toy_model(language, kind)
    one = engine(model, language, burst=burst)
    asked = requests(language, 12, temperature=1.3)
    chains = complete(one, asked)
    again = [
        begun(request, chain[0], len(chain[0].ids) // 2, frozenset())
        for request, chain in zip(asked, chains, strict=True)
    ]
    for request, first, chain in zip(again, chains, complete(one, again), strict=True):
        half = len(first[0].ids) // 2
        assert chain[0].ids[:half] == first[0].ids[:half]
        assert chain[0].known == half
        check(model, language, request, chain)


def test_a_beginning_costs_its_suffix_alone(language: MarkedLanguage) -> None:
    """What leads up to the branch is not read again, but for the token whose logits are needed."""
    one = engine(toy_model(language), language)
    (request,) = requests(language, 1, max_tokens=7)
    (first,) = complete(one, [request])
    ids = first[0].ids
    for index in range(len(ids)):
        before = one.forwarded
        asked = begun(request, first[0], index, frozenset(ids[index : index + 1]))
        ((thought,),) = complete(one, [asked])
        assert thought.ids[:index] == ids[:index]
        assert thought.ids[index] != ids[index]
        ends = 1 + (not thought.complete)  # where the rating is read, and an end that was not drawn
        assert one.forwarded - before == 1 + thought.generated + ends


def test_the_last_thought_is_left_where_all_is_barred(language: MarkedLanguage) -> None:
    one = engine(toy_model(language), language)
    (request,) = requests(language, 1, top_k=2)
    tokens: set[int] = set()
    for _ in range(3):
        (chain,) = complete(one, [replace(request, begins=Beginning(barred=frozenset(tokens)))])
        tokens |= {chain[0].ids[0]} if chain else set()
    assert len(tokens) == 2
    assert chain == []


def distinct(
    language: MarkedLanguage, problems: list[Problem], burst: int = 0, **search: object
) -> list[Tree]:
    """Trees of distinct solutions of a toy model."""
    config = SearchConfig(**{"algorithm": "distinct", "max_thought_tokens": 2, **search})
    one = engine(toy_model(language, seed=1), language, burst=burst, max_length=512)
    seeds = [int(problem.id[1:]) for problem in problems]
    return grow(SearchRequest(problems, config, seeds), one, language)


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0.6, "top_k": 2},
        {"top_p": 0.15},
        {"top_k": 3, "top_p": 0.9, "min_thought_tokens": 2, "max_thought_tokens": 3},
    ],
)
def test_all_solutions_of_a_model_add_up_to_one(
    language: MarkedLanguage, sampling: dict[str, float]
) -> None:
    """Temperature, truncation, grammar and cut thoughts are all part of the probabilities."""
    for tree in distinct(language, PROBLEMS[:2], solutions=100_000, max_depth=2, **sampling):
        chances = [tree.probability(leaf) for leaf in tree.leaf_nodes()]
        assert sum(chances) == pytest.approx(1, abs=1e-4)
        assert covered(tree) <= sum(chances) + 1e-9
        paths = {tuple(tree.path_ids(leaf, language)) for leaf in tree.leaf_nodes()}
        assert len(paths) == len(chances) > 3
        if sampling.get("min_thought_tokens") == 2:
            assert any(not node.thought.complete for node in tree.nodes[1:])


@pytest.mark.parametrize("burst", [0, 4])
def test_distinct_trees_do_not_depend_on_what_else_is_in_flight(
    language: MarkedLanguage, burst: int
) -> None:
    search = {"max_thought_tokens": 5, "max_depth": 3, "solutions": 5, "branches_at_once": 2}
    together = distinct(language, PROBLEMS, burst, **search)
    for problem, tree in zip(PROBLEMS, together, strict=True):
        (alone,) = distinct(language, [problem], 0, **search)
        assert [n.thought.ids for n in tree.nodes] == [n.thought.ids for n in alone.nodes]
        ours = [p for n in tree.nodes for p in n.thought.logprobs]
        assert ours == pytest.approx([p for n in alone.nodes for p in n.thought.logprobs], abs=1e-4)
