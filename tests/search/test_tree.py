"""Trees as JSON, as tokens and as marked text."""

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from fake_engine import random_tree
from hypothesis import assume, given
from hypothesis import strategies as st

from llamao1_cli.engine.protocol import Thought
from llamao1_cli.language.marked import METAS, Meta, Rating, neutralise, parse_tree, render_tree
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.tree import Node, Tree, node_tokens
from llamao1_cli.tasks.problem import Problem

FLOATS = st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 5e-324, math.inf, -math.inf])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["\u2028line", 'quote " and \\', "<critic> pretends", "日本語 🧮", "\x00\x1f"]
)
PROBLEMS = st.builds(Problem, TEXTS, TEXTS, TEXTS)


@st.composite
def thoughts(draw: st.DrawFn) -> Thought:
    ids = draw(st.lists(st.integers(0, 2**31 - 1), max_size=4))
    figures = [draw(st.lists(FLOATS, min_size=len(ids), max_size=len(ids))) for _ in range(3)]
    return Thought(
        draw(st.none() | st.sampled_from(METAS)),
        draw(TEXTS),
        ids,
        *figures,
        forced_meta=draw(st.booleans()),
        complete=draw(st.booleans()),
        rating=draw(FLOATS),
        shown=draw(st.sampled_from(Rating)),
    )


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    tree = Tree.plant(draw(PROBLEMS), draw(st.integers(0, 2**62)), draw(FLOATS))
    for new in draw(st.lists(thoughts(), max_size=6)):
        node = tree.attach(tree.nodes[draw(st.integers(0, len(tree.nodes) - 1))], [new])[0]
        node.value = draw(FLOATS)
        node.closed, node.visits = draw(st.booleans()), draw(st.integers(0, 9))
        if (reward := draw(st.none() | st.floats(0, 1))) is not None:
            node.earn(reward, draw(st.floats(0.1, 1)))
        node.target, node.value_sum = draw(st.none() | FLOATS), draw(FLOATS)
        node.leaves = draw(st.integers(0, 9))
    tree.iteration, tree.expansions = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    return tree


@given(trees())
def test_json_round_trip(tree: Tree) -> None:
    text = json.dumps(tree.to_json())
    again = Tree.from_json(json.loads(text))
    assert again == tree
    assert json.dumps(again.to_json()) == text  # -0.0 too
    assert all(isinstance(n.thought.meta, Meta | None) for n in again.nodes)


JUNK: list[Any] = [None, "x", -1, 7, 1.5, True, [], {}, [None], {"a": 1}, "<critic>", 10**30]


def key_paths(value: Any, at: tuple = ()) -> list[tuple]:
    if not isinstance(value, dict | list):
        return [at]
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [at, *[keys for key, item in inner for keys in key_paths(item, (*at, key))]]


def use(tree: Tree, language: MarkedLanguage) -> None:
    """What reading programs do with a tree."""
    assert tree.root.depth == 0
    for node in tree.nodes:
        tree.path_ids(node, language)
        language.decode(node.thought.ids)
    render_tree(tree.marked())
    tree.to_json()


@given(seed=st.integers(0, 99), data=st.data())
def test_a_broken_tree_raises_value_error_or_is_still_a_tree(
    language: MarkedLanguage, seed: int, data: st.DataObject
) -> None:
    whole = json.loads(json.dumps(random_tree(language, seed, 5).to_json()))
    keys = data.draw(st.sampled_from(key_paths(whole)))
    assume(keys)
    holder = whole
    for key in keys[:-1]:
        holder = holder[key]
    if data.draw(st.booleans()):
        holder[keys[-1]] = data.draw(st.sampled_from(JUNK))
    else:
        del holder[keys[-1]]
    tree = None
    with suppress(ValueError):
        tree = Tree.from_json(whole)
    if tree is not None:
        use(tree, language)


@pytest.mark.parametrize("junk", JUNK)
def test_what_is_no_tree_at_all(junk: Any) -> None:
    with pytest.raises(ValueError, match="not a tree"):
        Tree.from_json(junk)


def broken(change: Any) -> dict[str, Any]:
    tree = Tree.plant(Problem("p", "How many?", "7"), 0, 0.5)
    tree.attach(tree.root, [Thought(None, "a", shown=Rating.UNKNOWN)] * 2)
    data = tree.to_json()
    change(data["nodes"])
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda nodes: nodes.clear(), "root"),
        (lambda nodes: nodes[1].update(parent="x"), "parent"),
        (lambda nodes: nodes[1].update(parent=2), "out of order"),
        (lambda nodes: nodes[1].update(parent=-1), "out of order"),
        (lambda nodes: nodes[2].update(parent=None), "out of order"),
        (lambda nodes: nodes[2].update(id=1), "out of order"),
        (lambda nodes: nodes[0].update(id=1), "out of order"),
        (lambda nodes: nodes[0].update(children=[2]), "wrong children"),
        (lambda nodes: nodes[2].update(depth=1), "wrong depth"),
        (lambda nodes: nodes[2]["thought"].update(ids=[5]), "broken tokens"),
        (lambda nodes: nodes[2]["thought"].update(meta="<boast>"), "meta"),
        (lambda nodes: nodes[2]["thought"].update(shown="good"), "shows no rating"),
    ],
)
def test_broken_links_are_named(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^not a tree.*{message}.*$") as raised:
        Tree.from_json(broken(change))
    assert "\n" not in str(raised.value)


def written(language: MarkedLanguage, depth: int, node: Node) -> list[int]:
    """A node's tokens spelled out from the language's text."""
    header = f"<start_of_father_id>{depth - 1}<end_of_father_id>"
    header += f"<start_of_local_id>{depth}<end_of_local_id><start_of_thought>"
    known = language.tokenizer.get_vocab()
    parts = header.replace("<", "\n<").replace(">", ">\n").split("\n")
    ids = [known.get(f"<id_{p}>", known.get(p)) for p in parts if p]
    forced = [known[node.thought.meta]] if node.thought.forced_meta else []
    end = [] if node.thought.complete else [known["<end_of_thought>"]]
    rating = [known[m] for m in ("<start_of_rating>", node.thought.shown, "<end_of_rating>")]
    return [*ids, *forced, *node.thought.ids, *end, *rating]


def test_path_ids_join_the_nodes_as_they_were_sampled(language: MarkedLanguage) -> None:
    for seed in range(10):
        tree = random_tree(language, seed, 15)
        for node in tree.nodes:
            expected = language.root(tree.problem.text)
            for depth, step in enumerate(tree.path(node)[1:], start=1):
                expected = expected + written(language, depth, step)
                made = node_tokens(tree, step, language)
                tokens, offset = made.ids, made.sampled
                assert tokens == written(language, depth, step)
                assert tokens[offset : offset + len(step.thought.ids)] == step.thought.ids
            assert tree.path_ids(node, language) == expected


def test_paths_do_not_change_while_search_changes_statistics(language: MarkedLanguage) -> None:
    tree = random_tree(language, 3, 10)
    before = [tree.path_ids(node, language) for node in tree.nodes]
    for node in tree.nodes:
        node.visits, node.value_sum, node.target = node.visits + 5, 0.0, 0.0
    assert [tree.path_ids(node, language) for node in tree.nodes] == before


@given(trees())
def test_marked_text_parses_to_the_same_nodes(tree: Tree) -> None:
    nodes = parse_tree(render_tree(tree.marked()))
    assert [n.local for n in nodes] == list(range(len(tree.nodes)))
    assert nodes[0].father == -1
    assert nodes[0].rating is None
    for node, parsed in zip(tree.nodes, nodes, strict=True):
        assert parsed.text == neutralise(node.thought.text)
        assert parsed.meta == node.thought.meta
        if node.parent is not None:
            assert parsed.father == node.parent
            positive = node.thought.rating >= 0.5
            assert parsed.rating == (Rating.POSITIVE if positive else Rating.NEGATIVE)


def test_attach_finds_answers_and_links() -> None:
    tree = Tree.plant(Problem("p", "How many?", "7"), 0, 0.5)
    texts = ["Let us think.", "3+4=7", "The answer is \\boxed{7}."]
    chain = [Thought(None, text, shown=Rating.UNKNOWN) for text in texts]
    nodes = tree.attach(tree.root, chain)
    assert [node.answer for node in nodes] == [None, None, "7"]
    assert [node.terminal for node in nodes] == [False, False, True]
    assert [(node.id, node.parent, node.depth) for node in nodes] == [
        (1, 0, 1),
        (2, 1, 2),
        (3, 2, 3),
    ]
    assert tree.attach(tree.root, []) == []
    assert list(tree.leaf_nodes()) == nodes[2:]


def test_figures_of_a_node() -> None:
    node = Node(1, 0, 1, Thought(None, "a", rating=0.9), 0.3)
    assert (node.mean_value, node.likelihood, node.varentropy) == (0.3, 1.0, 0.0)
    node.thought.logprobs, node.thought.varentropy = [-1.0, -3.0], [0.5, 1.0]
    assert node.likelihood == pytest.approx(math.exp(-2.0))
    assert node.varentropy == 0.75
    node.visits, node.value_sum = 2, 0.0
    assert node.mean_value == 0.0


def test_a_tree_of_another_format_is_refused_in_one_sentence(language: MarkedLanguage) -> None:
    data = random_tree(language, 1).to_json()
    del data["format"]  # as the first format had none
    with pytest.raises(ValueError, match="of format 1, and this version of llamao1 reads 3"):
        Tree.from_json(data)
