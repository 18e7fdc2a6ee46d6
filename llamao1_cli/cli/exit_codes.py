"""How a command ends that cannot do what it was asked: one line, and an exit code that says why."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from llamao1_cli.errors import InterruptedRunError, RunFailedError, UserError


@contextmanager
def exit_codes() -> Iterator[None]:
    """Inside, an error of ours or Ctrl-C becomes a line on stderr and SystemExit with its code."""
    try:
        yield
    except UserError as error:
        _fail(str(error), 2)
    except RunFailedError as error:
        _fail(str(error), 1)
    except InterruptedRunError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def _fail(message: str, code: int) -> None:
    if _first_to_fail():
        print(f"llamao1: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)


def _first_to_fail() -> bool:
    """Whether no other rank of the run has told of a failure before: they all fail together, of one
    cause. Where the launcher's store does not answer, each tells."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return True
    from datetime import timedelta

    from torch.distributed import DistError, TCPStore

    try:
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(*address, is_master=False, timeout=timedelta(seconds=5))
        return int(store.add("llamao1/failures", 1)) == 1
    except (DistError, KeyError, ValueError):
        return True
