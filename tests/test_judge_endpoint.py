"""The external judge against a real HTTP server that is right, slow, broken or not there."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fake_engine import FakeEngine
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.codec import Codec
from llamao1_cli.config import JudgeConfig, SearchConfig
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.errors import RunFailedError, UserError
from llamao1_cli.judge_endpoint import SYSTEM, EndpointJudge, parse_probability, question
from llamao1_cli.search.grow import grow
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem

Answer = Callable[[str], tuple[int, str]]  # status and body, from the question asked

KEY = "sk-very-secret"


class Server:
    """Answers chat completions as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.answer: Answer = lambda text: (200, completion("0.5"))
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append({"path": self.path, **body})
                server.keys.append(self.headers["Authorization"])
                status, text = server.answer(body["messages"][-1]["content"])
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


def completion(content: object) -> str:
    message = {"role": "assistant", "content": content}
    return json.dumps(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "judge",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
        }
    )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    pytest.importorskip("openai", reason="the extra `openai` is not installed")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def config(server: Server, **changes: object) -> JudgeConfig:
    settings = {"base_url": server.url, "model": "judge", "retries": 0, **changes}
    return JudgeConfig.model_validate(settings)


def small_tree() -> Tree:
    tree = Tree.plant(Problem("p", "How many?", "the true answer"), 0, 0.5)
    (first,) = tree.attach(tree.root, [Thought(None, "one", value=0.1)])
    tree.attach(first, [Thought(None, "two", value=0.2)])
    tree.attach(tree.root, [Thought(None, "three", value=0.3)])
    return tree


def values(tree: Tree) -> list[float]:
    return [node.value for node in tree.nodes]


def test_every_new_thought_is_asked_for_once_and_valued(server: Server) -> None:
    answers = {"(none yet)": "0.25", "1. one": " 1\n", "1. one\n2. two": "0.75", "1. three": "0"}
    server.answer = lambda text: (200, completion(answers[text.partition("Steps:\n")[2]]))
    judge, tree = EndpointJudge(config(server)), small_tree()
    judge([tree])
    assert values(tree) == [0.25, 1.0, 0.75, 0.0]
    judge([tree])
    assert len(server.asked) == judge.asked == 4
    assert (judge.fallbacks, judge.prompt_tokens, judge.completion_tokens) == (0, 44, 12)
    answers["1. one\n2. more"] = "0.125"
    tree.attach(tree.nodes[1], [Thought(None, "more", value=0.9)])
    judge([tree])
    assert values(tree)[4] == 0.125
    assert len(server.asked) == 5
    for asked in server.asked:
        assert asked["path"] == "/v1/chat/completions"
        assert (asked["model"], asked["temperature"]) == ("judge", 0)
        assert asked["messages"][0] == {"role": "system", "content": SYSTEM}
        assert "How many?" in asked["messages"][1]["content"]
        assert "the true answer" not in json.dumps(asked)
    assert set(server.keys) == {f"Bearer {KEY}"}


def test_no_more_questions_are_in_flight_than_configured(server: Server) -> None:
    flying, most, lock = 0, 0, threading.Lock()

    def answer(text: str) -> tuple[int, str]:
        nonlocal flying, most
        with lock:
            flying, most = flying + 1, max(most, flying + 1)
        time.sleep(0.05)
        with lock:
            flying -= 1
        return 200, completion("0.5")

    server.answer = answer
    EndpointJudge(config(server, concurrency=2))([small_tree(), small_tree(), small_tree()])
    assert len(server.asked) == 12
    assert most == 2


def test_an_endpoint_that_recovers_is_tried_again(server: Server) -> None:
    server.answer = lambda text: (500, "{}") if len(server.asked) < 3 else (200, completion("0.9"))
    judge, tree = EndpointJudge(config(server, retries=2)), lone_root()
    judge([tree])
    assert values(tree) == [0.9]
    assert (len(server.asked), judge.asked, judge.fallbacks) == (3, 1, 0)


def lone_root() -> Tree:
    return Tree.plant(Problem("p", "How many?", "7"), 0, 0.375)


def slow(text: str) -> tuple[int, str]:
    time.sleep(1.0)
    return 200, completion("0.5")


FAILURES: dict[str, tuple[Answer, str]] = {
    "down": (lambda text: (503, "no"), "HTTP 503, 1 times"),
    "busy": (lambda text: (429, "{}"), "HTTP 429, 1 times"),
    "slow": (slow, r"no answer within judge\.timeout_seconds \(0\.2\), 1 times"),
    "words": (lambda text: (200, completion("Probably 0.8")), "'Probably 0.8' is no probability"),
    "outside": (lambda text: (200, completion("1.5")), "'1.5' is no probability"),
    "empty": (lambda text: (200, completion("")), "'' is no probability"),
    "null": (lambda text: (200, completion(None)), "a reply without text"),
    "no choice": (lambda text: (200, '{"choices": []}'), "a reply without text"),
    "list": (lambda text: (200, "[1]"), "a reply without text"),
    "no json": (lambda text: (200, "<html>"), "no reply of the API"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_judge_that_fails_stops_the_run_or_is_counted(server: Server, name: str) -> None:
    server.answer, message = FAILURES[name]
    with pytest.raises(RunFailedError, match=message) as error:
        EndpointJudge(config(server, timeout_seconds=0.2))([lone_root()])
    assert server.url in str(error.value)
    assert "\n" not in str(error.value)
    judge, trees = EndpointJudge(config(server, timeout_seconds=0.2, on_failure="rating")), []
    for server.answer in (FAILURES[name][0], lambda text: (200, completion("0.75"))):
        trees.append(lone_root())
        trees[-1].root.value = 0.0
        judge([trees[-1]])
    assert [values(tree) for tree in trees] == [[0.375], [0.75]]
    assert (judge.asked, judge.fallbacks) == (2, 1)


def test_a_server_that_is_not_there_is_named(server: Server) -> None:
    gone = "http://127.0.0.1:1/v1"
    with pytest.raises(RunFailedError, match=f"{gone}: no connection") as error:
        EndpointJudge(config(server, base_url=gone))([lone_root()])
    assert "refused" in str(error.value)
    judge = EndpointJudge(config(server, base_url=gone, on_failure="rating"))
    tree = small_tree()
    judge([tree])
    assert values(tree) == [0.5, 0.1, 0.2, 0.3]
    assert (judge.asked, judge.fallbacks) == (4, 4)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_a_mistake_of_the_user_and_shows_no_key(server: Server, status: int) -> None:
    server.answer = lambda text: (status, json.dumps({"error": {"message": f"bad key {KEY}"}}))
    with pytest.raises(UserError, match=f"HTTP {status}; check judge.model") as error:
        EndpointJudge(config(server, on_failure="rating", retries=2))([small_tree()])
    assert KEY not in str(error.value)
    assert len(server.asked) <= 4  # no further tries


def test_the_key_comes_from_the_variable_that_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", "another")
    EndpointJudge(config(server, key_variable="OTHER_KEY"))([lone_root()])
    assert server.keys == ["Bearer another"]
    monkeypatch.delenv("OTHER_KEY")
    with pytest.raises(UserError, match=r"judge\.key_variable: OTHER_KEY is not set"):
        EndpointJudge(config(server, key_variable="OTHER_KEY"))


def test_a_search_grows_by_the_judges_values(server: Server, codec: Codec) -> None:
    server.answer = lambda text: (200, completion(f"0.{len(text) % 10}"))
    judge = EndpointJudge(config(server))
    problems = [Problem(f"p{n}", f"How many are {n}?", "a secret") for n in range(3)]
    trees = grow(
        problems,
        [1, 2, 3],
        FakeEngine(codec),
        codec,
        SearchConfig(simulations=4),
        grade=None,
        judge=judge,
    )
    for tree in trees:
        expected = [float(f"0.{len(question(tree, node)) % 10}") for node in tree.nodes]
        assert values(tree) == expected
    assert judge.asked == sum(len(tree.nodes) for tree in trees)
    assert "a secret" not in json.dumps(server.asked)


@given(st.floats(0, 1))
def test_every_probability_is_read(value: float) -> None:
    assert parse_probability(f" {value:.6f}\n") == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    "text", ["", "nan", "-0.1", "1.01", "2", "0,5", "50%", "0.5.", "1e-1", "0.5 0.6", "٠", "inf"]
)
def test_nothing_else_is(text: str) -> None:
    assert parse_probability(text) is None


def test_without_the_extra_the_error_names_it() -> None:
    code = (
        "import sys; sys.modules['openai'] = None\n"
        "from llamao1_cli.config import JudgeConfig\n"
        "from llamao1_cli.judge_endpoint import EndpointJudge\n"
        "EndpointJudge(JudgeConfig(base_url='http://x', model='m'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UserError: judge: an external judge needs the extra" in done.stderr
    assert "llamao1-cli[openai]" in done.stderr
