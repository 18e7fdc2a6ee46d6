"""The line that a run prints of an iteration."""

import pytest

from llamao1_cli.config import Config
from llamao1_cli.report.display import Display

METRICS = {"solved_leaves": 0.25, "success": 0.5, "mixed_trees": 0.75}
DISTINCT = {"algorithm": "distinct"}
CHILDREN = {"algorithm": "mcts", "replacement": False}


@pytest.mark.parametrize(
    ("search", "told"),
    [({}, "solved 0.250"), (DISTINCT, "success 0.500"), (CHILDREN, "success 0.500")],
)
def test_a_share_of_solutions_is_told_only_where_they_were_drawn_alike(
    search: dict[str, object], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config.model_validate(
        {"run": {"dir": "runs/x", "iterations": 9}, "model": {"path": "m"}, "search": search}
    )
    Display().iteration(3, config, METRICS, {"iteration": 1.5})
    line = capsys.readouterr().out
    assert line == f"iteration   3/9  {told}  mixed trees 0.75  1.5 s\n"
