"""Long runs: memory stays flat."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamao1_cli.config.file import load_config
from llamao1_cli.report.display import Display
from llamao1_cli.run import commands

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"
ITERATIONS = int(os.environ.get("LLAMAO1_SOAK_ITERATIONS", "200"))
SETTLED = 20  # iterations after which everything that is made once has been made


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.soak
def test_memory_stays_flat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soaked: Callable[..., None]
) -> None:
    sizes: list[int] = []
    shown = Display.iteration

    def iteration(self: Display, *rest: Any) -> None:
        shown(self, *rest)
        sizes.append(resident())

    monkeypatch.setattr(Display, "iteration", iteration)
    overrides = [f"run.dir={tmp_path / 'run'}", f"run.iterations={ITERATIONS}"]
    config = load_config(TINY, [*overrides, "eval.strategies=[greedy]", "eval.problems=1"])
    commands.train(config, trees=None, resume=False, overwrite=False)
    assert len(sizes) == ITERATIONS
    before, after = np.mean(sizes[SETTLED - 5 : SETTLED + 5]), np.mean(sizes[-10:])
    growth = after / before - 1
    soaked(
        "memory of a long run",
        f"{ITERATIONS} iterations",
        "0",
        f"{before / 2**20:.0f} MiB grew by {growth:+.1%} after the first {SETTLED}",
    )
    assert growth < 0.05
