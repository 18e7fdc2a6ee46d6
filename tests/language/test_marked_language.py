"""Marked text as tokens: paths, grammar masks, supervised labels."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from llamao1_cli.language.marked_language import MarkedLanguage, Role
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


def spelled(language: MarkedLanguage, ids: list[int]) -> str:
    """Tokens as the tokenizer itself spells them, with node numbers as digits."""
    text = language.tokenizer.decode(
        ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return re.sub(r"(?<=_id>)<id_(-?\d+)>", r"\1", text)


def number_ids(language: MarkedLanguage) -> set[int]:
    return {i for token, i in language.tokenizer.get_vocab().items() if token.startswith("<id_")}


@pytest.mark.parametrize("depth", [1, 2, 9, 10, 63, 64, 70, 123])
def test_a_header_spells_the_numbers_of_its_depth(language: MarkedLanguage, depth: int) -> None:
    written = render_node(MarkedNode(depth - 1, depth, ""))
    assert spelled(language, language.opening(depth)) + "<end_of_thought>" == written


@given(texts)
def test_a_root_spells_the_problem_unrated(language: MarkedLanguage, problem: str) -> None:
    node = MarkedNode(-1, 0, problem, Meta.PROBLEM, Rating.UNKNOWN)
    assert spelled(language, language.root(problem)) == render_node(node)


@given(st.integers(1, 70), texts, metas, st.booleans(), st.booleans(), st.sampled_from(Rating))
def test_a_node_spells_its_thought(
    language: MarkedLanguage,
    depth: int,
    text: str,
    meta: Meta | None,
    forced: bool,
    complete: bool,
    rating: Rating,
) -> None:
    sampled = [] if forced or meta is None else [language.meta(meta)]
    sampled += [*language.encode(text), *([language.thought_end] if complete else [])]
    node = language.node(
        depth,
        sampled,
        forced_meta=meta if forced else None,
        complete=complete,
        shown=rating,
    )
    assert spelled(language, node.ids) == render_node(
        MarkedNode(depth - 1, depth, text, meta, rating)
    )
    assert node.ids[node.sampled : node.sampled + len(sampled)] == sampled
    assert spelled(language, node.ids[node.read + 1 :]) == f"{rating}<end_of_rating>"
    assert language.decode(sampled) == (None if forced else meta, neutralise(text))


@given(texts, st.lists(st.tuples(texts, metas, st.sampled_from(Rating)), max_size=5))
def test_a_path_reads_back_as_its_nodes(
    language: MarkedLanguage, problem: str, thoughts: list[tuple[str, Meta | None, Rating]]
) -> None:
    ids = language.root(problem)
    nodes = [MarkedNode(-1, 0, neutralise(problem), Meta.PROBLEM, Rating.UNKNOWN)]
    for depth, (text, meta, rating) in enumerate(thoughts, start=1):
        tokens = language.encode(text)
        ids += language.node(depth, tokens, forced_meta=meta, complete=False, shown=rating).ids
        nodes.append(MarkedNode(depth - 1, depth, neutralise(text), meta, rating))
    assert parse_tree(spelled(language, ids)) == nodes


@given(texts)
def test_text_never_yields_a_marker(language: MarkedLanguage, text: str) -> None:
    vocabulary = language.tokenizer.get_vocab()
    forbidden = {vocabulary[m] for m in (*MARKERS, "<pad>")} | number_ids(language)
    assert not forbidden & set(language.encode(text))
    honest, hostile = language.root("honest"), language.root(text)
    assert [i for i in hostile if i in forbidden] == [i for i in honest if i in forbidden]


@given(texts)
def test_the_tokenizer_is_lossless(language: MarkedLanguage, text: str) -> None:
    assert language.decode(language.encode(text)) == (None, neutralise(text))


@given(no_digits, st.integers(0, 60), no_digits)
def test_a_number_is_one_token_wherever_it_stands(
    language: MarkedLanguage, before: str, number: int, after: str
) -> None:
    (token,) = language.encode(str(number))
    ids = language.encode(f"{before}{number}{after}")
    index = ids.index(token)
    assert language.decode(ids[:index])[1] == neutralise(before)
    assert language.decode(ids[index + 1 :])[1] == neutralise(after)


def test_node_numbers_share_no_token_with_operands(language: MarkedLanguage) -> None:
    operands = {i for n in range(-1, 100) for i in language.encode(f"{n}+{n} {n}")}
    numbers = [i for depth in range(64) for i in language.opening(depth)]
    assert number_ids(language) <= set(numbers)
    assert not operands & set(numbers)


def test_the_grammar_allows_exactly_the_words_and_what_the_place_takes(
    tiny: LanguageModel, language: MarkedLanguage
) -> None:
    size = len(tiny.tokenizer) + 9  # a model's logits may be wider than its vocabulary
    mask = language.grammar(size)
    assert mask.shape == (len(Role), size)
    words = set(tiny.tokenizer.get_vocab().values()) - set(
        tiny.tokenizer.get_added_vocab().values()
    )
    expected = {
        Role.INSIDE: words | {language.thought_end},
        Role.FIRST: words | {language.meta(meta) for meta in METAS},
        Role.WORDS: words,
    }
    for role, allowed in expected.items():
        assert set(mask[role].nonzero().flatten().tolist()) == allowed


def test_the_grammar_offers_only_the_allowed_meta_actions(tiny: LanguageModel) -> None:
    two = tiny.language([Meta.CRITIC, Meta.CONCLUSION])
    offered = two.grammar(len(tiny.tokenizer))[Role.FIRST]
    assert [meta for meta in METAS if offered[two.meta(meta)]] == [Meta.CRITIC, Meta.CONCLUSION]


@given(st.data())
def test_whatever_the_grammar_allows_is_one_thought(
    language: MarkedLanguage, data: st.DataObject
) -> None:
    mask = language.grammar(len(language.tokenizer))
    options = [row.nonzero().flatten().tolist() for row in mask]
    first = data.draw(st.sampled_from(options[Role.FIRST]))
    rest = data.draw(st.lists(st.sampled_from(options[Role.INSIDE]), max_size=6))
    rest = [i for i in rest if i != language.thought_end]
    ids = language.node(
        1, [first, *rest], forced_meta=None, complete=False, shown=Rating.POSITIVE
    ).ids
    meta, text = language.decode([first, *rest, language.thought_end])
    _, node = parse_tree(spelled(language, [*language.root("p"), *ids]))
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
    language: MarkedLanguage, show_ratings: bool
) -> None:
    marked = language.supervised(TREE, show_ratings=show_ratings, rating_weight=4.0)
    inputs, labels, weights = [], [], []
    for node in TREE:
        rating = node.rating or Rating.UNKNOWN
        known = rating is not Rating.UNKNOWN
        father = ["<start_of_father_id>", f"<id_{node.father}>", "<end_of_father_id>"]
        local = ["<start_of_local_id>", f"<id_{node.local}>", "<end_of_local_id>"]
        header = language.tokenizer.convert_tokens_to_ids([*father, *local, "<start_of_thought>"])
        thought = [language.meta(node.meta)] if node.meta else []
        thought += [*language.encode(node.text), language.thought_end]
        inputs += [*header, *thought, *language.closing(rating if show_ratings else Rating.UNKNOWN)]
        labels += [*header, *thought, *language.closing(rating)]
        weights += [0.0] * len(header) + [1.0] * len(thought) + [0.0, 4.0 * known, 0.0]
    assert marked.inputs == inputs
    assert marked.labels == labels
    assert marked.weights == weights


def test_supervised_text_is_written_as_a_path_is(
    language: MarkedLanguage, arithmetic: Arithmetic
) -> None:
    for tree in arithmetic.demonstrations(0, 20):
        path = language.root(tree[0].text)
        for depth, node in enumerate(tree[1:], start=1):
            sampled = [*language.encode(node.text), language.thought_end]
            path += language.node(
                depth, sampled, forced_meta=node.meta, complete=True, shown=node.rating
            ).ids
        assert language.supervised(tree, show_ratings=True, rating_weight=1.0).inputs == path
