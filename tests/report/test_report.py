"""The run report: what is read, what is drawn, what is shown of trees, and what leaves the page."""

import io
import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from chance_engine import ChanceEngine
from command_line import InProcess
from fake_engine import BY_EQUALITY, FakeEngine, random_tree
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.console import Console
from run_folders import distinct_ways, evaluation, played, two_ways, write_run, write_tree

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked import Rating
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.report.chart import MOST_POINTS, Chart, Point, Series, thinned
from llamao1_cli.report.commands import write_report
from llamao1_cli.report.curves import charts
from llamao1_cli.report.draws import left_sibling, shared_text
from llamao1_cli.report.embedding import embedded
from llamao1_cli.report.frame import Frame, format_number, ticks
from llamao1_cli.report.kept import MetricsFile
from llamao1_cli.report.line_chart import draw_chart
from llamao1_cli.report.metric_rows import flat
from llamao1_cli.report.page import render
from llamao1_cli.report.reading import read_run
from llamao1_cli.report.run_summary import differing_keys, file_links
from llamao1_cli.report.shown_tree import MOST_TEXT, best_leaf, shown_tree, simulations
from llamao1_cli.report.tree_choice import forest
from llamao1_cli.report.tree_text import draw_tree
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.rules.mcts import Mcts
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem

HOSTILE = '</script><script>hacked=1</script><img src=x onerror="hacked=1">&\u2028\u2029{{ 7*7 }}'


# Reading


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "run",
        metrics=played(3),
        evaluations={0: evaluation(0.25), 3: evaluation(0.75)},
        trees={3: [two_ways("What is 3+4?")]},
    )
    (folder / "result.json").write_text(json.dumps(evaluation(0.5)))
    (folder / "note.json").write_text('{"mine": 1}')
    row = {"tokens": 100, "strategies": evaluation(0.5)["strategies"]}
    (folder / "eval" / "budget.json").write_text(json.dumps({"n": 9, "budgets": [row]}))
    run = read_run(folder, "run")
    assert [row["policy_loss"] for row in run.metrics["self-play"]] == [-0.125, -0.25, -0.375]
    assert {n: e.strategies["greedy"].accuracy for n, e in run.evaluations.items()} == {
        0: 0.25,
        3: 0.75,
    }
    assert [path.name for path in run.extra] == ["result.json"]
    assert [path.name for path in run.budgets] == ["budget.json"]
    assert list(run.trees) == [3]


def test_a_row_cut_off_while_it_was_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"stage": "self-play", "step": 1}\n{"stage": "self-pl')
    assert MetricsFile(path).read() == {"self-play": [{"stage": "self-play", "step": 1}]}
    assert MetricsFile(tmp_path / "none.jsonl").read() == {}


@pytest.mark.parametrize("line", ["{", "[]", '{"step": 1}', '{"stage": "a", "step": NaN}', "7"])
def test_a_broken_row_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"stage": "self-play", "step": 1}}\n{line}\n')
    with pytest.raises(UserError, match=r"metrics.jsonl line 2: not a row of metrics"):
        MetricsFile(path).read()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("eval/iteration-000001.json", "{", "not valid JSON"),
        ("eval/iteration-000001.json", '{"strategies": {}}', "task: Field required"),
        ("result.json", '{"strategies": 3}', "write it again with llamao1 eval"),
        ("eval/b.json", '{"n": 1, "budgets": [{"tokens": 0, "strategies": {}}]}', "budgets.0.tok"),
        (
            "result.json",
            json.dumps(evaluation(0.5, value={"auc": math.nan})),
            "value.auc: Input should be a finite number",
        ),
        ("trees/iteration-000001.jsonl", "{}\n", "line 1: not a tree"),
        ("trees/iteration-000001.jsonl", '{"problem": {"id": "p"}}\n', "line 1: not a tree"),
    ],
)
def test_a_broken_file_is_one_clear_error(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    folder = write_run(tmp_path / "run")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=re.escape(name)) as caught:
        write_report([folder], None)
    assert message in str(caught.value)


# Curves


def test_charts_hold_the_numbers_of_the_files(tmp_path: Path) -> None:
    rows = played(5)
    folder = write_run(
        tmp_path / "run", metrics=rows, evaluations={0: evaluation(0.25), 5: evaluation(0.75)}
    )
    drawn = {chart.title: chart for chart in charts([read_run(folder, "run")])}
    (line,) = drawn["Policy loss"].series
    assert line.points == [Point(row["step"], row["policy_loss"]) for row in rows[1:]]
    (line,) = drawn["Tokens a second"].series
    assert [point.y for point in line.points] == [250.0, 500.0, 750.0, 1000.0, 1250.0]
    (line,) = drawn["Accuracy, greedy"].series
    assert line.points == [Point(0, 0.25, 0.15, 0.35), Point(5, 0.75, 0.65, 0.85)]
    assert "Accuracy, majority@8" not in drawn  # two evaluations are no curve
    assert drawn["seconds.spent"].group == "Other"
    assert drawn["Loss"].series[0].points == [Point(1, 6.5)]


def test_what_is_played_has_curves(tmp_path: Path) -> None:
    counts = {"played_problems": 6.0, "signal_problems": 4.0, "level": 2.0}
    rows = [row | counts for row in played(3)]
    drawn = charts([read_run(write_run(tmp_path / "run", metrics=rows), "run")])
    shown = {chart.title: chart for chart in drawn if chart.group == "Problems"}
    assert [*shown] == ["Played problems", "Problems with a signal", "Level"]
    heights = [{point.y for point in chart.series[0].points} for chart in shown.values()]
    assert heights == [{6.0}, {4.0}, {2.0}]
    assert not {*counts} & {chart.title for chart in drawn}


def test_a_line_keeps_its_runs_style_where_another_run_has_none(tmp_path: Path) -> None:
    empty, full = write_run(tmp_path / "a"), write_run(tmp_path / "b", metrics=played(2))
    for chart in charts([read_run(empty, "a"), read_run(full, "b")]):
        assert [(line.name, line.style) for line in chart.series] == [("b", 1)]


def test_only_finite_numbers_are_drawn() -> None:
    row = {"stage": "self-play", "step": 1, "a": math.nan, "b": {"c": math.inf, "d": 2, "e": 1e301}}
    assert flat(row) == {"step": 1, "b.d": 2}


@given(count=st.integers(1, 3000))
def test_a_thinned_line_keeps_its_ends_and_its_order(count: int) -> None:
    points = [Point(x, x * x) for x in range(count)]
    kept = thinned(points)
    assert len(kept) == min(count, MOST_POINTS)
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert kept == sorted({*kept})
    assert {*kept} <= {*points}


@given(low=st.floats(-1e6, 1e6), spread=st.floats(0, 1e6))
def test_ticks_are_round_and_reach_around_the_data(low: float, spread: float) -> None:
    assume(spread == 0 or spread > 1e-6 * abs(low))  # finer ones are a matter of rounding
    found = ticks(low, low + spread)
    steps = np.diff(found)
    unseen = 1e-8 * (steps[0] + abs(low))  # far less than a line is wide
    assert found[0] <= low + unseen
    assert found[-1] >= low + spread - unseen
    assert 1 <= len(steps) <= 8
    assert steps == pytest.approx(np.full(len(steps), steps[0]), rel=1e-6)
    mantissa = float(f"{steps[0]:.3e}".split("e")[0])
    assert mantissa in (1.0, 2.0, 2.5, 5.0)


def test_labels() -> None:
    shown = [format_number(each) for each in (0.0, 0.4041, 12345.6, 5e-5, 2.237e-5, 1.0)]
    assert shown == ["0", "0.4041", "12,346", "5e-5", "2.24e-5", "1"]


def test_a_frame_puts_data_where_its_axes_say() -> None:
    frame = Frame((0, 10), (0, 1), width=120, height=70, left=10, right=10, top=10, bottom=10)
    assert (frame.across(0), frame.across(5), frame.across(10)) == (10, 60, 110)
    assert (frame.up(0), frame.up(0.5), frame.up(1), frame.up(7)) == (60, 35, 10, 10)


def test_a_chart_is_well_formed_whatever_its_title_says() -> None:
    points = [Point(1, 0.5, 0.25, 0.75), Point(2, 0.75)]
    picture = draw_chart(Chart("g", HOSTILE, HOSTILE, "step", [Series(HOSTILE, 0, points)], True))
    root = ElementTree.fromstring(picture)
    assert root.get("aria-label") == f"{HOSTILE} over step"
    assert len(root.findall(".//circle")) == 2
    assert len(root.findall(".//path[@class='whisker']")) == 1
    assert not root.findall(".//script")


# Trees


def test_a_node_shows_the_figures_of_its_tree() -> None:
    tree = two_ways("What is 3+4?")
    tree.nodes[3].thought.logprobs = [-1.5, -1.5]
    tree.nodes[1].visits, tree.nodes[1].value_sum = 4, 3.0
    shown = shown_tree(tree, np.array([0.0, 1.0, 1.0, -1.0, math.nan]), SearchConfig())
    first, right, second, wrong = shown["nodes"][1:]
    # Siblings' likelihoods are exp(-0.5) and exp(-1.5): e / (e + 1) and 1 / (e + 1) of their sum.
    assert first["prior"] == pytest.approx(math.e / (math.e + 1), abs=1e-4)
    assert second["prior"] == pytest.approx(1 / (math.e + 1), abs=1e-4)
    assert (first["q"], second["q"]) == (0.75, 0.6)
    assert (first["target"], wrong["target"], shown["nodes"][0]["target"]) == (1.0, 0.0, 0.5)
    assert (right["advantage"], wrong["advantage"]) == (1.0, None)
    assert first["entropy"] == pytest.approx(0.3)
    assert (right["meta"], right["outcome"], right["answer"]) == ("conclusion", True, "7")
    assert shown["best"] == [0, 1, 2]
    assert (shown["solved"], shown["graded"]) == (True, True)
    assert shown["surprise"] == pytest.approx(0.3)  # the wrong leaf's value, against 0


def test_the_advantage_is_over_the_spread_of_its_file(tmp_path: Path) -> None:
    """Q - Q(parent) is +-1/2 for the first thoughts, and 0 below them: of deviation sqrt(1/8)."""
    settings = {"learn": {"credit": "tree"}}
    folder = write_run(tmp_path / "run", trees={1: [two_ways("q")]}, settings=settings)
    (tree,) = forest(read_run(folder, "run")).trees
    spread = math.sqrt(1 / 8)
    expected = [0.5 / spread, 0.0, -0.5 / spread, 0.0]
    assert [node["advantage"] for node in tree["nodes"][1:]] == pytest.approx(expected, abs=1e-3)


def test_the_best_leaf_is_right_first_and_then_trusted() -> None:
    steps = [(0, "a", 0.4, True), (0, "b", 0.9, False), (0, "c", 0.7, True), (0, "d", 0.7, True)]
    assert best_leaf(write_tree("q", steps)).id == 3


@pytest.mark.parametrize("rollout", [True, False])
@pytest.mark.parametrize("candidates", [1, 2, 3])
def test_the_steps_are_those_the_search_made(
    language: MarkedLanguage, rollout: bool, candidates: int
) -> None:
    config = SearchConfig(
        algorithm="mcts", simulations=9, candidates=candidates, max_children=4, rollout=rollout,
        max_depth=4,
    )  # fmt: skip
    sizes: list[int] = []

    class Noting(Mcts):
        def pick(self, trees: list[Tree]) -> list[Pick]:
            sizes.extend(len(tree.nodes) for tree in trees)
            return super().pick(trees)

    for seed in range(6):
        sizes.clear()
        request = SearchRequest(
            [Problem("p", "How many?", "7")],
            config,
            [seed],
            rewards=BY_EQUALITY,
            rule=Noting(config),
        )
        (tree,) = grow(request, FakeEngine(language), language)
        ends = sorted({*sizes})  # the number of nodes before each step
        expected = [sum(node.id >= end for end in ends) for node in tree.nodes]
        assert simulations(tree, config) == expected
        assert max(expected) > 1


@pytest.mark.parametrize("algorithm", ["forks", "distinct"])
def test_every_chain_is_a_step(algorithm: str) -> None:
    tree = two_ways("q")
    assert simulations(tree, SearchConfig(algorithm=algorithm)) == [0, 1, 1, 2, 2]


def test_a_tree_tells_how_it_was_drawn() -> None:
    """Masses by hand: 3/5 and 2/5, as the set of two has 1/2 or 2/3 given which one is first."""
    shown = shown_tree(distinct_ways("3+4=8", "3+4=7"), None, SearchConfig())
    root, one, other = shown["nodes"]
    assert shown["covered"] == 0.75
    assert [node["probability"] for node in shown["nodes"]] == [1.0, 0.5, 0.25]
    assert root["mass"] == pytest.approx(1)
    assert (one["mass"], other["mass"]) == pytest.approx((0.6, 0.4), abs=1e-3)
    assert (one["known"], one["sibling"]) == (0, None)
    assert (other["known"], other["sibling"], other["tokens"]) == (1, 1, 2)
    drawn_alike = shown_tree(two_ways("q"), None, SearchConfig())
    assert {node["mass"] for node in drawn_alike["nodes"]} == {None}
    assert {node["sibling"] for node in drawn_alike["nodes"]} == {None}
    # Its solutions are of the same four tokens, so that they are one.
    assert drawn_alike["covered"] == pytest.approx(math.exp(-2), rel=1e-3)


def test_what_a_search_began_behind_is_told_as_given() -> None:
    figures = ([-3.0], [0.2], [0.1])
    given_thought = Thought(None, "given", [9], *figures, shown=Rating.UNKNOWN)
    tree = Tree.plant(Problem("p", "q", "7"), 0, 0.5, [given_thought])
    for token in (1, 2):
        chain = [
            Thought(None, "a step", [token], [-0.5], [0.2], [0.1], shown=Rating.UNKNOWN)
            for _ in range(2)
        ]
        tree.attach(tree.start, chain)
    shown = shown_tree(tree, None, SearchConfig(algorithm="forks"))
    assert [node["given"] for node in shown["nodes"]] == [False, True, *[False] * 4]
    assert [node["step"] for node in shown["nodes"]] == [0, 0, 1, 1, 2, 2]
    assert [node["sibling"] for node in shown["nodes"]] == [None] * 6
    expected = [1, 1, math.exp(-0.5), math.exp(-1), math.exp(-0.5), math.exp(-1)]
    assert [node["probability"] for node in shown["nodes"]] == pytest.approx(expected, rel=1e-3)
    console = Console(file=io.StringIO(), width=80)
    console.print(draw_tree(tree))
    assert "0.50 given given" in console.file.getvalue()


@given(seed=st.integers(0, 10**6))
def test_a_path_is_as_likely_as_its_tokens_together(language: MarkedLanguage, seed: int) -> None:
    tree = random_tree(language, seed)
    expected = [math.prod(map(math.exp, _logprobs(tree, node.id))) for node in tree.nodes]
    assert [tree.probability(node) for node in tree.nodes] == pytest.approx(expected)


def _logprobs(tree: Tree, number: int) -> list[float]:
    return [each for node in tree.path(tree.nodes[number]) for each in node.thought.logprobs]


def test_a_thought_leaves_the_sibling_whose_tokens_it_begins_with(language: MarkedLanguage) -> None:
    config = SearchConfig(algorithm="distinct", max_depth=2, solutions=12)
    request = SearchRequest([Problem("p", "How many?", "7")], config, [0], rewards=BY_EQUALITY)
    (tree,) = grow(request, ChanceEngine(language, seed=4), language)
    left = [(node, left_sibling(tree, node)) for node in tree.nodes[1:]]
    begun = [(node, sibling) for node, sibling in left if sibling is not None]
    assert len(begun) > 4
    assert [node for node, sibling in left if sibling is None and node.thought.known] == []
    for node, sibling in begun:
        ids, other, known = node.thought.ids, sibling.thought.ids, node.thought.known
        assert (sibling.parent, sibling.id < node.id) == (node.parent, True)
        assert ids[:known] == other[:known]
        assert ids[known] != other[known]
        again = shared_text(tree, node)
        assert again.startswith(language.decode(ids[:known])[1])
        assert node.thought.text.startswith(again)


def test_long_texts_end_with_their_length(tmp_path: Path) -> None:
    tree = write_tree(
        "q" * 1_000_000, [(0, "x" * MOST_TEXT, 0.5, None), (0, "y" * 3000, 0.5, None)]
    )
    shown = shown_tree(tree, None, SearchConfig())
    assert shown["problem"].endswith("q… [cut here: 1,000,000 characters in all]")
    assert shown["nodes"][1]["text"] == "x" * MOST_TEXT
    assert shown["nodes"][2]["text"].startswith("y" * MOST_TEXT + "… [cut here: 3,000 ")


def test_problems_searched_twice_are_shown_first_and_last(tmp_path: Path) -> None:
    names = {1: ["a", "b"], 2: ["c", "again"], 3: ["d", "again"], 4: ["again", "e"], 5: ["f", "g"]}
    trees = {n: [two_ways("q", name=name) for name in each] for n, each in names.items()}
    run = read_run(write_run(tmp_path / "run", trees=trees), "run")

    def shown(most: int) -> list[tuple[int, str]]:
        return [(tree["iteration"], tree["id"]) for tree in forest(run, most).trees]

    assert shown(2) == [(4, "again"), (2, "again")]
    assert shown(4) == [(5, "f"), (4, "again"), (2, "again"), (1, "a")]
    everything = forest(run)
    assert len(everything.trees) == 6
    assert everything.total == 10
    one = len(embedded(everything.trees[0]))
    assert len(forest(run, most_bytes=3 * one + 20).trees) == 3


# The page


@given(text=st.text())
def test_no_text_leaves_the_data(text: str) -> None:
    written = embedded({"text": text + HOSTILE})
    assert not re.search("[<>&\u2028\u2029]", written)
    assert written.isascii()
    assert json.loads(written) == {"text": text + HOSTILE}


def test_numbers_json_does_not_know_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        embedded({"value": math.nan})


def test_hostile_text_stays_in_the_data(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "<b>run</b>",
        evaluations={0: evaluation(0.5, model=HOSTILE)},
        trees={1: [two_ways(HOSTILE, name=HOSTILE)]},
    )
    page = render([read_run(folder, "<b>run</b>")], tmp_path / "report.html")
    assert "<img" not in page
    assert "<b>" not in page
    assert page.count("<script") == page.count("</script") == 2
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    assert json.loads(found[1])["trees"][0]["problem"] == HOSTILE


def test_the_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", metrics=played(3), trees={1: [two_ways("q")]})
    page = render([read_run(folder, "run")], tmp_path / "report.html")
    addresses = set(re.findall(r"\bhttps?://[^\"' ]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place
    assert not re.search(r"<link|@import|url\(|\bsrc=", page)
    assert "default-src 'none'" in page


def test_a_page_stays_small(tmp_path: Path) -> None:
    """500 iterations of three runs, and more and longer trees than there is room for."""
    steps = [(index // 2, "<&> " * 500, 0.5, None) for index in range(60)]
    tree = write_tree("q", steps)
    runs = [
        read_run(write_run(tmp_path / name, metrics=played(500), trees={1: [tree] * 34}), name)
        for name in ("a", "b", "c")
    ]
    page = render(runs, tmp_path / "report.html")
    assert 1_000_000 < len(page.encode()) < 5_000_000


def test_only_keys_that_differ_are_compared(tmp_path: Path) -> None:
    one = write_run(tmp_path / "a", settings={"learn": {"clip": 0.1}})
    other = write_run(tmp_path / "b", settings={"learn": {"clip": 0.3}})
    runs = [read_run(one, "a"), read_run(other, "b")]
    assert differing_keys(runs) == [("learn.clip", ["0.1", "0.3"])]
    assert differing_keys(runs[:1]) == []


def test_links_lead_from_the_page_to_the_files(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a b%", metrics=played(1), trees={1: [two_ways("q")]})
    kinds = dict(file_links(read_run(folder, "a b%"), tmp_path / "out" / "report.html"))
    assert kinds["Run"][0] == ("config.yaml", "../a%20b%25/config.yaml")
    assert kinds["Trees"] == [
        ("iteration-000001.jsonl", "../a%20b%25/trees/iteration-000001.jsonl")
    ]


# The command


def test_the_command_writes_beside_the_run_or_where_it_is_told(
    tmp_path: Path, main: InProcess
) -> None:
    one, other = write_run(tmp_path / "a", metrics=played(2)), write_run(tmp_path / "b")
    done = main("report", one)
    assert (done.returncode, done.stdout) == (0, f"report: {one / 'report.html'}\n")
    done = main("report", one, other, "--out", tmp_path / "both.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "both.html").read_text()
    assert "<h1>2 runs</h1>" in page
    assert "<h1>a</h1>" in (one / "report.html").read_text()


def test_a_run_that_has_only_begun_has_a_report(tmp_path: Path) -> None:
    page = write_report([write_run(tmp_path / "run")], None).read_text()
    for words in ("Not evaluated yet", "No metrics in the run folder yet", "No trees in the run"):
        assert words in page


def test_usage_errors_are_one_line(tmp_path: Path, main: InProcess) -> None:
    run = write_run(tmp_path / "run")
    cases = (
        ([tmp_path / "none"], "not a run folder (no config.yaml)"),
        ([run, run], "name each run once"),
        ([run, "--out", tmp_path], "is a folder; name a file"),
        ([run, "--out", run / "config.yaml" / "x.html"], "cannot be written"),
    )
    for arguments, message in cases:
        done = main("report", *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
