"""The external judge against a real HTTP server that is right, slow, broken or not there."""

import json
import subprocess
import sys
import threading
import time

import pytest
from fake_engine import FakeEngine
from hypothesis import given
from hypothesis import strategies as st
from judge_server import KEY, Answer, Server, completion

from llamao1_cli.config import JudgeConfig, SearchConfig
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.errors import RunFailedError, UserError
from llamao1_cli.evaluate.endpoint import SYSTEM, Endpoint, parse_probability, question
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem


def config(server: Server, **changes: object) -> JudgeConfig:
    settings = {"base_url": server.url, "model": "judge", "retries": 0, **changes}
    return JudgeConfig.model_validate(settings)


def small_tree() -> Tree:
    tree = Tree.plant(Problem("p", "How many?", "the true answer"), 0, 0.5)
    (first,) = tree.attach(tree.root, [Thought(None, "one", rating=0.1)])
    tree.attach(first, [Thought(None, "two", rating=0.2)])
    tree.attach(tree.root, [Thought(None, "three", rating=0.3)])
    return tree


def counts(**some: int) -> dict[str, int]:
    nothing = {"asked": 0, "fallbacks": 0, "prompt_tokens": 0, "completion_tokens": 0}
    return nothing | some


def values(tree: Tree) -> list[float]:
    return [node.value for node in tree.nodes]


def test_every_new_thought_is_asked_for_once_and_valued(server: Server) -> None:
    answers = {"(none yet)": "0.25", "1. one": " 1\n", "1. one\n2. two": "0.75", "1. three": "0"}
    server.answer = lambda text: (200, completion(answers[text.partition("Steps:\n")[2]]))
    endpoint, tree = Endpoint(config(server, max_tokens=9)), small_tree()
    judge = endpoint.judge()
    judge([tree])
    assert values(tree) == [0.25, 1.0, 0.75, 0.0]
    judge([tree])
    assert len(server.asked) == 4
    assert endpoint.drain() == counts(asked=4, prompt_tokens=44, completion_tokens=12)
    assert endpoint.drain() == counts()
    assert tree.judging_tokens == 12
    answers["1. one\n2. more"] = "0.125"
    tree.attach(tree.nodes[1], [Thought(None, "more", rating=0.9)])
    judge([tree])
    assert values(tree)[4] == 0.125
    assert len(server.asked) == 5
    for asked in server.asked:
        assert asked["path"] == "/v1/chat/completions"
        assert (asked["model"], asked["temperature"]) == ("judge", 0)
        assert asked["max_tokens"] == 9
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
    Endpoint(config(server, concurrency=2)).judge()([small_tree(), small_tree(), small_tree()])
    assert len(server.asked) == 12
    assert most == 2


def test_an_endpoint_that_recovers_is_tried_again(server: Server) -> None:
    server.answer = lambda text: (500, "{}") if len(server.asked) < 3 else (200, completion("0.9"))
    endpoint, tree = Endpoint(config(server, retries=2)), lone_root()
    endpoint.judge()([tree])
    assert values(tree) == [0.9]
    assert len(server.asked) == 3
    assert endpoint.drain() == counts(asked=1, prompt_tokens=11, completion_tokens=3)


def lone_root() -> Tree:
    return Tree.plant(Problem("p", "How many?", "7"), 0, 0.375)


def slow(text: str) -> tuple[int, str]:
    time.sleep(2.0)
    return 200, completion("0.5")


FAILURES: dict[str, tuple[Answer, str]] = {
    "down": (lambda text: (503, "no"), "HTTP 503, 1 times"),
    "busy": (lambda text: (429, "{}"), "HTTP 429, 1 times"),
    "slow": (slow, r"no answer within judge\.timeout_seconds \(0\.5\), 1 times"),
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
    limit = 0.5 if name == "slow" else 60.0  # the others fail at once, however busy the machine is
    with pytest.raises(RunFailedError, match=message) as error:
        Endpoint(config(server, timeout_seconds=limit)).judge()([lone_root()])
    assert server.url in str(error.value)
    assert "\n" not in str(error.value)
    endpoint, trees = Endpoint(config(server, timeout_seconds=limit, on_failure="rating")), []
    judge = endpoint.judge()
    for server.answer in (FAILURES[name][0], lambda text: (200, completion("0.75"))):
        trees.append(lone_root())
        trees[-1].root.value = 0.0
        judge([trees[-1]])
    assert [values(tree) for tree in trees] == [[0.375], [0.75]]
    counted = endpoint.drain()
    assert (counted["asked"], counted["fallbacks"]) == (2, 1)
    assert counted["completion_tokens"] == sum(tree.judging_tokens for tree in trees)


def test_the_first_failure_ends_it_however_many_questions_wait(server: Server) -> None:
    server.answer = lambda text: (503, "no")
    with pytest.raises(RunFailedError, match="HTTP 503"):
        Endpoint(config(server, concurrency=2)).judge()([small_tree() for _ in range(100)])
    assert len(server.asked) < 50


@pytest.mark.parametrize("usage", [None, {}, {"completion_tokens": -3}])
def test_a_reply_that_does_not_tell_its_length_is_charged_as_the_longest(
    server: Server, usage: object
) -> None:
    body = json.loads(completion("0.5"))
    body["usage"] = usage
    server.answer = lambda text: (200, json.dumps(body))
    endpoint, tree = Endpoint(config(server, max_tokens=7)), lone_root()
    endpoint.judge()([tree])
    assert endpoint.drain() == counts(asked=1, completion_tokens=7)
    assert tree.judging_tokens == 7


def test_a_reply_that_is_longer_than_allowed_is_no_answer(server: Server) -> None:
    with pytest.raises(RunFailedError, match=r"3 tokens, more than judge\.max_tokens \(2\)"):
        Endpoint(config(server, max_tokens=2)).judge()([lone_root()])
    endpoint, tree = Endpoint(config(server, max_tokens=2, on_failure="rating")), lone_root()
    endpoint.judge()([tree])
    assert values(tree) == [0.375]
    assert endpoint.drain() == counts(asked=1, fallbacks=1, prompt_tokens=11, completion_tokens=3)


def test_a_server_that_is_not_there_is_named(server: Server) -> None:
    gone = "http://127.0.0.1:1/v1"
    with pytest.raises(RunFailedError, match=f"{gone}: no connection") as error:
        Endpoint(config(server, base_url=gone)).judge()([lone_root()])
    assert "refused" in str(error.value)
    endpoint = Endpoint(config(server, base_url=gone, on_failure="rating"))
    tree = small_tree()
    endpoint.judge()([tree])
    assert values(tree) == [0.5, 0.1, 0.2, 0.3]
    assert endpoint.drain() == counts(asked=4, fallbacks=4)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_a_mistake_of_the_user_and_shows_no_key(server: Server, status: int) -> None:
    server.answer = lambda text: (status, json.dumps({"error": {"message": f"bad key {KEY}"}}))
    with pytest.raises(UserError, match=f"HTTP {status}; check judge.model") as error:
        Endpoint(config(server, on_failure="rating", retries=2)).judge()([small_tree()])
    assert KEY not in str(error.value)
    assert len(server.asked) <= 4  # no further tries


def test_the_key_comes_from_the_variable_that_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", "another")
    Endpoint(config(server, key_variable="OTHER_KEY")).judge()([lone_root()])
    assert server.keys == ["Bearer another"]
    monkeypatch.delenv("OTHER_KEY")
    with pytest.raises(UserError, match=r"judge\.key_variable: OTHER_KEY is not set"):
        Endpoint(config(server, key_variable="OTHER_KEY"))


def test_a_search_grows_by_the_judges_values(server: Server, language: MarkedLanguage) -> None:
    server.answer = lambda text: (200, completion(f"0.{len(text) % 10}"))
    endpoint = Endpoint(config(server))
    problems = [Problem(f"p{n}", f"How many are {n}?", "a secret") for n in range(3)]
    trees = grow(
        SearchRequest(problems, SearchConfig(simulations=4), [1, 2, 3], judge=endpoint.judge()),
        FakeEngine(language),
        language,
    )
    for tree in trees:
        expected = [float(f"0.{len(question(tree, node)) % 10}") for node in tree.nodes]
        assert values(tree) == expected
    assert endpoint.drain()["asked"] == sum(len(tree.nodes) for tree in trees)
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
        "from llamao1_cli.evaluate.endpoint import Endpoint\n"
        "Endpoint(JudgeConfig(base_url='http://x', model='m'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UserError: judge: an external judge needs the extra" in done.stderr
    assert "llamao1-cli[openai]" in done.stderr
