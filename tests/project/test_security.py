"""Files and models of strangers: nothing of theirs is run, and no key is written anywhere."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from judge_server import KEY, Server
from plain_models import MAX_LENGTH, plain_folder

from llamao1_cli.config import LoraConfig, ModelConfig
from llamao1_cli.config.file import load_config
from llamao1_cli.errors import UserError
from llamao1_cli.learn.replay import Replay
from llamao1_cli.model.load import load_model
from llamao1_cli.run import checkpoint, commands

ROOT = Path(__file__).parents[2]


class Payload:
    """Unpickled, it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self._trace,)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """What would be there if code of a file had been run."""
    return tmp_path / "trace"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return plain_folder(tmp_path / "model", tied=True)


def load(folder: Path, weights: Path | None = None, lora: LoraConfig | None = None) -> None:
    config = ModelConfig(
        language="marked", path=str(folder), lora=lora, device="cpu", max_length=MAX_LENGTH
    )
    load_model(config, [], 0, weights)


def pickled(trace: Path, path: Path, kind: str) -> None:
    """A file that would leave the trace if it were unpickled."""
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Payload(trace)))
    elif kind == "torch":
        torch.save({"weight": Payload(trace)}, path)
    else:
        with path.open("wb") as file:
            np.save(file, np.array([Payload(trace)], object), allow_pickle=True)


KINDS = ["pickle", "torch", "numpy"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_payload_runs_where_it_is_unpickled(tmp_path: Path, trace: Path, kind: str) -> None:
    """The traps below would spring."""
    pickled(trace, tmp_path / "file", kind)
    if kind == "pickle":
        pickle.loads((tmp_path / "file").read_bytes())
    elif kind == "torch":
        torch.load(tmp_path / "file", weights_only=False)
    else:
        np.load(tmp_path / "file", allow_pickle=True)
    assert trace.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_of_a_checkpoint_is_unpickled(tmp_path: Path, trace: Path, kind: str) -> None:
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    readers: dict[str, Callable[[], object]] = {
        "state.json": lambda: checkpoint.load_state(tmp_path),
        "optimizer.safetensors": lambda: checkpoint.load_optimizer(tmp_path, optimizer),
        "replay-0.safetensors": lambda: checkpoint.load_replay(tmp_path, Replay(1, 1.0)),
        "reference.safetensors": lambda: checkpoint.load_weights(tmp_path, {}),
    }
    for name, read in readers.items():
        pickled(trace, tmp_path / name, kind)
        with pytest.raises(UserError, match=f"{name}: not what a checkpoint holds"):
            read()
    assert not trace.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_no_weights_are_unpickled(model: Path, trace: Path, kind: str) -> None:
    (model / "model.safetensors").unlink()
    pickled(trace, model / "pytorch_model.bin", kind)
    with pytest.raises(UserError, match="holds no weights"):
        load(model)
    (model / "other.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be loaded"):
        load(model)
    pickled(trace, model / "model.safetensors", kind)
    with pytest.raises(UserError, match="cannot be loaded"):
        load(model)
    assert not trace.exists()


def test_no_adapter_is_unpickled(model: Path, trace: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    settings = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    pickled(trace, folder / "adapter_model.bin", "torch")
    with pytest.raises(UserError, match=r"adapter_model\.safetensors: no such file"):
        load(model, folder, LoraConfig())
    (folder / "adapter_model.safetensors").write_bytes(b"\x80\x04")
    with pytest.raises(UserError, match="the adapter cannot be loaded"):
        load(model, folder, LoraConfig())
    assert not trace.exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_the_code_of_a_model_is_not_run(
    model: Path, trace: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *prompt: "y")  # nobody is asked either
    (model / "own.py").write_text(f"open({str(trace)!r}, 'w')\nclass Own: pass\n")
    settings = json.loads((model / file).read_text())
    classes = ["AutoConfig", "AutoModelForCausalLM"]
    own: dict[str, object] = dict.fromkeys(classes, "own.Own")
    settings |= {"auto_map": own | {"AutoTokenizer": ["own.Own", "own.Own"]}}
    settings |= {"model_type": "own", "tokenizer_class": "Own"}
    (model / file).write_text(json.dumps(settings))
    with pytest.raises(UserError, match="cannot be loaded"):
        load(model)
    assert not trace.exists()


def test_the_judges_key_is_nowhere_to_be_found(
    tmp_path: Path, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    overrides = [f"run.dir={run}", "run.iterations=1", "eval.problems=1", "eval.samples=2"]
    overrides += ["eval.strategies=[best_of_judge]", "run.trackers=[tensorboard]"]
    overrides += [f"judge={{base_url: '{server.url}', model: m, on_failure: rating, retries: 0}}"]
    refusal = json.dumps({"error": {"message": f"overloaded, dear {KEY}"}})
    fine, server.answer = server.answer, lambda text: (500, refusal)
    config = load_config(ROOT / "configs" / "tiny.yaml", overrides)
    asked = iter([server.answer, fine])
    server.answer = lambda text: next(asked, fine)(text)
    commands.train(config, trees=None, resume=False, overwrite=False)
    assert set(server.keys) == {f"Bearer {KEY}"}
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) > 15
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    shown = capfd.readouterr()
    assert KEY not in shown.out + shown.err
    assert KEY not in repr(config)


def test_the_list_of_dependencies_is_current() -> None:
    command = [sys.executable, ROOT / "scripts" / "list_dependencies.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
