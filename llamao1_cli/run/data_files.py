"""The data files of a run, by what is in them: a resumed run must find what it began with."""

from collections.abc import Mapping
from pathlib import Path

from llamao1_cli.config import Config, DataSource, DataTask
from llamao1_cli.errors import UserError
from llamao1_cli.files.manifest import digest


def data_digests(config: Config, *, warming: bool) -> dict[str, str]:
    """Returns the digests of the data files by the keys of the configuration that name them; the
    warm-up's only where it is still read (`warming`). The hub's data sets have none."""
    return {
        key: digest(Path(source.path))
        for key, source in _sources(config).items()
        if source.path is not None and (warming or not key.startswith("warmup."))
    }


def check_unchanged(config: Config, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise UserError for a data file whose digest is not what it was."""
    for key in before.keys() & now.keys():
        if before[key] != now[key]:
            path = _sources(config)[key].path
            raise UserError(
                f"--resume: {key}: {path} has changed since the checkpoint was written; restore "
                "the file, or start another run folder"
            )


def _sources(config: Config) -> dict[str, DataSource]:
    sources: dict[str, DataSource] = {}
    if isinstance(config.task, DataTask):
        sources |= {"task.train": config.task.train, "task.test": config.task.test}
    if config.warmup and config.warmup.data:
        sources["warmup.data"] = config.warmup.data
    return sources
