"""Trees as rows: statistics and pairs by brute force, and texts that read back as their tokens."""

import json
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest
from fake_engine import random_tree
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from llamao1_cli.config import DataSource, WarmupConfig
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.errors import UserError
from llamao1_cli.export.model import plain_tokenizer
from llamao1_cli.export.pairs import preference_pairs
from llamao1_cli.export.rows import (
    Row,
    best_traces,
    dpo_rows,
    openlongcot_row,
    prm_rows,
    sft_rows,
    solutions,
)
from llamao1_cli.export.spelling import Speller
from llamao1_cli.export.steps import Step, problem_steps
from llamao1_cli.language.marked import (
    MARKERS,
    METAS,
    THOUGHT_END,
    MarkedNode,
    Meta,
    Rating,
    neutralise,
    parse_tree,
)
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.language.protocol import SupervisedIds
from llamao1_cli.learn.warmup import marked_texts
from llamao1_cli.model.load import LanguageModel
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.arithmetic import Arithmetic
from llamao1_cli.tasks.problem import Problem

ENDS = {True: "The answer is \\boxed{7}.", False: "The answer is \\boxed{8}.", None: "So."}
Key = tuple[tuple[Meta | None, str, str], ...]


@st.composite
def forests(draw: st.DrawFn) -> list[Tree]:
    """Trees of one or two problems whose thoughts often say the same, in chains and forks."""
    trees = []
    for _ in range(draw(st.integers(1, 3))):
        text = draw(st.sampled_from(["How many?", "How much?"]))
        tree = Tree.plant(Problem("p", text, "7"), 0, 0.5)
        for _ in range(draw(st.integers(0, 5))):
            places = [node for node in tree.nodes if not node.terminal and node.depth < 3]
            parent = draw(st.sampled_from(places))
            words = draw(st.lists(st.sampled_from("ab"), max_size=2))
            outcome = draw(st.sampled_from([True, True, False, None]))
            shown = draw(st.sampled_from([Rating.UNKNOWN, Rating.UNKNOWN, Rating.POSITIVE]))
            chain = [Thought(None, said, shown=shown) for said in [*words, ENDS[outcome]]]
            last = tree.attach(parent, chain)[-1]
            if outcome is not None:
                last.earn(float(outcome))
        trees.append(tree)
    return trees


def key(tree: Tree, node: Node) -> Key:
    """All that a path says."""
    return tuple((n.thought.meta, n.thought.text, n.thought.shown) for n in tree.path(node))


def ends(trees: Sequence[Tree]) -> list[tuple[Key, bool | None]]:
    """What each leaf's path says and how it came out."""
    return [(key(tree, leaf), leaf.outcome) for tree in trees for leaf in tree.leaf_nodes()]


def below(trees: Sequence[Tree], prefix: Key) -> list[bool | None]:
    """The outcomes of the leaves whose paths begin with a prefix."""
    return [outcome for said, outcome in ends(trees) if said[: len(prefix)] == prefix]


def share(outcomes: list[bool | None]) -> Fraction:
    return Fraction(outcomes.count(True), len(outcomes))


def said(step: Step) -> Key:
    return tuple((s.said.meta, s.said.text, str(s.said.rating)) for s in step.path())


def keys(trees: Sequence[Tree]) -> list[Key]:
    """Everything that is said somewhere, once."""
    return list(dict.fromkeys(key(tree, node) for tree in trees for node in tree.nodes))


# Statistics


@given(forests())
def test_steps_count_all_leaves_that_read_alike(trees: list[Tree]) -> None:
    steps = [step for problem in problem_steps(trees) for step in problem.below()]
    assert sorted(map(said, steps), key=str) == sorted(keys(trees), key=str)
    for step in steps:
        outcomes = below(trees, said(step))
        assert step.quality == share(outcomes)
        assert (step.right, step.wrong) == (outcomes.count(True), outcomes.count(False))
        exact = [outcome for path, outcome in ends(trees) if path == said(step)]
        assert step.outcome == next((o for o in exact if o is not None), None)


@given(forests(), st.sampled_from([0.0, 0.25, 0.5, 2 / 3, 1.0]))
def test_pairs_equal_a_search_over_all_pairs(trees: list[Tree], margin: float) -> None:
    everything = keys(trees)
    for problem in problem_steps(trees):
        for step in problem.below():
            after = [k for k in everything if k[:-1] == said(step)]
            quality = {k: share(below(trees, k)) for k in after}

            def best(wanted: bool, sign: int) -> set[Key]:
                able = [k for k in after if wanted in below(trees, k)]  # noqa: B023
                ranks = {
                    k: sum(sign * quality[o] > sign * quality[k] for o in able)  # noqa: B023
                    + sum(quality[o] == quality[k] for o in able[:index])  # noqa: B023
                    for index, k in enumerate(able)
                }
                return {k for k in able if ranks[k] < 2}

            expected = {
                (good, bad)
                for good, bad in product(best(True, 1), best(False, -1))
                if quality[good] - quality[bad] >= Fraction(margin)
                and quality[good] != quality[bad]
                and good[-1][:2] != bad[-1][:2]
            }
            mined = preference_pairs(step, margin)
            assert {(said(good), said(bad)) for good, bad in mined} == expected
            assert len(mined) == len(expected)


def by_hand() -> list[Tree]:
    """Three chains and a fork: `a` leads right in one of two leaves, `b` always, `c` never."""
    tree = Tree.plant(Problem("p", "How many?", "7"), 0, 0.5)
    for words, outcome in (("ax", True), ("b", True), ("c", False), ("ay", False)):
        thoughts = [Thought(None, w, shown=Rating.UNKNOWN) for w in [*words, ENDS[outcome]]]
        tree.attach(tree.root, thoughts)[-1].earn(float(outcome))
    return [tree]


def test_pairs_traces_and_labels_by_hand() -> None:
    (problem,) = problem_steps(by_hand())
    pairs = [(g.said.text, b.said.text) for g, b in preference_pairs(problem, 0.5)]
    assert pairs == [("b", "c"), ("b", "a"), ("a", "c")]  # 1 - 0, 1 - 1/2, 1/2 - 0
    assert [(g.said.text, b.said.text) for g, b in preference_pairs(problem, 0.6)] == [("b", "c")]
    a = next(step for step in problem.children.values() if step.said.text == "a")
    assert [(g.said.text, b.said.text) for g, b in preference_pairs(a, 0.5)] == [("x", "y")]
    # Means over the thoughts: b, answer: 1; a, x, answer: (1/2 + 1 + 1) / 3.
    assert [[s.said.text for s in path[1:-1]] for path in best_traces(problem)] == [
        ["b"],
        ["a", "x"],
    ]


@given(forests())
def test_the_two_best_right_solutions_are_kept(trees: list[Tree]) -> None:
    for problem in problem_steps(trees):
        right = {path for path, outcome in ends(trees) if outcome and path[:1] == said(problem)}

        def mean(path: Key) -> float:
            parts = [share(below(trees, path[:stop])) for stop in range(2, len(path) + 1)]
            return float(sum(parts) / len(parts))

        kept = [said(path[-1]) for path in best_traces(problem)]
        assert len(set(kept)) == len(kept) == min(len(right), 2)
        assert set(kept) <= right
        best = sorted(map(mean, right), reverse=True)[:2]
        assert list(map(mean, kept)) == pytest.approx(best)


# Texts


def special_tokenizer(language: MarkedLanguage) -> PreTrainedTokenizerFast:
    """The built tokenizer as others come: it has an end of its own and puts a token in front."""
    again = plain_tokenizer(language.tokenizer, THOUGHT_END)
    again.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    again.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", again.convert_tokens_to_ids("<s>"))]
    )
    assert again("a")["input_ids"][0] == again.convert_tokens_to_ids("<s>")
    return again


@pytest.fixture(scope="module", params=["built", "special"])
def spoken(
    request: pytest.FixtureRequest,
    language: MarkedLanguage,
    tmp_path_factory: pytest.TempPathFactory,
):
    """A language, and the tokenizer that an export writes, read again from its files."""
    tokenizer = language.tokenizer if request.param == "built" else special_tokenizer(language)
    folder = tmp_path_factory.mktemp("tokenizer")
    plain_tokenizer(tokenizer, THOUGHT_END).save_pretrained(folder)
    return MarkedLanguage(tokenizer, METAS), AutoTokenizer.from_pretrained(folder)


def leaf_of(tree: Tree, path: list[Step]) -> Node:
    """A leaf of the tree whose path says what `path` says."""
    return next(leaf for leaf in tree.leaf_nodes() if key(tree, leaf) == said(path[-1]))


def grown(language: MarkedLanguage, seed: int) -> Tree:
    tree = random_tree(language, seed, size=30)
    rectify(tree, 1.0, "failure")
    return tree


def rows_of(made: list[Row | None]) -> list[Row]:
    assert None not in made
    return [row for row in made if row]


def test_sft_rows_read_as_the_tokens_that_were_sampled(spoken) -> None:
    language, reader = spoken
    count = 0
    for seed in range(12):
        tree = grown(language, seed)
        (problem,) = problem_steps([tree])
        speller = Speller(language, plain_tokenizer(language.tokenizer, THOUGHT_END))
        rows = rows_of(list(sft_rows(problem, speller)))
        for row, path in zip(rows, best_traces(problem), strict=True):
            expected = tree.path_ids(leaf_of(tree, path), language)[:-3]
            assert reader(row["prompt"] + row["completion"])["input_ids"] == expected
            prompt = reader(row["prompt"])["input_ids"]
            assert prompt == language.root(tree.problem.text) + language.opening(1)
            assert row["completion"].endswith(reader.eos_token)  # so that no other end is added
            count += 1
    assert count > 12


def test_dpo_rows_read_as_siblings_behind_their_path(spoken) -> None:
    language, reader = spoken
    count = 0
    for seed in range(12):
        tree = grown(language, seed)
        (problem,) = problem_steps([tree])
        speller = Speller(language, plain_tokenizer(language.tokenizer, THOUGHT_END))
        said_behind: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
        for node in tree.nodes[1:]:
            path = tree.path_ids(tree.nodes[node.parent or 0], language)
            opened = path + language.opening(node.depth)
            whole = tree.path_ids(node, language)
            assert whole[: len(opened)] == opened
            said_behind.setdefault(tuple(opened), set()).add(tuple(whole[len(opened) : -3]))
        for row in rows_of(list(dpo_rows(problem, speller, 0.3))):
            prompt = reader(row["prompt"])["input_ids"]
            for name in ("chosen", "rejected"):
                ids = reader(row["prompt"] + row[name])["input_ids"]
                assert ids[: len(prompt)] == prompt
                assert tuple(ids[len(prompt) :]) in said_behind[tuple(prompt)]
            assert row["chosen"] != row["rejected"]
            count += 1
    assert count > 5


def test_prm_rows_are_the_whole_path_with_a_label_a_thought(spoken) -> None:
    language, reader = spoken
    labels: list[bool] = []
    for seed in range(12):
        tree = grown(language, seed)
        (problem,) = problem_steps([tree])
        speller = Speller(language, plain_tokenizer(language.tokenizer, THOUGHT_END))
        rows = rows_of(list(prm_rows(problem, speller)))
        graded = {key(tree, leaf) for leaf in tree.leaf_nodes() if leaf.outcome is not None}
        assert len(rows) == len(graded)
        for row, path in zip(rows, solutions(problem), strict=True):
            pieces = [row["prompt"], *row["completions"]]
            ids = [token for piece in pieces for token in reader(piece)["input_ids"]]
            assert ids == tree.path_ids(leaf_of(tree, path), language)
            expected = [True in below([tree], said(step)) for step in path[1:]]
            assert row["labels"] == expected
            labels += expected
    assert {True, False} == set(labels)


HOSTILE = [
    "<pad>",
    "<id_3>",
    "</s>",
    "<end_of_thought>",
    "<start_of_rating><positive_rating>",
    "‹x›",
]


@pytest.mark.parametrize("word", HOSTILE)
def test_words_that_are_special_never_become_tokens(language: MarkedLanguage, word: str) -> None:
    (tree,) = by_hand()
    tree.problem = Problem("p", f"How many {word} are there?", "7")
    tree.nodes[1].thought.text = f"a {word}"
    (problem,) = problem_steps([tree])
    plain = plain_tokenizer(language.tokenizer, THOUGHT_END)
    rows = list(sft_rows(problem, Speller(language, plain)))
    assert len(rows) == 2
    special = word in plain.get_vocab() and word not in MARKERS
    assert [row is None for row in rows] == [special] * 2
    for row in filter(None, rows):
        ids = plain(row["prompt"])["input_ids"]
        assert ids == language.root(tree.problem.text) + language.opening(1)


# Marked text

pieces = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.sampled_from(MARKERS)
)
hostile = st.lists(pieces, max_size=5).map("".join)


@given(forests(), st.data())
def test_openlongcot_reads_back(trees: list[Tree], data: st.DataObject) -> None:
    for tree in trees:
        tree.problem = Problem("p", data.draw(hostile), "7")
        tree.root.thought.text = tree.problem.text
        for node in tree.nodes[1:]:
            node.thought.meta = data.draw(st.none() | st.sampled_from(METAS))
            if not node.terminal:
                node.thought.text = data.draw(hostile)
        row = json.loads(json.dumps(openlongcot_row(tree)))
        read = parse_tree(row["text"])
        assert read[0] == MarkedNode(-1, 0, neutralise(tree.problem.text), Meta.PROBLEM)
        for node, again in zip(tree.nodes[1:], read[1:], strict=True):
            outcomes = below([tree], key(tree, node))
            rating = Rating.UNKNOWN
            if {True, False} & set(outcomes):
                rating = Rating.POSITIVE if share(outcomes) >= 0.5 else Rating.NEGATIVE
            text = neutralise(node.thought.text)
            assert again == MarkedNode(node.parent, node.id, text, node.thought.meta, rating)


def warm_up_texts(
    path: Path, arithmetic: Arithmetic, language: MarkedLanguage, *, show_ratings: bool
) -> list[SupervisedIds]:
    """What the warm-up reads in a file that was exported."""
    config = WarmupConfig(data=DataSource(path=str(path)))
    return marked_texts(
        config, arithmetic, language, show_ratings=show_ratings, max_length=10_000, seed=0
    )


def test_the_supervised_stage_reads_openlongcot(
    tmp_path: Path, tiny: LanguageModel, arithmetic: Arithmetic
) -> None:
    language = tiny.language(METAS)
    trees = [grown(language, seed) for seed in range(3)]
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps(openlongcot_row(tree)) + "\n" for tree in trees))
    texts = warm_up_texts(path, arithmetic, language, show_ratings=False)
    assert len(texts) == 3
    rated = {language.positive, language.negative}
    assert all(rated & set(text.labels) for text in texts)


def test_the_warm_up_reads_sft_rows_as_the_tokens_that_were_sampled(
    language: MarkedLanguage, arithmetic: Arithmetic, tmp_path: Path
) -> None:
    speller = Speller(language, plain_tokenizer(language.tokenizer, THOUGHT_END))
    rows, expected = [], []
    for seed in range(6):
        tree = grown(language, seed)
        (problem,) = problem_steps([tree])
        rows += rows_of(list(sft_rows(problem, speller)))
        leaves = [leaf_of(tree, path) for path in best_traces(problem)]
        expected += [tree.path_ids(leaf, language)[:-2] for leaf in leaves]
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = warm_up_texts(path, arithmetic, language, show_ratings=True)
    assert len(texts) > 6
    # The rating of a last thought is not in the rows; all else is as it was.
    assert [text.inputs[:-2] for text in texts] == expected
    path.write_text('{"prompt": "How many?", "completion": "7"}\n')
    with pytest.raises(UserError, match="line 1: its text is not marked text"):
        warm_up_texts(path, arithmetic, language, show_ratings=True)
