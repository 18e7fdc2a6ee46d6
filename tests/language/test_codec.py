"""Marked text as tokens: paths, grammar masks, supervised labels."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.language.codec import Codec, Role
from llamao1_cli.language.marked import (
    MARKERS,
    METAS,
    OLD_UNKNOWN,
    MarkedNode,
    Meta,
    Rating,
    neutralise,
    parse_tree,
    render_node,
)
from llamao1_cli.model.load import LanguageModel
from llamao1_cli.tasks.arithmetic import Arithmetic

pieces = st.one_of(
    st.text(max_size=8),
    st.sampled_from([*MARKERS, OLD_UNKNOWN, "<pad>", "<id_3>", "<id_-1>", "<", "12", " "]),
)
texts = st.lists(pieces, max_size=8).map("".join)
metas = st.sampled_from([None, *METAS])
no_digits = st.one_of(
    st.sampled_from(["Mia has ", " ", "  ", "=", "x", "\n", " coins.", "-", "é", " é "]),
    st.text(st.characters(codec="utf-8", exclude_categories=["N"]), max_size=6),
)


def spelled(codec: Codec, ids: list[int]) -> str:
    """Tokens as the tokenizer itself spells them, with node numbers as digits."""
    text = codec.tokenizer.decode(
        ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return re.sub(r"(?<=_id>)<id_(-?\d+)>", r"\1", text)


def number_ids(codec: Codec) -> set[int]:
    return {i for token, i in codec.tokenizer.get_vocab().items() if token.startswith("<id_")}


@pytest.mark.parametrize("depth", [1, 2, 9, 10, 63, 64, 70, 123])
def test_a_header_spells_the_numbers_of_its_depth(codec: Codec, depth: int) -> None:
    written = render_node(MarkedNode(depth - 1, depth, ""))
    assert spelled(codec, codec.header(depth)) + "<end_of_thought>" == written


@given(texts)
def test_a_root_spells_the_problem_unrated(codec: Codec, problem: str) -> None:
    node = MarkedNode(-1, 0, problem, Meta.PROBLEM, Rating.UNKNOWN)
    assert spelled(codec, codec.root(problem)) == render_node(node)


@given(st.integers(1, 70), texts, metas, st.booleans(), st.booleans(), st.sampled_from(Rating))
def test_a_node_spells_its_thought(
    codec: Codec,
    depth: int,
    text: str,
    meta: Meta | None,
    forced: bool,
    complete: bool,
    rating: Rating,
) -> None:
    sampled = [] if forced or meta is None else [codec.meta(meta)]
    sampled += [*codec.encode(text), *([codec.thought_end] if complete else [])]
    node = codec.node(
        depth,
        sampled,
        forced_meta=meta if forced else None,
        complete=complete,
        rating=rating,
    )
    assert spelled(codec, node.ids) == render_node(MarkedNode(depth - 1, depth, text, meta, rating))
    assert node.ids[node.sampled : node.sampled + len(sampled)] == sampled
    assert spelled(codec, node.ids[node.read + 1 :]) == f"{rating}<end_of_rating>"
    assert codec.decode(sampled) == (None if forced else meta, neutralise(text))


@given(texts, st.lists(st.tuples(texts, metas, st.sampled_from(Rating)), max_size=5))
def test_a_path_reads_back_as_its_nodes(
    codec: Codec, problem: str, thoughts: list[tuple[str, Meta | None, Rating]]
) -> None:
    ids = codec.root(problem)
    nodes = [MarkedNode(-1, 0, neutralise(problem), Meta.PROBLEM, Rating.UNKNOWN)]
    for depth, (text, meta, rating) in enumerate(thoughts, start=1):
        tokens = codec.encode(text)
        ids += codec.node(depth, tokens, forced_meta=meta, complete=False, rating=rating).ids
        nodes.append(MarkedNode(depth - 1, depth, neutralise(text), meta, rating))
    assert parse_tree(spelled(codec, ids)) == nodes


@given(texts)
def test_text_never_yields_a_marker(codec: Codec, text: str) -> None:
    vocabulary = codec.tokenizer.get_vocab()
    forbidden = {vocabulary[m] for m in (*MARKERS, "<pad>")} | number_ids(codec)
    assert not forbidden & set(codec.encode(text))
    honest, hostile = codec.root("honest"), codec.root(text)
    assert [i for i in hostile if i in forbidden] == [i for i in honest if i in forbidden]


@given(texts)
def test_the_tokenizer_is_lossless(codec: Codec, text: str) -> None:
    assert codec.decode(codec.encode(text)) == (None, neutralise(text))


@given(no_digits, st.integers(0, 60), no_digits)
def test_a_number_is_one_token_wherever_it_stands(
    codec: Codec, before: str, number: int, after: str
) -> None:
    (token,) = codec.encode(str(number))
    ids = codec.encode(f"{before}{number}{after}")
    index = ids.index(token)
    assert codec.decode(ids[:index])[1] == neutralise(before)
    assert codec.decode(ids[index + 1 :])[1] == neutralise(after)


def test_node_numbers_share_no_token_with_operands(codec: Codec) -> None:
    operands = {i for n in range(-1, 100) for i in codec.encode(f"{n}+{n} {n}")}
    numbers = [i for depth in range(64) for i in codec.header(depth)]
    assert number_ids(codec) <= set(numbers)
    assert not operands & set(numbers)


def test_the_grammar_allows_exactly_the_words_and_what_the_place_takes(
    tiny: LanguageModel, codec: Codec
) -> None:
    size = len(tiny.tokenizer) + 9  # a model's logits may be wider than its vocabulary
    mask = codec.grammar(size)
    assert mask.shape == (len(Role), size)
    words = set(tiny.tokenizer.get_vocab().values()) - set(
        tiny.tokenizer.get_added_vocab().values()
    )
    expected = {
        Role.INSIDE: words | {codec.thought_end},
        Role.FIRST: words | {codec.meta(meta) for meta in METAS},
        Role.WORDS: words,
    }
    for role, allowed in expected.items():
        assert set(mask[role].nonzero().flatten().tolist()) == allowed


def test_the_grammar_offers_only_the_allowed_meta_actions(tiny: LanguageModel) -> None:
    two = tiny.codec([Meta.CRITIC, Meta.CONCLUSION])
    offered = two.grammar(len(tiny.tokenizer))[Role.FIRST]
    assert [meta for meta in METAS if offered[two.meta(meta)]] == [Meta.CRITIC, Meta.CONCLUSION]


@given(st.data())
def test_whatever_the_grammar_allows_is_one_thought(codec: Codec, data: st.DataObject) -> None:
    mask = codec.grammar(len(codec.tokenizer))
    options = [row.nonzero().flatten().tolist() for row in mask]
    first = data.draw(st.sampled_from(options[Role.FIRST]))
    rest = data.draw(st.lists(st.sampled_from(options[Role.INSIDE]), max_size=6))
    rest = [i for i in rest if i != codec.thought_end]
    ids = codec.node(
        1, [first, *rest], forced_meta=None, complete=False, rating=Rating.POSITIVE
    ).ids
    meta, text = codec.decode([first, *rest, codec.thought_end])
    _, node = parse_tree(spelled(codec, [*codec.root("p"), *ids]))
    assert (node.meta, node.text, node.rating) == (meta, text, Rating.POSITIVE)


TREE = [
    MarkedNode(-1, 0, "Mia has 3 pens.", Meta.PROBLEM),
    MarkedNode(0, 1, "3+4=7", Meta.EXPANSION, Rating.POSITIVE),
    MarkedNode(0, 2, "3+4=8", None, Rating.UNKNOWN),
    MarkedNode(2, 5, "8 is wrong", Meta.CRITIC, Rating.NEGATIVE),
    MarkedNode(5, 6, "no rating field", Meta.REFINE),
]


@pytest.mark.parametrize("show_ratings", [True, False])
def test_supervised_tokens_weigh_thoughts_and_known_ratings(
    codec: Codec, show_ratings: bool
) -> None:
    marked = codec.marked(TREE, show_ratings=show_ratings, rating_weight=4.0)
    inputs, labels, weights = [], [], []
    for node in TREE:
        rating = node.rating or Rating.UNKNOWN
        known = rating is not Rating.UNKNOWN
        father = ["<start_of_father_id>", f"<id_{node.father}>", "<end_of_father_id>"]
        local = ["<start_of_local_id>", f"<id_{node.local}>", "<end_of_local_id>"]
        header = codec.tokenizer.convert_tokens_to_ids([*father, *local, "<start_of_thought>"])
        thought = [codec.meta(node.meta)] if node.meta else []
        thought += [*codec.encode(node.text), codec.thought_end]
        inputs += [*header, *thought, *codec.closing(rating if show_ratings else Rating.UNKNOWN)]
        labels += [*header, *thought, *codec.closing(rating)]
        weights += [0.0] * len(header) + [1.0] * len(thought) + [0.0, 4.0 * known, 0.0]
    assert marked.inputs == inputs
    assert marked.labels == labels
    assert marked.weights == weights


def test_supervised_text_is_written_as_a_path_is(codec: Codec, arithmetic: Arithmetic) -> None:
    for tree in arithmetic.demonstrations(0, 20):
        path = codec.root(tree[0].text)
        for depth, node in enumerate(tree[1:], start=1):
            sampled = [*codec.encode(node.text), codec.thought_end]
            path += codec.node(
                depth, sampled, forced_meta=node.meta, complete=True, rating=node.rating
            ).ids
        assert codec.marked(tree, show_ratings=True, rating_weight=1.0).inputs == path
