"""The beginning of a run: a refused one leaves no trace, and a resumed one finds its own data."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from command_line import contents

from llamao1_cli.config import Config
from llamao1_cli.config.file import load_config
from llamao1_cli.errors import UserError
from llamao1_cli.run import commands

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"


def settings(folder: Path, *overrides: str) -> Config:
    few = ["eval.strategies=[greedy]", "eval.problems=1", "run.iterations=0", "warmup.examples=4"]
    return load_config(TINY, [f"run.dir={folder}", *few, *overrides])


def data_files(folder: Path) -> list[str]:
    """Overrides for a task of two small files."""
    files = {"train": "3 + {}?", "test": "4 + {}?"}
    for name, text in files.items():
        rows = [
            {"problem": text.format(n), "answer": str(n), "solution": f"{n} = {n}\n#### {n}"}
            for n in range(4)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        f"task={{kind: data, train: {{path: {folder}/train.jsonl}}, "
        f"test: {{path: {folder}/test.jsonl}}, solution_field: solution}}"
    ]


def train(config: Config, *, resume: bool = False, overwrite: bool = False) -> None:
    commands.train(config, trees=None, resume=resume, overwrite=overwrite)


@pytest.fixture
def no_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    """A W&B that writes into the folder it is given, and then cannot start."""

    def init(dir: str, **rest: object) -> None:
        (Path(dir) / "wandb").mkdir()
        (Path(dir) / "wandb" / "debug.log").write_text("started")
        raise RuntimeError("no API key")

    module = ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)


@pytest.mark.usefixtures("no_wandb")
def test_a_run_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="wandb cannot start: RuntimeError: no API key"):
        train(settings(tmp_path / "deep" / "run", "run.trackers=[tensorboard, wandb]"))
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_wandb")
def test_a_run_that_is_refused_deletes_nothing_of_the_one_it_would_overwrite(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    train(settings(run))
    before = contents(run)
    for options in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(UserError, match="wandb cannot start"):
            train(settings(run, "run.trackers=[wandb]", "run.checkpoint_every=3"), **options)
        assert contents(run) == before


def test_a_data_file_that_changed_is_noticed_on_resuming(tmp_path: Path) -> None:
    run, data = tmp_path / "run", data_files(tmp_path)
    train(settings(run, *data))
    (state,) = run.glob("checkpoints/*/state.json")
    assert set(json.loads(state.read_text())["data"]) == {"task.train", "task.test"}
    train(settings(run, *data), resume=True)
    before = contents(run)
    for name in ("train", "test"):
        file = tmp_path / f"{name}.jsonl"
        whole = file.read_text()
        file.write_text(whole.replace("+ 3?", "+ 5?"))
        with pytest.raises(UserError, match=rf"^--resume: task\.{name}: .* has changed since"):
            train(settings(run, *data), resume=True)
        assert contents(run) == before
        file.write_text(whole)
    train(settings(run, *data), resume=True)


def test_the_marked_texts_of_a_warm_up_that_is_over_may_go(tmp_path: Path) -> None:
    run, texts = tmp_path / "run", tmp_path / "texts.jsonl"
    thought = "<start_of_thought>{}<end_of_thought>"
    row = {"text": "<start_of_father_id>-1<end_of_father_id><start_of_local_id>0<end_of_local_id>"}
    row["text"] += thought.format("<problem>1 + 1?") + "<start_of_rating>"
    row["text"] += "<unknown_rating><end_of_rating>"
    texts.write_text(json.dumps(row) + "\n")
    config = settings(run, f"warmup.data.path={texts}")
    commands.sft(config, resume=False, overwrite=False)
    texts.unlink()
    train(config, resume=True)
