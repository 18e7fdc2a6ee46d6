"""Watching a run: files that grow while they are read, the live page's server, the terminal."""

import http.client
import io
import json
import math
import os
import pty
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import INSTALLED, contents
from fake_engine import chain_tree
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from run_folders import distinct_ways, evaluation, played, two_ways, write_run, write_tree

from llamao1_cli.distributed.interrupts import Interrupts
from llamao1_cli.errors import InterruptedRunError, UserError
from llamao1_cli.files.whole import write_whole
from llamao1_cli.report import live, terminal
from llamao1_cli.report.commands import watch_run
from llamao1_cli.report.kept import Kept, MetricsFile
from llamao1_cli.report.live import LivePage, serving
from llamao1_cli.report.reading import read_run
from llamao1_cli.report.run_lines import run_lines
from llamao1_cli.report.run_view import draw, sparkline
from llamao1_cli.report.terminal import Lines, Watching
from llamao1_cli.report.tree_lines import last_solution
from llamao1_cli.report.tree_text import draw_tree, printable
from llamao1_cli.search.tree_files import write_trees

HOSTILE = "\x1b]0;hacked\x07\x9b2J\u202e[bold]</script><script>hacked=1</script>[/nothing]\ud800"


def text_of(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def add_iteration(folder: Path, number: int) -> None:
    """What the trainer writes of an iteration, in its order."""
    write_trees(folder / "trees" / f"iteration-{number:06d}.jsonl", [two_ways("And 3+4?")])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(text_of(played(number)[-1:]))


# Reading what is new


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    read: list[str] = []

    def reading(path: Path) -> str:
        read.append(path.name)
        return path.read_text()

    one, other, kept = tmp_path / "one", tmp_path / "other", Kept()
    one.write_text("a")
    other.write_text("b")
    for _ in range(3):
        kept.begin()
        assert (kept(reading, one), kept(reading, other)) == ("a", "b")
    assert read == ["one", "other"]
    write_whole(one, "c")  # of the same size
    kept.begin()
    assert kept(reading, one) == "c"
    kept.begin()  # `other` was not asked for in the round before
    assert kept(reading, other) == "b"
    assert read == ["one", "other", "one", "other"]


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, 1200), max_size=8))
def test_metrics_are_read_on_wherever_the_writer_stands(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    rows = played(5)
    text = text_of(rows).encode()
    path = tmp_path_factory.mktemp("metrics") / "metrics.jsonl"
    file, parsed = MetricsFile(path), []
    whole = file._row
    file._row = lambda line, number: parsed.append(number) or whole(line, number)  # type: ignore[method-assign,func-returns-value]
    for end in [*sorted(min(cut, len(text)) for cut in cuts), len(text)]:
        path.write_bytes(text[:end])
        found = file.read()
        complete = [row for row in rows if text_of([row]).encode() in text[:end]]
        assert [row for stage in found.values() for row in stage] == complete
    assert parsed == list(range(1, len(rows) + 1))  # each line once


def test_metrics_are_read_anew_where_a_resumed_run_cut_them(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(text_of(played(4)))
    file = MetricsFile(path)
    assert len(file.read()["self-play"]) == 4
    again = [row | {"policy_loss": 9.0 + row["step"]} for row in played(8)[4:]]
    path.write_text(text_of(played(3)) + text_of(again))  # longer than it was
    assert [row["policy_loss"] for row in file.read()["self-play"]][-2:] == [16.0, 17.0]
    path.unlink()
    assert file.read() == {}


def test_a_broken_row_is_named_until_it_is_restored(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(text_of(played(2)))
    file = MetricsFile(path)
    file.read()
    path.write_text(text_of(played(2)) + "{}\n")
    for _ in range(2):
        with pytest.raises(UserError, match="line 4: not a row of metrics"):
            file.read()
    path.write_text(text_of(played(3)))
    assert len(file.read()["self-play"]) == 3


def test_a_number_of_a_thousand_digits_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"stage": "self-play", "step": 1, "policy_loss": {"9" * 1000}}}\n')
    (row,) = MetricsFile(path).read()["self-play"]
    assert row["policy_loss"] == float("inf")


def test_the_last_right_solution_is_found_by_its_outcome(tmp_path: Path) -> None:
    path = tmp_path / "trees.jsonl"
    wrong = write_tree('say "outcome": true', [(0, '"outcome": true', 0.9, False)])
    write_trees(path, [two_ways("first"), two_ways("second"), wrong])
    found = last_solution(path)
    assert found
    assert found.problem == "second"
    assert found.thoughts == ["3+4=7", "The answer is \\boxed{7}."]
    assert found.probability == pytest.approx(math.exp(-2))
    write_trees(path, [wrong])
    assert last_solution(path) is None


# The page


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two iterations, whose page may be made again at once."""
    monkeypatch.setattr(live, "REST", 0)
    return write_run(
        tmp_path / "run",
        metrics=played(2),
        evaluations={0: evaluation(0.25)},
        trees={1: [two_ways("What is 3+4?")]},
        settings={"run": {"dir": "runs/written", "iterations": 3}},
    )


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The versions of which a page is made from now on."""
    made: list[str] = []
    render = live.render_live

    def counting(run: Any, version: str) -> str:
        made.append(version)
        return render(run, version)

    monkeypatch.setattr(live, "render_live", counting)
    return made


def test_a_page_is_made_only_when_files_have_changed(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, page = counted(monkeypatch), LivePage(run)
    first = page.look()
    assert page.look() is first
    (run / "note.txt").write_text("not of the page")
    assert page.look() is first
    add_iteration(run, 3)
    second = page.look()
    assert "3 of 3" in second.page
    assert not second.complete
    (run / "eval" / "iteration-000003.json").write_text(json.dumps(evaluation(0.75)))
    third = page.look()
    assert third.complete
    assert made == [first.version, second.version, third.version]
    assert len({*made}) == 3


def test_pages_take_a_small_share_of_the_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REST", 1000)
    made, page = counted(monkeypatch), LivePage(run)
    first = page.look()
    add_iteration(run, 3)
    assert page.look() is first
    assert len(made) == 1


def test_trees_that_stayed_are_not_read_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, opened = LivePage(run), []
    page.look()
    open_ = Path.open

    def noting(path: Path, *arguments: Any, **more: Any) -> Any:
        opened.append(path.name)
        return open_(path, *arguments, **more)

    monkeypatch.setattr(Path, "open", noting)
    add_iteration(run, 3)
    opened.clear()
    page.look()
    assert {*opened} == {"metrics.jsonl", "iteration-000003.jsonl"}


def test_a_run_that_has_not_begun_is_waited_for(tmp_path: Path, run: Path) -> None:
    page = LivePage(tmp_path / "later")
    waiting = page.look()
    assert "not a run folder" in waiting.page
    assert 'http-equiv="refresh"' in waiting.page
    run.rename(tmp_path / "later")
    begun = page.look()
    assert begun.notice is None
    assert "2 of 3" in begun.page


def test_the_last_page_stays_while_a_file_is_broken(run: Path) -> None:
    page = LivePage(run)
    good = page.look()
    broken = run / "eval" / "iteration-000002.json"
    broken.write_text('{"strategies": {"gre')
    look = page.look()
    assert (look.page, look.version) == (good.page, good.version)
    assert look.notice
    assert "iteration-000002.json: not valid JSON" in look.notice
    broken.write_text(json.dumps(evaluation(0.5)))
    assert page.look().notice is None
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "self-')  # a line that is being written is no fault
    assert page.look().notice is None
    (run / "config.yaml").unlink()
    gone = page.look()
    assert gone.notice
    assert "2 of 3" in gone.page


# The server


@pytest.fixture
def port(run: Path) -> Iterator[int]:
    with serving(run, 0) as address:
        assert address.startswith("http://127.0.0.1:")
        yield int(address.rstrip("/").rpartition(":")[2])


def asked(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_and_its_state_are_served(port: int, run: Path) -> None:
    status, page = asked(port, "/")
    assert status == 200
    assert "2 of 3" in page
    assert "connect-src &#39;self&#39;" in page or "connect-src 'self'" in page
    assert 'href="#' in page
    assert "metrics.jsonl</a>" not in page
    state = json.loads(asked(port, "/state")[1])
    assert f'data-version="{state["version"]}"' in page
    assert (state["complete"], state["notice"]) == (False, None)
    assert 0 <= state["age"] < 600
    add_iteration(run, 3)
    assert json.loads(asked(port, "/state")[1])["version"] != state["version"]
    assert "3 of 3" in asked(port, "/")[1]


def test_a_head_has_no_body(port: int) -> None:
    assert asked(port, "/", "HEAD") == (200, "")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_reading_is_answered(port: int, run: Path, method: str) -> None:
    before = contents(run)
    assert asked(port, "/", method)[0] == 501
    assert contents(run) == before


@pytest.mark.parametrize(
    "path",
    [
        "/config.yaml", "/metrics.jsonl", "/trees/", "/..", "/../run/config.yaml", "//etc/passwd",
        "/%2e%2e/run/config.yaml", "/..%2frun%2fconfig.yaml", "/state/", "/index.html",
        "/favicon.ico", "/\\..\\config.yaml", "http://127.0.0.1/config.yaml",
    ],
)  # fmt: skip
def test_no_file_is_served(port: int, path: str) -> None:
    assert asked(port, path) == (404, "There is one page here: /\n")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:9000", 200), ("127.0.0.1:8117", 200), ("evil.example", 403),
        ("evil.example:8117", 403), ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403), ("evil@localhost", 403), ("localhost:x", 403), ("", 403),
        ("0.0.0.0", 403), ("[::1]", 403),
    ],
)  # fmt: skip
def test_a_page_of_another_name_cannot_ask(port: int, host: str, status: int) -> None:
    for path in ("/", "/state"):
        assert asked(port, path, Host=host)[0] == status


@pytest.mark.parametrize("hosts", ["", "Host: localhost\r\nHost: evil.example\r\n"])
def test_a_request_names_one_host(port: int, hosts: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"GET / HTTP/1.0\r\n{hosts}\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.0 403")


def test_other_sites_can_neither_read_nor_frame_it(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/state", headers={"Origin": "http://evil.example"})
    headers = connection.getresponse().headers
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_other_machines_cannot_ask(port: int) -> None:
    with socket.socket() as other:  # another address of this machine is one that is not served
        other.settimeout(5)
        assert other.connect_ex(("127.0.0.2", port)) != 0


def test_what_a_run_says_stays_text(run: Path) -> None:
    write_trees(run / "trees" / "iteration-000002.jsonl", [two_ways(HOSTILE.strip("\ud800"))])
    (run / "eval" / "iteration-000002.json").write_text(json.dumps(evaluation(0.5, model=HOSTILE)))
    with (run / "metrics.jsonl").open("a") as file:
        file.write(text_of([{"stage": "self-play", "step": 3, HOSTILE: 1.0}]))
    with serving(run, 0) as address:
        page = asked(int(address.rstrip("/").rpartition(":")[2]), "/")[1]
    assert page.count("<script") == page.count("</script") == 2
    assert page.count("hacked") >= 3


def test_a_port_in_use_is_one_line(port: int, run: Path) -> None:
    with pytest.raises(UserError) as caught:
        watch_run(run, port)
    assert str(caught.value) == f"--port: {port} is in use; give another, or 0 for a free one"
    with pytest.raises(UserError, match="is a file; name a run folder"):
        watch_run(run / "config.yaml", 0)


# The terminal


def shown(path: Path, width: int = 100) -> str:
    """What the view draws, without colours."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    console.print(draw(Watching(path).look()))
    return file.getvalue()


def test_the_view_shows_the_numbers_of_the_files(run: Path) -> None:
    text = shown(run)
    for words in ("iteration 2 of 3", "tokens/s", "500", "policy loss", "-0.25", "greedy 0.250"):
        assert words in text
    assert "solved last, in iteration 1" in text
    assert "The answer is \\boxed{7}." in text
    assert "warm-up step 1" in shown(write_run(run.parent / "warm", metrics=played(0)))
    assert "not a run folder" in shown(run.parent / "none")


def test_a_terminal_is_not_steered_by_what_a_model_wrote(tmp_path: Path) -> None:
    thought = (0, f"{HOSTILE}\nnext", 0.9, True)
    folder = write_run(
        tmp_path / "[red]\x1b[2J",
        metrics=[{"stage": "self-play", "step": 1, "policy_loss": 1.0}],
        evaluations={0: {**evaluation(0.5), "strategies": {
            HOSTILE: evaluation(0.5)["strategies"]["greedy"]
        }}},
        trees={1: [write_tree(HOSTILE, [thought])]},
    )  # fmt: skip
    text = shown(folder, width=400)
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert text.count("\\x1b]0;hacked\\x07\\x9b2J\\u202e[bold]</script>") == 3
    assert "[red]\\x1b[2J" in text
    lines = Lines().fresh(Watching(folder).look())
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 2


@given(st.text())
def test_printable_text_is_left_as_it_is_and_all_text_can_be_printed(text: str) -> None:
    assert printable(text).isprintable()
    if text.isprintable():
        assert printable(text) == text


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_any_numbers_have_a_sparkline(values: list[float]) -> None:
    bars = sparkline(values)
    assert len(bars) == len(values)
    assert bars[values.index(min(values))] == "▁"


def test_sparklines() -> None:
    assert sparkline([0.0, 3.5, 7.0]) == "▁▅█"
    assert sparkline([2.0, 2.0]) == "▁▁"


def test_without_a_terminal_every_iteration_is_one_line(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    later, looks = run.parent / "later", iter(range(4))

    def sleep(seconds: float) -> None:
        look = next(looks)
        if look == 0:
            run.rename(later)
        elif look == 1:
            add_iteration(later, 3)
        elif look == 3:
            raise InterruptedRunError(signal.SIGINT)

    monkeypatch.setattr(terminal.time, "sleep", sleep)
    with pytest.raises(InterruptedRunError):
        terminal.follow(later, "http://here/", Interrupts())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("http://here/")
    assert "not a run folder" in lines[1]
    assert lines[2] == "after iteration 0: greedy 0.250 (0.150 to 0.350)"
    assert [line[:15] for line in lines[3:]] == [f"iteration   {n}/3" for n in (1, 2, 3)]
    assert "tokens/s 750" in lines[-1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_with_code_0(run: Path, number: int) -> None:
    """On a real terminal, while the page is there."""
    terminal_end, own_end = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    command = [INSTALLED, "watch", run, "--port", "0"]
    process = subprocess.Popen(command, stdout=own_end, stderr=own_end, env=environment)
    os.close(own_end)
    told, end = "", time.monotonic() + 60
    while "boxed" not in told and time.monotonic() < end:
        told += os.read(terminal_end, 65536).decode(errors="replace")
    port = int(told.partition("127.0.0.1:")[2].partition("/")[0])
    assert "2 of 3" in asked(port, "/")[1]
    process.send_signal(number)
    assert process.wait(timeout=20) == 0
    with pytest.raises(ConnectionRefusedError):
        asked(port, "/")
    os.close(terminal_end)


def test_a_solved_tree_tells_how_likely_it_is() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    console.print(draw_tree(distinct_ways("3+4=8", "3+4=7")))
    shown = console.file.getvalue().splitlines()
    assert "covered 0.750" in shown[1]
    assert "p 0.5 " in shown[2]
    assert "p 0.25 " in shown[3]
    assert "\x1b[2m3+4=\x1b[0m" in shown[3]  # dim: it shares it with the one above
    assert "\x1b[1;32m7\x1b[0m" in shown[3]


def test_hostile_text_is_shown_where_it_leaves_a_sibling() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    console.print(draw_tree(distinct_ways("\x1b[2J [red]one", "\x1b[2J [red]\x1b[2Jtwo")))
    shown = console.file.getvalue()
    assert "\\x1b[2J [red]\\x1b[2Jtwo" in shown
    assert "\x1b[2J" not in shown


def test_a_run_of_distinct_solutions_tells_its_success(tmp_path: Path) -> None:
    rows = [row | {"success": 0.125} for row in played(1)]
    told = {}
    for algorithm in ("forks", "distinct"):
        settings = {"search": {"algorithm": algorithm}}
        folder = write_run(tmp_path / algorithm, metrics=rows, settings=settings)
        told[algorithm] = list(run_lines(read_run(folder, algorithm)))[-1]
    assert "right solutions 0.5" in told["forks"]
    assert "success" not in told["forks"]
    assert "success 0.125" in told["distinct"]
    assert "right solutions" not in told["distinct"]


def test_a_solved_tree_shows_what_would_steer_the_terminal() -> None:
    tree = chain_tree([0.5, 0.6], True)
    tree.nodes[1].thought.text = "\x1b[2J [red]one\ntwo"
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    console.print(draw_tree(tree))
    shown = console.file.getvalue()
    assert "\\x1b[2J [red]one" in shown
    assert "\x1b[2J" not in shown
