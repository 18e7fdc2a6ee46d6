"""Which configuration and weights a command line means; light, so that checks answer at once."""

from pathlib import Path

from llamao1_cli.config import Config
from llamao1_cli.config.file import load_config
from llamao1_cli.errors import UserError
from llamao1_cli.files.run_folder import run_folder


def resolve(
    config: Path | None, run: Path | None, overrides: list[str] | None
) -> tuple[Config, Path | None]:
    """Returns the configuration to use, and the newest model folder if a run was named."""
    if (config is None) == (run is None):
        raise UserError("give either --config FILE or --run FOLDER")
    if config is not None:
        return load_config(config, overrides), None
    assert run is not None
    folder = run_folder(run)
    return load_config(folder.config, overrides), folder.latest() / "model"
