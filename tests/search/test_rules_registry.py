"""A search rule of one's own: a class, a line in the registry, and trees grow by it."""

from pathlib import Path

import pytest
from fake_engine import FakeEngine

from llamao1_cli.config import SearchConfig
from llamao1_cli.config.file import load_config
from llamao1_cli.config.reference import reference
from llamao1_cli.config.registry import SEARCH_RULES, Entry
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.run import commands
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.search.tree_files import read_trees
from llamao1_cli.tasks.problem import Problem

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"


class Ladder:
    """One thought below the newest one, three times a tree."""

    def __init__(self, config: SearchConfig) -> None:
        assert config.algorithm == "ladder"

    def pick(self, trees: list[Tree]) -> list[Pick]:
        return [Pick(tree, tree.nodes[-1], 1) for tree in trees if len(tree.nodes) <= 3]

    def reach(self, node: Node) -> int:
        return 1

    def absorb(self, tree: Tree, node: Node) -> None:
        tree.simulations += 1


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry(f"{__name__}:Ladder", "one thought below the other")
    monkeypatch.setitem(SEARCH_RULES, "ladder", entry)


def test_trees_grow_by_a_registered_rule(language: MarkedLanguage) -> None:
    problems = [Problem(str(number), f"How many are {number}?", "7") for number in range(2)]
    engine = FakeEngine(language, lambda *_: ("a step", 0.5))
    request = SearchRequest(problems, SearchConfig(algorithm="ladder"), [1, 2])
    for tree in grow(request, engine, language):
        assert [node.parent for node in tree.nodes] == [None, 0, 1, 2]
        assert tree.simulations == 3
    assert all(len(asked.metas) == 1 for asked in engine.requests)


@pytest.mark.slow
def test_a_run_plays_by_a_registered_rule(tmp_path: Path) -> None:
    overrides = ["search.algorithm=ladder", "run.iterations=1", "eval.strategies=[greedy]"]
    config = load_config(TINY, [f"run.dir={tmp_path / 'run'}", *overrides])
    commands.train(config, trees=None, resume=False, overwrite=False)
    (file,) = (tmp_path / "run" / "trees").iterdir()
    for tree in read_trees(file, None):
        assert [node.depth for node in tree.nodes] == [*range(len(tree.nodes))]


def test_a_registered_rule_is_known_by_name() -> None:
    with pytest.raises(UserError, match="'mcts', 'distinct', 'forks' or 'ladder'"):
        load_config(TINY, ["search.algorithm=lader"])
    assert "`mcts`, `distinct`, `forks`, `ladder`" in reference()
