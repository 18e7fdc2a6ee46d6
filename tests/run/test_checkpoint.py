"""Checkpoints that were cut short, altered or never finished, and what a run makes of them."""

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from llamao1_cli.config import Config
from llamao1_cli.config.file import load_config
from llamao1_cli.config.resolve import resolve
from llamao1_cli.errors import RunFailedError, UserError
from llamao1_cli.files.manifest import damage, write_manifest
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.files.whole import write_whole
from llamao1_cli.model.load import load_model
from llamao1_cli.run import commands
from llamao1_cli.run.tracking import Tracker
from llamao1_cli.run.trainer import RLSPTrainer

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"


def tiny_run(folder: Path, *overrides: str) -> Config:
    small = [f"run.dir={folder}", "eval.strategies=[greedy]", "eval.problems=1", *overrides]
    return load_config(TINY, small)


def fit(config: Config, *, resume: bool = False) -> None:
    commands.train(config, trees=None, resume=resume, overwrite=False)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    """One bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three iterations that kept all its checkpoints."""
    run = tmp_path_factory.mktemp("trained") / "run"
    fit(tiny_run(run, "run.iterations=3", "run.keep_checkpoints=9"))
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


def test_every_file_of_a_checkpoint_is_guarded(run: Path) -> None:
    newest = RunFolder(run).latest()
    files = [path for path in newest.rglob("*") if path.is_file()]
    assert len(files) >= 8
    assert damage(newest) is None
    for path in files:
        before, name = path.read_bytes(), path.relative_to(newest).as_posix()
        for harm in (cut, flip, Path.unlink):
            harm(path)
            assert name in (damage(newest) or ""), (name, harm)
            path.write_bytes(before)
    assert damage(newest) is None
    assert damage(newest, "model/") is None
    flip(newest / "optimizer.safetensors")
    assert damage(newest, "model/") is None


@pytest.mark.parametrize(
    ("harm", "name"), [(flip, "optimizer.safetensors"), (Path.unlink, "manifest.json")]
)
def test_the_checkpoint_before_a_damaged_one_is_resumed(
    run: Path,
    trained: Path,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[Path], None],
    name: str,
) -> None:
    harm(run / "checkpoints" / "iteration-000003" / name)
    fit(tiny_run(run, "run.iterations=3", "run.keep_checkpoints=1"), resume=True)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "passed over" in line]
    assert "iteration-000003" in line
    assert name in line
    (left,) = (run / "checkpoints").iterdir()
    assert damage(left) is None
    for file in ("model/model.safetensors", "optimizer.safetensors", "replay-0.safetensors"):
        again = load_file(left / file)
        first = load_file(trained / "checkpoints" / "iteration-000003" / file)
        assert all((again[key] == first[key]).all() for key in first)


def test_commands_that_read_a_run_pass_over_damage(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(run / "checkpoints" / "iteration-000003" / "state.json")
    _, weights = resolve(None, run, [])
    assert weights == run / "checkpoints" / "iteration-000002" / "model"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("llamao1: ")
    assert "state.json" in line


def test_a_run_without_any_sound_checkpoint_is_refused(run: Path) -> None:
    for checkpoint in (run / "checkpoints").iterdir():
        flip(checkpoint / "replay-0.safetensors")
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        fit(tiny_run(run, "run.iterations=3", "run.keep_checkpoints=9"), resume=True)
    assert len(list((run / "checkpoints").iterdir())) == 4


def test_a_damaged_checkpoint_that_was_named_is_refused(run: Path, tmp_path: Path) -> None:
    model = run / "checkpoints" / "iteration-000002" / "model"
    flip(model / "model.safetensors")
    config = load_config(TINY, [f"model.path={model}"])
    with pytest.raises(UserError, match=r"iteration-000002: model/model.safetensors differs"):
        load_model(config.model, [], 0)
    plain = shutil.copytree(model, tmp_path / "plain")  # a model folder of no checkpoint
    cut(plain / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.path.*cannot be loaded"):
        load_model(load_config(TINY, [f"model.path={plain}"]).model, [], 0)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Inside, no file of this process grows beyond `size` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, save = RunFolder(run).latest(), RLSPTrainer._save
    sizes = {path.stat().st_size for path in newest.rglob("*") if path.is_file()}
    failures = []

    def saved_on_a_full_disk(trainer: RLSPTrainer) -> None:
        """Fails at one file after the other, then goes well."""
        for size in sorted(sizes):
            with (
                files_of_at_most(size - 1),
                pytest.raises(RunFailedError, match=r"iteration-000004: the checkpoint cannot be"),
            ):
                save(trainer)
            assert RunFolder(run).latest() == newest
            assert not list((run / "checkpoints").glob(".*"))
            failures.append(size)
        save(trainer)

    monkeypatch.setattr(RLSPTrainer, "_save", saved_on_a_full_disk)
    fit(tiny_run(run, "run.iterations=4", "run.keep_checkpoints=9"), resume=True)
    assert len(failures) >= 5
    assert RunFolder(run).latest().name == "iteration-000004"


def test_other_files_that_cannot_be_written_say_so(tmp_path: Path) -> None:
    write_whole(tmp_path / "trees.jsonl", "before")
    tracker = Tracker(tmp_path / "metrics.jsonl", {}, print)
    tracker.log("warmup", 1, {"loss": 1.0})
    with files_of_at_most(100):
        with pytest.raises(RunFailedError, match=r"trees.jsonl: cannot be written: File too large"):
            write_whole(tmp_path / "trees.jsonl", "x" * 101)
        with pytest.raises(RunFailedError, match=r"metrics.jsonl: cannot be written"):
            tracker.log("warmup", 2, {"loss": "x" * 200})
    assert (tmp_path / "trees.jsonl").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "trees.jsonl"]


@pytest.mark.parametrize("beyond", [0, 7, 1000])
def test_a_torn_line_of_metrics_is_written_again(tmp_path: Path, beyond: int) -> None:
    path = tmp_path / "metrics.jsonl"
    tracker = Tracker(path, {}, print)
    for step in (1, 2):
        tracker.log("warmup", step, {"loss": 1.0})
    size, whole = tracker.size, path.read_text()
    tracker.close()
    # The file may be shorter than a checkpoint remembers: it did not reach the disk before power
    # was lost.
    path.write_text(whole + '{"stage": "warmup", "st')
    again = Tracker(path, {}, print)
    again.cut(size + beyond)
    again.log("warmup", 3, {"loss": 1.0})
    again.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_a_manifest_reads_nothing_but_files(tmp_path: Path) -> None:
    write_manifest(tmp_path)
    for name in ("/dev/zero", "..", "x" * 5000, "a\0b"):
        (tmp_path / "manifest.json").write_text(json.dumps({name: (0, "")}))
        assert damage(tmp_path)


def test_what_a_kill_leaves_at_the_very_start_is_no_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / ".config.yaml.part").write_text("run: {di")
    fit(tiny_run(run, "run.iterations=0"), resume=True)
    assert RunFolder(run).checkpointed()


def test_a_checkpoint_of_another_format_is_refused_in_one_sentence(run: Path) -> None:
    newest = RunFolder(run).latest()
    state = json.loads((newest / "state.json").read_text())
    del state["format"]  # as the first format had none
    (newest / "state.json").write_text(json.dumps(state))
    (newest / "manifest.json").unlink()
    write_manifest(newest)
    with pytest.raises(UserError, match="of format 1, and this version of llamao1 resumes 2"):
        fit(tiny_run(run, "run.iterations=3", "run.keep_checkpoints=9"), resume=True)
    assert resolve(None, run, [])[1] == newest / "model"  # its weights can still be used
