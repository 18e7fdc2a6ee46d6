"""OmegaPRM's search against a linear scan and a replay, on an engine whose slips are known."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fake_engine import BY_EQUALITY, FakeEngine, thought
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from llamao1_cli.cli.main import app
from llamao1_cli.config import SearchConfig, ValueHeadConfig
from llamao1_cli.config.file import load_config
from llamao1_cli.engine.protocol import Request, Thought
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.reward import commands as reward
from llamao1_cli.reward.pairs import held_out
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.rules.omega import Omega, completion_score, label
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.search.tree_files import read_trees
from llamao1_cli.seeds import derive_seed
from llamao1_cli.selfplay import player
from llamao1_cli.tasks.arithmetic import Arithmetic
from llamao1_cli.tasks.problem import Problem
from llamao1_cli.value.head import HEAD_FILE, ValueHead
from llamao1_cli.value.head_training import HeadTrainer, examples_of

TINY = str(Path(__file__).parents[2] / "configs" / "tiny.yaml")
CONFIG = SearchConfig(rollout=True, max_depth=9)


class Stumbling(FakeEngine):
    """Every second completion of a sound prefix slips at some step; a slip is never made good."""

    def __init__(self, language: MarkedLanguage, batch: int) -> None:
        super().__init__(language, batch=batch)
        self._asked = Counter[tuple[int, ...]]()

    def _chain(self, request: Request) -> list[Thought]:
        rng = np.random.default_rng(request.seed)
        path = tuple(request.path)
        self._asked[path] += 1
        slipped = "slip" in self._language.tokenizer.decode(path)
        length = int(rng.integers(1, len(request.metas) + 1))
        slip = -1 if slipped or self._asked[path] % 2 else int(rng.integers(length))
        chain = []
        for step in range(length):
            text = f"slip {rng.integers(9)}" if step == slip else f"step {rng.integers(9)}"
            slipped |= step == slip
            if step == length - 1:
                text += f" \\boxed{{{8 if slipped else 7}}}"
            chain.append(thought(self._language, rng, text, float(rng.random())))
        return chain


def hunted(language: MarkedLanguage, seeds: list[int], rule: Omega, batch: int = 3) -> list[Tree]:
    problems = [Problem(f"p{seed}", f"How many are {seed}?", "7") for seed in seeds]
    engine = Stumbling(language, batch)
    return grow(
        SearchRequest(problems, CONFIG, seeds, rewards=BY_EQUALITY, rule=rule), engine, language
    )


def slipped(tree: Tree, node: Node) -> bool:
    return any("slip" in step.thought.text for step in tree.path(node)[1:])


def replay(tree: Tree, completions: int, searches: int) -> tuple[list[int], dict[int, float]]:
    """The first wrong steps, and the values measured, by a linear scan of each wrong completion."""
    values: dict[int, float] = {}
    visits: dict[int, int] = {}
    pool: list[tuple[int, list[int]]] = []

    def measure(prefix: int) -> None:
        firsts = tree.nodes[prefix].children
        firsts = firsts if prefix == 0 else firsts[1:]  # the first goes on with its own completion
        assert len(firsts) == completions
        ways = []
        for first in firsts:
            way = [first]
            while tree.nodes[way[-1]].children:
                way.append(tree.nodes[way[-1]].children[0])
            ways.append(way)
        ways.sort(key=lambda way: absorbed.index(way[-1]))
        right = [tree.nodes[way[-1]].outcome for way in ways]
        values[prefix], visits[prefix] = sum(right) / completions, 0
        if any(right):
            pool.extend((prefix, way) for way, good in zip(ways, right, strict=True) if not good)

    absorbed = [node.id for node in tree.nodes if not node.children]
    measure(0)
    found = []
    for _ in range(searches):
        if not pool:
            break
        total = sum(visits.values())
        scores = [
            0.5 ** (1 - values[prefix])
            * 0.9 ** (sum(len(tree.nodes[i].thought.ids) for i in way) / 500)
            + 0.125 * math.sqrt(total) / (1 + visits[prefix])
            for prefix, way in pool
        ]
        prefix, way = pool.pop(scores.index(max(scores)))
        visits[prefix] += 1
        wrong = next(index for index, i in enumerate(way) if "slip" in tree.nodes[i].thought.text)
        found.append(way[wrong])
        low, high = -1, len(way) - 1
        while high - low > 1:
            middle = (low + 1 + high + 1) // 2 - 1
            measure(way[middle])
            low, high = (middle, high) if middle < wrong else (low, middle)
    return found, values


@given(
    seed=st.integers(0, 10**6),
    completions=st.sampled_from([2, 4]),
    searches=st.integers(0, 5),
    batch=st.integers(1, 9),
)
def test_searches_find_what_a_linear_scan_finds(
    language: MarkedLanguage, seed: int, completions: int, searches: int, batch: int
) -> None:
    rule = Omega(completions, searches, CONFIG.max_depth)
    trees = hunted(language, [seed, seed + 1, seed + 2], rule, batch)
    for tree in trees:
        found, values = replay(tree, completions, searches)
        assert [node.id for node in rule.first_wrong_steps(tree)] == found
        label(tree)
        for node in tree.nodes:
            if node.id in values:
                assert values[node.id] == (0.0 if slipped(tree, node) else 0.5)
                assert (node.target, node.leaves) == (values[node.id], completions)
            elif not node.children:
                assert (node.target, node.leaves) == (float(node.outcome), 1)
            else:
                below = [tree.nodes[i] for i in node.children]
                assert node.target == pytest.approx(np.mean([child.target for child in below]))
                assert node.leaves == sum(child.leaves for child in below)


def test_a_search_measures_no_more_prefixes_than_halving_needs(language: MarkedLanguage) -> None:
    rule = Omega(2, 1, CONFIG.max_depth)
    trees = hunted(language, list(range(40)), rule)
    lengths = []
    for tree in trees:
        (wrong,) = rule.first_wrong_steps(tree)
        measured = [node for node in tree.nodes[1:] if len(node.children) > 1]
        (first,) = (way for way in chains(tree) if wrong in way)
        assert len(measured) <= math.ceil(math.log2(len(first)))
        lengths.append(len(first))
    assert max(lengths) >= 8


def chains(tree: Tree) -> list[list[Node]]:
    """The first completions, from the root down."""
    ways = []
    for child in tree.children(tree.root):
        way = [child]
        while way[-1].children:
            way.append(tree.nodes[way[-1].children[0]])
        ways.append(way)
    return ways


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 9))
def test_trees_searched_together_are_those_searched_alone(
    language: MarkedLanguage, seed: int, batch: int
) -> None:
    problems = [Problem(f"p{number}", f"How many are {number}?", "7") for number in range(3)]
    seeds = [seed, seed + 1, seed + 2]

    def search(numbers: Sequence[int], batch: int) -> tuple[list[Tree], int]:
        rule, engine = Omega(3, 3, CONFIG.max_depth), FakeEngine(language, batch=batch)
        request = SearchRequest(
            [problems[number] for number in numbers],
            CONFIG,
            [seeds[number] for number in numbers],
            rule=rule,
            rewards=BY_EQUALITY,
        )
        trees = grow(request, engine, language)
        return trees, rule.found

    together, found = search(range(3), batch)
    alone = [search([number], 1) for number in range(3)]
    assert together == [trees[0] for trees, _ in alone]
    assert found == sum(count for _, count in alone)


def test_labels_are_value_targets(language: MarkedLanguage) -> None:
    rule = Omega(2, 2, CONFIG.max_depth)
    trees = hunted(language, [1, 2, 3], rule)
    for tree in trees:
        label(tree)
        assert Tree.from_json(tree.to_json()) == tree
    examples = examples_of(trees)
    assert examples.supervision.targets.tolist() == [
        node.target for tree in trees for node in tree.nodes
    ]


def test_the_command_line_learns_from_what_the_search_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command, but for an engine that slips where the trees show it."""
    problems = [Problem(str(n), f"How many are {n}?", "7") for n in range(8)]
    monkeypatch.setattr(
        player, "make_engine", lambda settings, model, language, **_: Stumbling(language, 5)
    )
    monkeypatch.setattr(Arithmetic, "train_problems", lambda self, *_: problems)
    out, figures = tmp_path / "judge", tmp_path / "figures.json"
    omega = "reward.omega={completions: 2, searches: 3}"
    options = ["--set", omega, "--set", "search.max_depth=9", "--set", "reward.held_out=0.5"]
    app(
        ["reward", "train", "--config", TINY, "--kind", "values", *options, "--out", str(out)],
        standalone_mode=False,
    )
    trees = read_trees(out / "trees" / "iteration-000001.jsonl", None)
    assert [tree.problem for tree in trees] == problems
    searched = [replay(tree, 2, 3) for tree in trees]
    for tree, (_, values) in zip(trees, searched, strict=True):
        measured = {node.id: node.target for node in tree.nodes if node.visits}
        assert measured == values
        assert all(values[i] == (0.0 if slipped(tree, tree.nodes[i]) else 0.5) for i in values)
    total = sum(len(found) for found, _ in searched)
    assert f" {total} first wrong steps" in capsys.readouterr().out
    assert total >= 8
    app(["reward", "eval", "--reward", str(out), "--json", str(figures)], standalone_mode=False)
    result = json.loads(figures.read_text())
    test = [tree for tree in trees if held_out(tree.problem.text, 0, 0.5)]
    assert result["trees"] == len(test) < 8
    assert result["value"]["n"] == sum(len(list(tree.leaf_nodes())) for tree in test)
    head = ValueHead(32, derive_seed(0, "value head"))
    HeadTrainer(head, ValueHeadConfig()).learn([t for t in trees if t not in test], 1)
    taken = load_file(out / "model" / HEAD_FILE)
    assert all((taken[name] == weight).all() for name, weight in head.state_dict().items())


def test_step_values_have_one_source(tmp_path: Path) -> None:
    config = load_config(Path(TINY), ["reward.omega={}"])
    with pytest.raises(UserError, match=r"--trees: reward\.omega measures step values of its own"):
        reward.train(config, None, "values", tmp_path, tmp_path / "judge")
    with pytest.raises(UserError, match=r"--trees is missing: .* or set reward\.omega"):
        reward.train(load_config(Path(TINY)), None, "values", None, tmp_path / "judge")


def test_a_prefix_without_room_is_worth_nothing(language: MarkedLanguage) -> None:
    engine = FakeEngine(language, full=lambda request: True)
    rule = Omega(4, 3, CONFIG.max_depth)
    (tree,) = grow(
        SearchRequest([Problem("p", "?", "7")], CONFIG, [0], rewards=BY_EQUALITY, rule=rule),
        engine,
        language,
    )
    label(tree)
    assert (tree.root.target, rule.first_wrong_steps(tree)) == (0.0, [])


def test_scores_by_hand() -> None:
    assert completion_score(0.5, 100, 0, 0) == pytest.approx(0.5**0.5 * 0.9**0.2)
    assert completion_score(1.0, 0, 3, 16) == pytest.approx(1 + 0.125 * 4 / 4)
