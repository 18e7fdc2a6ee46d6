"""The command line without a process of its own, which would take seconds to load torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from llamao1_cli import cli


class InProcess:
    """The script's `main` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        words = ["llamao1", *map(str, arguments)]
        self._monkeypatch.setattr(sys, "argv", words)
        self._capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = self._capfd.readouterr()
        return subprocess.CompletedProcess(words, int(stopped.value.code or 0), out, err)
