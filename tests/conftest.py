import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from command_line import InProcess
from hypothesis import settings
from judge_server import KEY, Server

from llamao1_cli.config import ArithmeticTask, BuildConfig, ModelConfig
from llamao1_cli.language.marked import METAS
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.model.load import LanguageModel, load_model
from llamao1_cli.tasks.arithmetic import Arithmetic

torch.set_num_threads(1)
# A machine shared with others may take any time over one example.
settings.register_profile("llamao1", deadline=None, max_examples=60)
settings.load_profile("llamao1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Cases marked `soak` run only where `-m` names them, as scripts/soak.sh does."""
    if "soak" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


BUILD = BuildConfig(hidden_size=32, layers=2, heads=2, feed_forward=64)


@pytest.fixture(scope="session")
def arithmetic() -> Arithmetic:
    return Arithmetic(ArithmeticTask())


@pytest.fixture(scope="session")
def tiny(arithmetic: Arithmetic) -> LanguageModel:
    """A model from scratch with random weights; tests leave its weights as they are."""
    config = ModelConfig(build=BUILD, device="cpu", max_length=256)
    return load_model(config, arithmetic.corpus(), seed=0)


@pytest.fixture(scope="session")
def language(tiny: LanguageModel) -> MarkedLanguage:
    return tiny.language(METAS)


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


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> InProcess:
    return InProcess(monkeypatch, capfd)


@pytest.fixture
def soaked(capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Prints a line of `scripts/soak.sh`: what, how often, lost, result."""

    def say(what: str, often: str, lost: str, result: str) -> None:
        with capsys.disabled():
            print(f"\nsoak | {what} | {often} | {lost} | {result}")

    return say
