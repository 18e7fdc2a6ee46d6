"""Writing files so that they are there whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from llamao1_cli.errors import RunFailedError, UserError


def check_writable(option: str, path: Path | None) -> None:
    """Raise UserError, naming the option, if `path` is a folder or lies below a file."""
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"{option}: {path} is a folder; name a file")
    above = next(each for each in path.absolute().parents if os.path.exists(each))
    if not above.is_dir():
        raise UserError(f"{option}: {path} cannot be written: {above} is a file; name a folder")


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all; RunFailedError if it cannot be."""
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb", buffering=0) as file:
            rest = memoryview(text.encode())
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise RunFailedError(f"{path}: cannot be written: {error.strerror}") from None
