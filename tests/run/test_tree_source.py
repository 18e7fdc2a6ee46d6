"""Which problems an iteration plays: further ones for those without signal, harder ones in time."""

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chance_outcomes import SETTINGS, has_signal, mean_success
from fake_engine import BY_EQUALITY, shaped_tree
from hypothesis import given
from hypothesis import strategies as st
from rank_runs import alone, command, rows, together
from two_ranks import by_chance

from llamao1_cli.config import Config, LearnConfig, RunConfig
from llamao1_cli.config.file import load_config
from llamao1_cli.errors import InterruptedRunError, UserError
from llamao1_cli.learn import credit
from llamao1_cli.report.display import Display
from llamao1_cli.run import commands, tree_source
from llamao1_cli.run.spending import Spending
from llamao1_cli.run.tree_source import TreeSource, lacking
from llamao1_cli.search.forest import mean_success as mean_share
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Tree
from llamao1_cli.search.tree_files import read_trees
from llamao1_cli.selfplay.local import SelfPlay
from llamao1_cli.tasks.problem import Problem

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"


def tree(*outcomes: bool) -> Tree:
    """A tree whose leaves, all below the root, are right or wrong."""
    made = shaped_tree([0] * len(outcomes), dict(enumerate(outcomes, start=1)))
    rectify(made, 1.0, "failure")
    return made


MIXED, RIGHT, WRONG = tree(True, False), tree(True, True), tree(False, False)


def test_what_lacks_a_signal_is_replaced_up_to_the_limit() -> None:
    config = LearnConfig(problems=3, resample=True, resample_limit=2)
    assert lacking([MIXED, RIGHT, WRONG], config) == 2
    assert lacking([MIXED, RIGHT, WRONG, MIXED, WRONG], config) == 1
    assert lacking([MIXED, RIGHT, WRONG, MIXED, WRONG, MIXED], config) == 0
    assert lacking([WRONG] * 5, config) == 1
    assert lacking([WRONG] * 6, config) == 0
    assert lacking([WRONG] * 3, LearnConfig(problems=3)) == 0


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=4))
def test_any_difference_of_rewards_is_a_signal(rewards: list[float]) -> None:
    """Not that of right and wrong: two solutions that are partly right tell better from worse."""
    made = shaped_tree([0] * len(rewards), {})
    for node, reward in zip(made.nodes[1:], rewards, strict=True):
        node.answer = "7"
        node.earn(reward)
    rectify(made, 1.0, "failure")
    assert credit.has_signal(made) is (len({*rewards}) > 1)
    config = LearnConfig(problems=1, resample=True, resample_limit=2)
    assert lacking([made], config) == (len({*rewards}) == 1)


def source_of(learn: LearnConfig, levels: int, told: Callable[[int], Tree]) -> TreeSource:
    """A source of trees of problems that are numbers, `told` what comes of them."""

    def train_problems(
        seed: int, iteration: int, count: int, *, before: int | None, level: int
    ) -> list[Problem]:
        first = (iteration - 1) * count if before is None else before
        return [Problem(str(first + i), str(level), "") for i in range(count)]

    def iterate(
        problems: Callable[[int], Sequence[Problem]],
        search: object,
        number: int,
        *,
        begin: int,
        **options: object,
    ) -> list[Tree]:
        played = []
        for problem in problems(number)[begin:]:
            known = told(int(problem.id))
            played.append(Tree(problem, 0, known.nodes))
        return played

    parts = SimpleNamespace(
        config=Config(learn=learn),
        task=SimpleNamespace(levels=levels, train_problems=train_problems),
        verifier=SimpleNamespace(rewards=BY_EQUALITY),
        selfplay=SimpleNamespace(iterate=iterate),
        accelerator=SimpleNamespace(is_main_process=False),
    )
    spending = Spending(RunConfig(), parts.accelerator)
    return TreeSource(parts, None, Display(quiet=True), spending)


@given(
    signals=st.lists(st.booleans(), min_size=1, max_size=30),
    count=st.integers(1, 6),
    limit=st.integers(1, 4),
)
def test_rounds_play_what_playing_one_by_one_would(
    signals: list[bool], count: int, limit: int
) -> None:
    """One after another, until enough have a signal or the limit is reached; and so on from where
    the iteration before ended."""
    learn = LearnConfig(problems=count, resample=True, resample_limit=limit)
    source = source_of(learn, 1, lambda n: MIXED if signals[n % len(signals)] else WRONG)
    first = 0
    for number in (1, 2, 3):
        trees, found, position = source.play(number), 0, first
        while found < count and position < first + limit * count:
            found += signals[position % len(signals)]
            position += 1
        assert [int(each.problem.id) for each in trees] == list(range(first, position))
        assert [credit.has_signal(each) for each in source.taught(trees)] == [True] * found
        figures = {"played_problems": len(trees), "signal_problems": found}
        assert source.advance(trees) == figures
        first = position


def test_without_resampling_every_tree_teaches() -> None:
    source = source_of(LearnConfig(problems=4), 1, lambda n: WRONG if n % 2 else MIXED)
    for number in (1, 2):
        trees = source.play(number)
        assert [int(each.problem.id) for each in trees] == [4 * number - 4 + i for i in range(4)]
        assert source.taught(trees) == trees
        assert source.advance(trees) == {"played_problems": 4.0, "signal_problems": 2.0}


def test_levels_rise_one_by_one_where_enough_solutions_are_right() -> None:
    """Two problems an iteration; the mean of their shares of right solutions, by hand."""
    half, third = tree(True, False), tree(True, False, False)
    told = [half, third, half, half, RIGHT, RIGHT, WRONG, RIGHT, RIGHT, RIGHT, WRONG, WRONG]
    source = source_of(LearnConfig(problems=2, curriculum=0.5), 3, lambda n: told[n])
    levels = []
    for number in range(1, 7):
        trees = source.play(number)
        levels.append(source.advance(trees)["level"])
        assert {each.problem.text for each in trees} == {str(int(levels[-1]))}
    assert levels == [1, 1, 2, 3, 3, 3]  # 5/12, 1/2, 1, 1/2 at the highest, 1, 0


def test_trees_that_began_on_the_way_do_not_tell_how_hard_problems_are() -> None:
    helped = tree(True, True)
    helped.begun = 1
    assert mean_share([helped, tree(True, False, False), WRONG]) == pytest.approx(1 / 6)
    assert mean_share([helped]) == 0.0


def test_a_source_goes_on_from_its_state() -> None:
    learn = LearnConfig(problems=2, curriculum=0.5, resample=True)
    whole, half = (source_of(learn, 9, lambda n: [MIXED, WRONG, MIXED][n % 3]) for _ in range(2))
    played = []
    for number in (1, 2, 3, 4):
        played.append(whole.play(number))
        whole.advance(played[-1])
    for number in (1, 2):
        half.advance(half.play(number))
    state, half = half.state(), source_of(learn, 9, lambda n: [MIXED, WRONG, MIXED][n % 3])
    half.restore(state)
    for number in (3, 4):
        assert half.play(number) == played[number - 1]
        half.advance(played[number - 1])
    assert half.state() == whole.state()


def test_variants_that_share_a_warm_up_begin_at_their_own_level() -> None:
    climbing, plain = LearnConfig(problems=1, curriculum=0.5), LearnConfig(problems=1)
    for before, after, level in ((plain, climbing, "1"), (climbing, plain, "3")):
        source = source_of(after, 3, lambda n: MIXED)
        source.restore(source_of(before, 3, lambda n: MIXED).state())
        assert [each.problem.text for each in source.play(1)] == [level]


DATA = "task={kind: data, train: {path: a}, test: {path: b}}"


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ([DATA], "learn.curriculum: the problems of this task .kind data. have one level"),
        (["task.min_operations=2"], "have one level; leave it out, give arithmetic a larger range"),
        (
            ["self_play.backend=ray", "self_play.max_staleness=1"],
            "learn.curriculum needs .*; set self_play.max_staleness: 0",
        ),
        (
            ["self_play.backend=ray", "self_play.max_staleness=1", "learn.resample=true"],
            "learn.resample needs .*; set self_play.max_staleness: 0",
        ),
        (["learn.algorithm=continued_warmup"], "curriculum: continued_warmup plays no problems"),
    ],
)
def test_what_cannot_depend_on_outcomes_is_refused(settings: list[str], part: str) -> None:
    with pytest.raises(UserError, match=part) as error:
        load_config(TINY, ["learn.curriculum=0.5", *settings])
    assert "\n" not in str(error.value)


def tiny_run(folder: Path, *overrides: str) -> Config:
    small = [f"run.dir={folder}", "eval.strategies=[greedy]", "eval.problems=1", *SETTINGS]
    return load_config(TINY, [*small, "run.iterations=5", "run.checkpoint_every=10", *overrides])


def fit(config: Config, *, resume: bool = False) -> None:
    commands.train(config, trees=None, resume=resume, overwrite=False)


def without_seconds(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows(run)]


def tree_files(run: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in (run / "trees").iterdir()}


@pytest.fixture
def chances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_source, "has_signal", has_signal)
    monkeypatch.setattr(tree_source, "mean_success", mean_success)


def interrupt_in_round(monkeypatch: pytest.MonkeyPatch, iteration: int, turn: int) -> None:
    """Send ourselves SIGTERM before a round of an iteration."""
    iterate, rounds = SelfPlay.iterate, []

    def interrupted(self: SelfPlay, *arguments: Any, **options: Any) -> list[Tree]:
        if arguments[2] == iteration:
            rounds.append(options["begin"])
            if len(rounds) == turn:
                os.kill(os.getpid(), signal.SIGTERM)
        return iterate(self, *arguments, **options)

    monkeypatch.setattr(SelfPlay, "iterate", interrupted)


@pytest.mark.parametrize("turn", [1, 2])
def test_a_run_that_was_stopped_within_its_rounds_goes_on_as_if_it_never_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chances: None, turn: int
) -> None:
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    fit(tiny_run(straight))
    with monkeypatch.context() as patch:
        interrupt_in_round(patch, 3, turn)
        with pytest.raises(InterruptedRunError):
            fit(tiny_run(stopped))
    assert (stopped / "checkpoints" / "iteration-000002").is_dir()
    fit(tiny_run(stopped), resume=True)
    assert without_seconds(stopped) == without_seconds(straight)
    assert tree_files(stopped) == tree_files(straight)
    played = [row for row in rows(straight) if row["stage"] == "self-play"]
    assert {row["level"] for row in played} > {1.0}
    assert any(row["played_problems"] > 4 for row in played)
    for row, (_, lines) in zip(played, sorted(tree_files(straight).items()), strict=True):
        seeds = [json.loads(line)["seed"] for line in lines.splitlines()]
        assert len(seeds) == len({*seeds}) == row["played_problems"] <= 12
        assert sum(seed % 3 > 0 for seed in seeds) == row["signal_problems"] == row["experiences"]


@pytest.mark.slow
def test_two_ranks_play_the_rounds_and_levels_of_one(tmp_path: Path, chances: None) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    settings = [*SETTINGS, "run.iterations=3"]
    alone(command(one, settings))
    together(tmp_path, command(two, settings), by_chance)
    assert [plays(row) for row in rows(one)] == [plays(row) for row in rows(two)]
    for file, other in zip(*(sorted((run / "trees").iterdir()) for run in (one, two)), strict=True):
        first, second = read_trees(file, None), read_trees(other, None)
        assert [(t.problem, t.seed) for t in first] == [(t.problem, t.seed) for t in second]


def plays(row: dict[str, Any]) -> list[float | None]:
    return [row.get(name) for name in ("played_problems", "signal_problems", "level")]
