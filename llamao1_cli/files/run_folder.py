"""The run folder: where the files of a run are, and which checkpoints are usable."""

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llamao1_cli.errors import UserError
from llamao1_cli.files.manifest import damage

_NAME = re.compile(r"(warmup|iteration)-(\d{6,})")


def _complain(line: str) -> None:
    print(f"llamao1: {line}", file=sys.stderr)


@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run are."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """The metrics, one JSON object a step."""
        return self.path / "metrics.jsonl"

    @property
    def reward_log(self) -> Path:
        """The tracebacks of rewards that failed, each kind once."""
        return self.path / "rewards.log"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def forest(self) -> Path:
        """The folder of the trees, a file an iteration."""
        return self.path / "trees"

    def trees(self, iteration: int) -> Path:
        """Returns the file of an iteration's trees, one a line."""
        return self.forest / f"iteration-{iteration:06d}.jsonl"

    def evaluation(self, iteration: int) -> Path:
        """Returns the file of the evaluation after an iteration; 0 is before self-play."""
        return self.path / "eval" / f"iteration-{iteration:06d}.json"

    def evaluations(self) -> dict[int, Path]:
        """Returns the evaluations that are there by their iteration, in order."""
        return _numbered(self.path / "eval", ".json")

    def tree_files(self) -> dict[int, Path]:
        """Returns the tree files that are there by their iteration, in order."""
        return _numbered(self.forest, ".jsonl")

    def forget_evaluations(self, iteration: int) -> None:
        """Delete the evaluations after later iterations, which are going to be run again."""
        for number, file in self.evaluations().items():
            if number > iteration:
                file.unlink()

    def forget_checkpoints(self, last: Path) -> None:
        """Delete the checkpoints after `last`, which are going to be written again, and those that
        were never completed."""
        found = complete_checkpoints(self.checkpoints)
        unfinished = list(self.checkpoints.glob(".*.part"))
        for path in found[found.index(last) + 1 :] + unfinished:
            shutil.rmtree(path)

    def occupied(self) -> bool:
        """Returns whether another run has left files here; unfinished ones do not count."""
        names = [path.name for path in self.path.iterdir()] if self.path.exists() else []
        return any(not (name.startswith(".") and name.endswith(".part")) for name in names)

    def clear(self) -> None:
        """Delete the files that a run writes, and no others."""
        for name in ("checkpoints", "trees", "eval", "tensorboard"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for file in (self.config, self.metrics, self.reward_log, self.path / "report.html"):
            file.unlink(missing_ok=True)

    def checkpointed(self) -> bool:
        """Returns whether there is a complete checkpoint."""
        return bool(complete_checkpoints(self.checkpoints))

    def latest(self, say: Callable[[str], None] = _complain) -> Path:
        """Returns the newest complete checkpoint that is as it was written; `say` is told of each
        newer one, which is damaged. Raises UserError if there is none."""
        found = complete_checkpoints(self.checkpoints)
        if not found:
            raise UserError(f"{self.path}: holds no checkpoint; train there first")
        for path in reversed(found):
            wrong = damage(path)
            if wrong is None:
                return path
            say(f"{path}: passed over: {wrong}")
        raise UserError(
            f"{self.checkpoints}: every checkpoint is damaged; start again with --overwrite, or "
            "in another folder"
        )


def run_folder(path: Path) -> RunFolder:
    """Returns the folder of a run that has begun; raises UserError for any other."""
    folder = RunFolder(path)
    if not folder.config.is_file():
        raise UserError(f"{path}: not a run folder (no config.yaml); check the path")
    return folder


def check_model_folder(key: str, folder: Path) -> None:
    """Raise UserError, naming the configuration's `key`, if `folder` is a checkpoint's model and
    damaged."""
    checkpoint = folder.absolute().parent
    if folder.name == "model" and _NAME.fullmatch(checkpoint.name):
        wrong = damage(checkpoint, "model/")
        if wrong:
            raise UserError(f"{key}: {checkpoint}: {wrong}; name another checkpoint")


def _numbered(folder: Path, suffix: str) -> dict[int, Path]:
    """Returns the files of a folder that are called `iteration-N`, by N."""
    files = ((_NAME.fullmatch(file.stem), file) for file in folder.glob(f"iteration-*{suffix}"))
    return dict(sorted((int(match[2]), file) for match, file in files if match))


def complete_checkpoints(folder: Path) -> list[Path]:
    """Returns the complete checkpoints, oldest first; warm-up's come before self-play's."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else []:
        match = _NAME.fullmatch(path.name)
        if match and path.is_dir():
            found.append(((match[1] == "iteration", int(match[2])), path))
    return [path for _, path in sorted(found)]
