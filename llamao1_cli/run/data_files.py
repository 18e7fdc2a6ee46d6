"""The data files of a run, by what is in them: a resumed run must find what it began with."""

from collections.abc import Mapping
from pathlib import Path

from llamao1_cli.config import Config, DataTask, PythonTask
from llamao1_cli.errors import UserError
from llamao1_cli.files.manifest import digest


def data_digests(config: Config, *, warming: bool) -> dict[str, str]:
    """Returns the digests of the data files by the keys of the configuration that name them; the
    warm-up's only where it is still read (`warming`). The hub's data sets have none."""
    return {
        key: digest(Path(path))
        for key, path in _paths(config).items()
        if path is not None and (warming or not key.startswith("warmup."))
    }


def check_unchanged(config: Config, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise UserError for a data file whose digest is not what it was."""
    for key in before.keys() & now.keys():
        if before[key] != now[key]:
            raise UserError(
                f"--resume: {key}: {_paths(config)[key]} has changed since the checkpoint was "
                "written; restore the file, or start another run folder"
            )


def _paths(config: Config) -> dict[str, str | None]:
    """Returns the files by their keys, None for a data set of the hub."""
    paths: dict[str, str | None] = {}
    if isinstance(config.task, DataTask):
        paths |= {"task.train": config.task.train.path, "task.test": config.task.test.path}
    if isinstance(config.task, PythonTask):
        paths["task.path"] = config.task.path
    if config.warmup and config.warmup.data:
        paths["warmup.data"] = config.warmup.data.path
    return paths
