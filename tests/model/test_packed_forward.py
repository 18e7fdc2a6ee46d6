"""Tries packed into one sequence: their parts, their layout, and what the attention gives."""

from collections import Counter

import numpy as np
import pytest
import torch
from fake_engine import random_tree
from hypothesis import given
from hypothesis import strategies as st
from toy_models import KINDS, masked_window, toy_model
from transformers import BloomConfig, BloomForCausalLM, PreTrainedModel

from llamao1_cli.config import LearnConfig
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.learn.batch import micro_batches, pack, split
from llamao1_cli.learn.experience import Actions, Experience, Ratings, experiences
from llamao1_cli.model.packed_attention import PACKED_ATTENTION, attending_packed
from llamao1_cli.model.packed_forward import check_packs, packed_logits
from llamao1_cli.model.trie_layout import MAX_RUN
from llamao1_cli.search.rectify import rectify

Prefix = tuple[int, ...]


def random_trie(seed: int, size: int, branching: float = 0.2) -> Experience:
    """A trie of distinct tokens with actions and ratings anywhere, often several at one token."""
    rng = np.random.default_rng(seed)
    before = np.arange(-1, size - 1)
    for token in range(1, size):
        if rng.random() < branching:
            before[token] = rng.integers(token)
    at, rated = (rng.integers(size, size=size // 2).astype(np.int32) for _ in range(2))
    figures = [rng.normal(size=size // 2).astype(np.float32) for _ in range(4)]
    tokens, roles = rng.integers(50, size=size // 2), rng.integers(3, size=size // 2)
    solutions = np.array([_leaf_below(before, token, rng) for token in at.tolist()], np.int32)
    return Experience(
        rng.permutation(size).astype(np.int32),
        before.astype(np.int32),
        Actions(
            at, tokens.astype(np.int32), solutions, roles.astype(np.uint8), figures[0], figures[1]
        ),
        Ratings(rated, np.abs(figures[2]), figures[3]),
        iteration=3,
    )


def _leaf_below(before: np.ndarray, token: int, rng: np.random.Generator) -> int:
    """A leaf whose path goes through the token."""
    while len(children := np.flatnonzero(before == token)):
        token = int(rng.choice(children))
    return token


def prefixes(item: Experience) -> list[Prefix]:
    """The tokens from the first one to each token."""
    found: list[Prefix] = []
    for token, last in zip(item.ids.tolist(), item.before.tolist(), strict=True):
        found.append((*(found[last] if last >= 0 else ()), token))
    return found


def whole_paths(item: Experience) -> list[Prefix]:
    """The prefixes that nothing follows."""
    inner = set(item.before.tolist())
    return [path for token, path in enumerate(prefixes(item)) if token not in inner]


def events(item: Experience) -> Counter[tuple]:
    """Actions and ratings by the prefix at which they stand."""
    at = prefixes(item)
    return Counter(
        (at[token], *rest)
        for group in (item.actions, item.ratings)
        for token, *rest in zip(*(column.tolist() for column in vars(group).values()), strict=True)
    )


@given(seed=st.integers(0, 10**6), size=st.integers(2, 60), limit=st.integers(1, 70))
def test_parts_of_a_split_are_whole_paths_with_every_loss_once(
    seed: int, size: int, limit: int
) -> None:
    item = random_trie(seed, size)
    parts = split(item, limit)
    assert sorted(path for part in parts for path in whole_paths(part)) == sorted(whole_paths(item))
    assert sum((events(part) for part in parts), Counter()) == events(item)
    solutions = [set(part.actions.path.tolist()) for part in parts]
    assert sum(map(len, solutions)) == len(set().union(*solutions))  # each is in one part
    for part in parts:
        assert len(part.ids) <= limit or len(whole_paths(part)) == 1
        assert len(set(prefixes(part))) == len(part.ids)  # nothing stands there twice
        assert part.iteration == 3
    assert len(parts) == 1 or size > limit


def test_a_split_keeps_to_the_limit_and_shares_what_it_can() -> None:
    # A prompt of ten tokens and six branches of five: three branches fit beside it, and three more.
    before = np.array(
        [*range(-1, 9), *[p for b in range(6) for p in (9, *range(5 * b + 10, 5 * b + 14))]]
    )
    none = np.zeros(0, np.int32)
    empty = Actions(none, none, none, none, none, none), Ratings(none, none, none)
    item = Experience(np.arange(40), before, *empty, iteration=0)
    assert len(whole_paths(item)) == 6
    assert [len(part.ids) for part in split(item, 25)] == [25, 25]


@given(sizes=st.lists(st.integers(2, 40), min_size=1, max_size=8), limit=st.integers(10, 60))
def test_micro_batches_hold_every_tree_and_keep_to_the_limit(sizes: list[int], limit: int) -> None:
    items = [(tree, random_trie(tree, size)) for tree, size in enumerate(sizes)]
    batches = micro_batches(items, limit)
    for batch in batches:
        assert len(batch) == 1 or sum(len(part.ids) for _, part in batch) <= limit
    for tree, item in items:
        parts = [part for batch in batches for owner, part in batch if owner == tree]
        assert sum((events(part) for part in parts), Counter()) == events(item)


@given(seed=st.integers(0, 10**6), size=st.integers(2, 300), branching=st.floats(0, 0.5))
def test_the_layout_gives_every_token_its_own_path(seed: int, size: int, branching: float) -> None:
    items = [random_trie(seed, size, branching), random_trie(seed + 1, 9, branching)]
    packed = pack([(0, items[0]), (1, items[1])], 3, torch.device("cpu"))
    paths = [path for item in items for path in prefixes(item)]
    assert packed.positions.tolist() == [len(path) - 1 for path in paths]
    seen: list[tuple[int, Prefix]] = []
    asked, read = packed.layout.queries.tolist(), packed.layout.keys.tolist()
    for block in packed.layout.blocks:
        bias = block.bias(None, 1, torch.float32)
        assert block.positions.shape[1] <= MAX_RUN
        for run, length in enumerate(block.positions.tolist()):
            keys = packed.ids[read[: block.path]]
            read = read[block.path :]
            for query in range(len(length)):
                allowed = bias[run, 0, query] == 0
                seen.append((asked.pop(0), tuple(keys[allowed].tolist())))
    assert not asked
    assert not read
    for token, query in enumerate(packed.layout.order.tolist()):
        assert seen[query] == (token, paths[token])


def packed_forest(language: MarkedLanguage, count: int) -> list[Experience]:
    trees = [random_tree(language, seed, 12) for seed in range(count)]
    for tree in trees:
        rectify(tree, 1.0, "failure")
    return experiences(trees, language, LearnConfig(), 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_forward_gives_the_logits_of_every_path(
    language: MarkedLanguage, kind: str
) -> None:
    model, items = toy_model(language, kind), packed_forest(language, 3)
    packed = pack(list(enumerate(items)), 0, model.device)
    with torch.no_grad(), attending_packed(model):
        got = packed_logits(model, packed)
    paths = [path for item in items for path in prefixes(item)]
    assert max(map(len, paths)) > 60  # longer than the sliding windows
    assert len(got) == len(packed.reads)
    for logits, token in zip(got, packed.reads.tolist(), strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([paths[token]])).logits[0, -1]
        assert torch.allclose(logits, expected, atol=2e-5)


def test_predictions_and_ratings_at_one_token_are_made_once(language: MarkedLanguage) -> None:
    first, second = packed_forest(language, 2)
    parts = [(5, first), (5, first), (7, second)]
    packed = pack(parts, 1, torch.device("cpu"))
    begins = np.cumsum([0, len(first.ids), len(first.ids)]).tolist()
    acted, rated = [], []
    for begin, (tree, item) in zip(begins, parts, strict=True):
        for at, token, _, kind, *_ in zip(*vars(item.actions).values(), strict=True):
            acted.append((tree, begin + at, token, kind))
        rated += [(tree, begin + at) for at in item.ratings.at]
    made = len(packed.token)
    triples = torch.stack([packed.reads[:made], packed.token, packed.role])
    assert made == len({row[1:] for row in acted})
    got = torch.cat([packed.action_tree[None], triples[:, packed.predicted]])
    assert got.T.tolist() == [list(map(int, row)) for row in acted]
    assert len(packed.reads) - made == len({at for _, at in rated})
    got = torch.stack([packed.rating_tree, packed.reads[made:][packed.rated]])
    assert got.T.tolist() == [list(map(int, row)) for row in rated]
    assert not packed.fresh.any()
    assert pack(parts, 0, torch.device("cpu")).fresh.all()


def test_attention_is_packed_inside_only(language: MarkedLanguage) -> None:
    model = toy_model(language)
    config = model.model.layers[1].self_attn.config
    before = config._attn_implementation
    with attending_packed(model):
        assert config._attn_implementation == PACKED_ATTENTION
    assert config._attn_implementation == before != PACKED_ATTENTION
    with pytest.raises(TypeError), attending_packed(model):
        model(torch.tensor([[1]]))  # no layout
    assert config._attn_implementation == before


def attends_elsewhere(language: MarkedLanguage) -> PreTrainedModel:
    """One of its layers has its own attention."""
    model = toy_model(language)
    layer = model.model.layers[1].self_attn
    layer.forward = lambda hidden_states, **kwargs: (hidden_states, None)
    return model


def forgets_positions(language: MarkedLanguage) -> PreTrainedModel:
    """It numbers the tokens itself."""
    model = toy_model(language)
    inner = model.model.forward
    model.model.forward = lambda position_ids=None, **kwargs: inner(**kwargs)
    return model


def own_attention(language: MarkedLanguage) -> PreTrainedModel:
    """An architecture that does not go through `AttentionInterface`."""
    return BloomForCausalLM(BloomConfig(vocab_size=600, hidden_size=32, n_layer=2, n_head=4)).eval()


def masks_a_window(language: MarkedLanguage) -> PreTrainedModel:
    """Its windows are in the masks that it makes, and its attention never hears of them."""
    return masked_window(len(language.tokenizer))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (masks_a_window, "PhimoeForCausalLM gives other logits"),
        (attends_elsewhere, "LlamaForCausalLM cannot.*do not all go through AttentionInterface"),
        (forgets_positions, "LlamaForCausalLM gives other logits"),
        (own_attention, "BloomForCausalLM cannot"),
    ],
)
def test_a_model_that_cannot_pack_is_refused_by_name(
    language: MarkedLanguage, make, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_packs(make(language))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_models_that_can_pack_are_let_through(
    language: MarkedLanguage, kind: str, dtype: torch.dtype
) -> None:
    model = toy_model(language, kind).to(dtype).train()
    check_packs(model)
    assert model.training
