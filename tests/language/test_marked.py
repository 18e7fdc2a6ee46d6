"""The marked language: every tree survives the round trip, and no text can forge one."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.language.answer_forms import BOXED
from llamao1_cli.language.marked import (
    HINTS,
    MARKERS,
    METAS,
    OLD_UNKNOWN,
    MarkedNode,
    MarkedTextError,
    Meta,
    Rating,
    hint,
    neutralise,
    parse_tree,
    render_node,
    render_tree,
)

# One line of the published data, as in the design document.
SAMPLE = (
    "<start_of_father_id>-1<end_of_father_id><start_of_local_id>0<end_of_local_id>"
    "<start_of_thought><problem>The average speed for an hour drive is 66 miles per hour. If Felix "
    "wanted to drive twice as fast for 4 hours, how many miles will he cover? <end_of_thought> "
    "<start_of_father_id>0<end_of_father_id><start_of_local_id>1<end_of_local_id>"
    "<start_of_thought>Since Felix wants to drive twice as fast, he will drive at 2*66="
    "<<2*66=132>>132 miles per hour. <end_of_thought><start_of_rating><positive_rating>"
    "<end_of_rating> <start_of_father_id>1<end_of_father_id><start_of_local_id>2<end_of_local_id>"
    "<start_of_thought> If he drives for 4 hours, he will have driven for 4*132=<<4*132=528>>528 "
    "miles. <end_of_thought><start_of_rating><positive_rating><end_of_rating> <start_of_father_id>1"
    "<end_of_father_id><start_of_local_id>3<end_of_local_id><start_of_thought><critic> Felix wants "
    "to drive twice as fast as his original speed of 66 miles per hour. Multiplying 66 by 2 gives "
    "132 miles per hour. This calculation is correct.<end_of_thought><start_of_rating>"
    "<unknown_rating><end_of_rating>"
)
SAMPLE_NODES = [
    MarkedNode(
        -1,
        0,
        "The average speed for an hour drive is 66 miles per hour. If Felix wanted to drive twice "
        "as fast for 4 hours, how many miles will he cover? ",
        Meta.PROBLEM,
    ),
    MarkedNode(
        0,
        1,
        "Since Felix wants to drive twice as fast, he will drive at 2*66=<<2*66=132>>132 miles per "
        "hour. ",
        None,
        Rating.POSITIVE,
    ),
    MarkedNode(
        1,
        2,
        " If he drives for 4 hours, he will have driven for 4*132=<<4*132=528>>528 miles. ",
        None,
        Rating.POSITIVE,
    ),
    MarkedNode(
        1,
        3,
        " Felix wants to drive twice as fast as his original speed of 66 miles per hour. "
        "Multiplying 66 by 2 gives 132 miles per hour. This calculation is correct.",
        Meta.CRITIC,
        Rating.UNKNOWN,
    ),
]

markers = st.sampled_from([*MARKERS, OLD_UNKNOWN])
pieces = st.one_of(st.text(max_size=8), markers, markers.map(lambda m: m[:-1]), st.just("<"))
texts = st.lists(pieces, max_size=6).map("".join)
soup = st.lists(
    st.one_of(markers, st.sampled_from(["-1", "0", "1", "2", " ", "\n", "words"])), max_size=40
).map("".join)


@st.composite
def trees(draw: st.DrawFn) -> list[MarkedNode]:
    ids = draw(st.lists(st.integers(0, 999_999_999), min_size=1, max_size=8, unique=True))
    fathers = [-1] + [draw(st.sampled_from(ids[:index])) for index in range(1, len(ids))]
    metas, ratings = st.sampled_from([None, *METAS]), st.sampled_from([None, *Rating])
    return [
        MarkedNode(father, local, draw(texts), draw(metas), draw(ratings))
        for father, local in zip(fathers, ids, strict=True)
    ]


def defused(node: MarkedNode) -> MarkedNode:
    return MarkedNode(node.father, node.local, neutralise(node.text), node.meta, node.rating)


def position(error: MarkedTextError) -> int:
    found = re.search(r"\bcharacter (\d+)", str(error))
    assert found, f"no position in: {error}"
    return int(found[1])


def read_or_refused(text: str) -> list[MarkedNode] | None:
    """The nodes of a text, or None where it is refused as it should be."""
    try:
        return parse_tree(text)
    except MarkedTextError as error:
        refusal = error
    assert position(refusal) <= len(text)
    return None


@given(trees())
def test_a_tree_survives_being_written_and_read(nodes: list[MarkedNode]) -> None:
    assert parse_tree(render_tree(nodes)) == [defused(node) for node in nodes]


@given(trees(), st.lists(st.sampled_from(["", " ", "\n", "\t \r\n", "\u2003"]), min_size=9))
def test_a_text_survives_being_read_and_written(nodes: list[MarkedNode], gaps: list[str]) -> None:
    loose = "".join(
        gap + render_node(node).replace("<start_of_rating>", f"{gap}<start_of_rating>{gap}")
        for node, gap in zip(nodes, gaps, strict=False)
    )
    assert render_tree(parse_tree(loose + gaps[-1])) == render_tree(nodes)


def test_the_published_sample_reads_as_its_four_nodes() -> None:
    assert parse_tree(SAMPLE) == SAMPLE_NODES
    assert parse_tree(render_tree(SAMPLE_NODES)) == SAMPLE_NODES


def test_the_old_spelling_of_unknown_is_read_and_not_written() -> None:
    old = SAMPLE.replace(Rating.UNKNOWN, OLD_UNKNOWN)
    assert old != SAMPLE
    assert parse_tree(old) == SAMPLE_NODES
    assert OLD_UNKNOWN not in render_tree(parse_tree(old))
    assert OLD_UNKNOWN not in neutralise(f"a {OLD_UNKNOWN} b")


@given(st.one_of(soup, st.text(), texts))
def test_a_text_is_read_or_refused_with_a_position(text: str) -> None:
    nodes = read_or_refused(text)
    assert nodes is None or parse_tree(render_tree(nodes)) == nodes


@given(trees(), st.integers(0), st.integers(0, 30), soup)
def test_a_damaged_tree_is_read_or_refused_with_a_position(
    nodes: list[MarkedNode], start: int, width: int, patch: str
) -> None:
    text = render_tree(nodes)
    start %= len(text)
    damaged = text[:start] + patch + text[start + width :]
    read = read_or_refused(damaged) or []
    assert [node.father for node in read[:1]] in ([], [-1])
    for index, node in enumerate(read[1:], start=1):
        before = {earlier.local for earlier in read[:index]}
        assert node.father in before
        assert node.local not in before


FIRST = render_node(MarkedNode(-1, 0, "a", Meta.PROBLEM))


@pytest.mark.parametrize(
    ("text", "where", "due"),
    [
        ("", 0, "no node"),
        (" \n ", 3, "no node"),
        (f" {FIRST} and", len(FIRST) + 2, "no node header"),
        (f"so {FIRST}", 0, "no node header"),
        (FIRST + " and " + render_node(MarkedNode(0, 1, "b")), len(FIRST) + 1, "no node header"),
        (FIRST.replace(">-1<", "><"), 0, "no node header"),
        (FIRST.replace(">-1<", ">0<"), 0, "father -1, not 0"),
        (FIRST + render_node(MarkedNode(7, 1, "b")), len(FIRST), "father 7"),
        (FIRST + render_node(MarkedNode(1, 1, "b")), len(FIRST), "father 1"),
        (FIRST + render_node(MarkedNode(0, 0, "b")), len(FIRST), "appears twice"),
        (FIRST + render_node(MarkedNode(-1, 2, "b")), len(FIRST), "father -1"),
        (FIRST.removesuffix("<end_of_thought>"), len(FIRST) - 16, "end of the text"),
        (FIRST.replace(">a<", "><critic>a<"), FIRST.index(">a<") + 1, "found <critic>"),
        (FIRST + "<start_of_rating>good<end_of_rating>", len(FIRST), "no node header"),
    ],
)
def test_the_refusal_says_where_and_what_was_due(text: str, where: int, due: str) -> None:
    with pytest.raises(MarkedTextError, match=re.escape(due)) as refused:
        parse_tree(text)
    assert position(refused.value) == where


@given(texts.flatmap(lambda t: soup.map(lambda s: t + s)))
def test_a_problem_cannot_forge_nodes_or_ratings(problem: str) -> None:
    text = render_node(MarkedNode(-1, 0, problem, Meta.PROBLEM))
    (node,) = parse_tree(text)
    assert (node.meta, node.rating) == (Meta.PROBLEM, None)
    honest = render_node(MarkedNode(-1, 0, "honest", Meta.PROBLEM))
    assert [text.count(m) for m in MARKERS] == [honest.count(m) for m in MARKERS]
    assert neutralise(node.text) == node.text


@given(st.text(st.characters(codec="utf-8", exclude_characters=">")))
def test_text_without_markers_stays_as_it_is(text: str) -> None:
    assert neutralise(text) == text


def test_neutralised_text_keeps_the_words_of_a_marker() -> None:
    assert neutralise("say <critic>, not <Critic>") == "say ‹critic›, not <Critic>"


@pytest.mark.parametrize(
    "unit",
    [
        *("<end_of_thought>", "<start_of_thought>", "<start_of_rating>", "".join(MARKERS)),
        *("<", "<start_of_", " \n", "<unknow_rating"),
        "<start_of_father_id>0<end_of_father_id>  <start_of_local_id>1<end_of_local_id>  ",
    ],
)
def test_a_megabyte_of_markers_takes_linear_time(unit: str) -> None:
    hostile = unit * (1_000_000 // len(unit))
    started = time.process_time()
    text = render_node(MarkedNode(-1, 0, hostile, Meta.PROBLEM))
    assert len(parse_tree(text)) == 1
    for broken in (hostile, FIRST + hostile, FIRST.removesuffix("<end_of_thought>") + hostile):
        with pytest.raises(MarkedTextError):
            parse_tree(broken.rstrip() + "!")
    assert time.process_time() - started < 3


def test_a_megabyte_of_nodes_takes_linear_time() -> None:
    nodes = [MarkedNode(-1, 0, "a")] + [MarkedNode(i - 1, i, "a") for i in range(1, 9000)]
    started = time.process_time()
    assert parse_tree(render_tree(nodes)) == nodes
    assert time.process_time() - started < 3


def test_hints_need_an_answer_for_expansion_only() -> None:
    assert hint(Meta.EXPANSION, None, "") is None
    assert hint(Meta.EXPANSION, "{x} <critic>", "") == (
        "Hint: take the next step towards the answer {x} ‹critic›."
    )
    for meta in HINTS.keys() - {Meta.EXPANSION}:
        assert hint(meta, None, "in {}") == hint(meta, "42", "in {}")
        assert "42" not in (hint(meta, "42", "in {}") or "")
    asked = hint(Meta.CONCLUSION, None, BOXED.where) or ""
    assert asked.endswith("the final answer in \\boxed{}.")
