"""Reading files that may be damaged."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from llamao1_cli.errors import UserError


@contextmanager
def reading(path: Path) -> Iterator[Path]:
    """Inside, read a file of a checkpoint; raises UserError, naming it, if it does not hold what
    was saved."""
    try:
        yield path
    except (OSError, SafetensorError, RuntimeError, LookupError, TypeError, ValueError) as error:
        cause = " ".join(str(error).split())
        raise UserError(f"{path}: not what a checkpoint holds: {cause:.200}") from None
