"""Runs whose trees begin along paths of earlier successes."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from rank_runs import rows

from llamao1_cli.config import Config
from llamao1_cli.config.file import load_config
from llamao1_cli.errors import InterruptedRunError, UserError
from llamao1_cli.learn import restarts
from llamao1_cli.run import commands
from llamao1_cli.search.tree import Tree
from llamao1_cli.search.tree_files import read_trees
from llamao1_cli.selfplay.local import SelfPlay
from llamao1_cli.tasks.grading import Grader

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"


def tiny_run(folder: Path, *overrides: str) -> Config:
    settings = [
        f"run.dir={folder}", "run.iterations=5", "run.checkpoint_every=10", "eval.problems=1",
        "eval.strategies=[greedy]", "task.problems=9", "learn.problems=4", "search.simulations=12",
        "replay.restarts={share: 0.5, capacity: 3}", *overrides,
    ]  # fmt: skip
    return load_config(TINY, settings)


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer of nine is right, whatever the problem, as the true one is, and any success counts
    as rare: the tiny model has learned nothing."""

    def grade(self: Grader, pairs: list[tuple[str, str]]) -> list[bool]:
        return [stated == true or sum(map(ord, stated)) % 9 == 0 for stated, true in pairs]

    monkeypatch.setattr(Grader, "grade", grade)
    monkeypatch.setattr(restarts, "RARE", 1.0)


def fit(config: Config, *, resume: bool = False) -> None:
    commands.train(config, trees=None, resume=resume, overwrite=False)


def trees_of(run: Path) -> list[list[Tree]]:
    return [read_trees(file, None) for file in sorted((run / "trees").iterdir())]


def played(run: Path) -> list[dict[str, Any]]:
    return [
        {name: number for name, number in row.items() if name != "seconds"}
        for row in rows(run)
        if row["stage"] == "self-play"
    ]


def test_trees_begin_along_paths_that_ended_right(tmp_path: Path, lenient: None) -> None:
    run = tmp_path / "run"
    fit(tiny_run(run))
    forests, metrics = trees_of(run), played(run)
    assert sum(row["restarts"] for row in metrics) > 0
    right: set[tuple[str, ...]] = set()  # what stands on the paths to right leaves so far
    fresh: list[str] = []
    for forest, row in zip(forests, metrics, strict=True):
        begun = [tree for tree in forest if tree.begun]
        assert len(forest) == 4
        assert row["restarts"] == len(begun) <= 2
        assert row["restart_paths"] <= 3
        assert row["generated_tokens"] == sum(
            node.thought.generated for tree in forest for node in tree.nodes[tree.begun :]
        )
        for tree in begun:
            given = [node.thought.text for node in tree.path(tree.start)[1:]]
            assert (tree.problem.id, *given) in right
        for tree in forest:
            fresh += [tree.problem.id] * (not tree.begun)
            for leaf in (leaf for leaf in tree.leaf_nodes() if leaf.outcome):
                texts = [node.thought.text for node in tree.path(leaf)[1:]]
                right |= {(tree.problem.id, *texts[:depth]) for depth in range(len(texts))}
    # Problems that begin as they are come in passes over the set, whatever else is played.
    assert sorted(fresh[:9]) == sorted({*fresh[:9]})


def test_a_resumed_run_begins_where_the_other_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lenient: None
) -> None:
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    fit(tiny_run(straight))
    iterate = SelfPlay.iterate

    def interrupted(self: SelfPlay, *arguments: Any, **options: Any) -> list[Tree]:
        if arguments[2] == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return iterate(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(SelfPlay, "iterate", interrupted)
        with pytest.raises(InterruptedRunError):
            fit(tiny_run(stopped))
    fit(tiny_run(stopped), resume=True)
    assert played(stopped) == played(straight)
    assert sum(row["restarts"] for row in played(straight)) > 0
    assert trees_of(stopped) == trees_of(straight)


def test_restarts_do_not_play_ahead() -> None:
    with pytest.raises(UserError, match=r"replay.restarts needs to know how an iteration ended"):
        load_config(
            TINY,
            ["replay.restarts={}", "self_play.backend=ray", "self_play.max_staleness=1"],
        )
