"""`llamao1`, but in iteration 2 rank 1 fails as the first argument says: kill, or error."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from llamao1_cli import cli, trainer
from llamao1_cli.errors import RunFailedError

how, place = sys.argv.pop(1), Path(sys.argv.pop(1))
learn_from = trainer.learn_from


def failing(*arguments: Any, number: int, **options: Any) -> dict[str, float]:
    if number == 2 and os.environ["RANK"] == "1":
        place.write_text(str(time.time()))
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RunFailedError("rank 1 gave up")
    return learn_from(*arguments, number=number, **options)


trainer.learn_from = failing
cli.main()
