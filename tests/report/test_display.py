"""What a run prints: the line of an iteration, and of long stages what a log can hold."""

import io
import re
import threading
import time
from collections.abc import Callable

import pytest
from rich.console import Console
from run_folders import two_ways

from llamao1_cli.config import Config
from llamao1_cli.errors import InterruptedRunError
from llamao1_cli.report import log_lines
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


def lines_of_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, stage: Callable[[], None]
) -> list[str]:
    """What a log holds of a stage, with a line every few milliseconds instead of seconds."""
    monkeypatch.setattr(log_lines, "EVERY_S", 0.02)
    stage()
    return capsys.readouterr().out.splitlines()


def test_a_log_hears_of_the_steps_of_a_stage_and_of_a_step_that_takes_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def warm_up() -> None:
        with Display().progress("warm-up", 5000, 120) as advance:
            time.sleep(0.1)
            for step in range(10):
                advance(f"loss {step / 8:.3f}")
            time.sleep(0.1)

    lines = lines_of_a_log(capsys, monkeypatch, warm_up)
    assert lines[0] == "warm-up 120/5000  0:00:00 so far"
    pattern = r"warm-up 130/5000  [\d.e+]+/s  loss 1\.125  \d:\d\d:\d\d left"
    assert re.fullmatch(pattern, lines[-1])
    assert len(lines) >= 4


def test_a_log_hears_of_searches_and_how_long_they_will_take(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    display, tree = Display(), two_ways("2 + 5?")

    def play(number: int, seconds: float) -> None:
        with display.rounds(f"iteration {number}", "iteration") as on_growth:
            on_growth([tree])
            time.sleep(seconds)

    first = lines_of_a_log(capsys, monkeypatch, lambda: play(1, 0.1))
    found = r"iteration 1: 1 trees, 4 thoughts, \d+ tokens, [\d,]+ tokens/s, 0:00:00 so far"
    assert re.fullmatch(found, first[-1])
    monkeypatch.setattr(display._paces, "_seconds", {"iteration": 100.0})
    second = lines_of_a_log(capsys, monkeypatch, lambda: play(2, 0.1))
    assert re.fullmatch(r"iteration 2: .* so far, about 0:01:(39|40) left", second[-1])
    assert display._paces._seconds["iteration"] < 100


def test_a_log_hears_within_half_a_minute_and_nothing_of_short_stages_or_other_ranks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert log_lines.EVERY_S <= 30
    with Display().progress("warm-up", 2) as advance, Display().stage("values"):
        advance("loss 1.000")
    assert capsys.readouterr().out == ""

    def other_rank() -> None:
        with Display(quiet=True).progress("warm-up", 2), Display(quiet=True).stage("values"):
            time.sleep(0.1)

    assert lines_of_a_log(capsys, monkeypatch, other_rank) == []


@pytest.mark.parametrize("failure", [ValueError, InterruptedRunError])
def test_the_thread_behind_the_lines_ends_with_its_stage(failure: type[BaseException]) -> None:
    before = threading.active_count()

    def fail() -> None:
        with Display().progress("warm-up", 2):
            assert threading.active_count() == before + 1
            raise failure(15)

    with pytest.raises(failure):
        fail()
    assert threading.active_count() == before


def test_a_terminal_has_a_bar_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "EVERY_S", 0.01)
    display, screen = Display(), io.StringIO()
    display._console = Console(file=screen, force_terminal=True, width=100)
    with display.progress("warm-up", 2) as advance:
        advance("loss 1.000")
        time.sleep(0.1)
    assert "1/2" in screen.getvalue()
    assert " so far" not in screen.getvalue()
