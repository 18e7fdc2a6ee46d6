"""The command line without a process of its own, which would take seconds to load torch."""

import contextlib
import os
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from llamao1_cli.cli import main as cli
from llamao1_cli.config import Config
from llamao1_cli.files.run_folder import RunFolder

INSTALLED = Path(sys.executable).with_name("llamao1")  # the installed script


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file in a folder, by its path; none for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


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


# What stands for llamao1 in a copy of the checkout: it hands over the folder it was called in and
# its arguments, and ends as it is told.
LLAMAO1 = """#!/usr/bin/env bash
printf '%s\\0' "$PWD" "$@" >'{folder}/called'
exit "$(<'{folder}/code')"
"""
PYTHON = """#!/usr/bin/env bash
[ "$1 $2" != "-m llamao1_cli" ] || exec '{folder}/bin/llamao1' "${{@:3}}"
exec '{python}' "$@"
"""


class Scripts:
    """Runs the scripts of a copy of the checkout; the llamao1 that they call is this process."""

    def __init__(self, copy: Path) -> None:
        self._copy, self._environment = copy, copy / ".venv"
        # Nothing may be installed from a copy: the environment is shared with the checkout.
        (copy / "scripts" / "setup.sh").write_text("exit 0\n")
        programs = self._environment / "bin"
        programs.mkdir(parents=True)
        for path in (Path(sys.prefix) / "bin").iterdir():
            (programs / path.name).symlink_to(path)
        for name, text in (("llamao1", LLAMAO1), ("python", PYTHON)):
            (programs / name).unlink(missing_ok=True)
            (programs / name).write_text(
                text.format(folder=self._environment, python=sys.executable)
            )
            (programs / name).chmod(0o755)
        self._called, self._code = self._environment / "called", self._environment / "code"
        os.mkfifo(self._called)
        os.mkfifo(self._code)

    def run(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """The command in the copy, to its end; the output of llamao1 is the test's own."""
        with ThreadPoolExecutor(1) as beside:  # a run takes signals, which needs the main thread
            script = beside.submit(
                subprocess.run,
                command,
                cwd=self._copy,
                env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
                capture_output=True,
                text=True,
            )
            script.add_done_callback(lambda _: self._called.write_text(""))
            while words := self._called.read_text():
                folder, *arguments = words.removesuffix("\0").split("\0")
                self._code.write_text(str(_exit_code(Path(folder), arguments)))
        return script.result()


def _exit_code(folder: Path, arguments: list[str]) -> int:
    """The exit code of llamao1 with these arguments, run in a folder."""
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setattr(sys, "argv", ["llamao1", *arguments])
        try:
            cli.main()
        except SystemExit as stopped:
            return int(stopped.code or 0)
        except Exception:
            traceback.print_exc()
            return 1
        finally:
            torch.set_num_threads(1)  # as conftest.py has it
    return 0


def train_here(config: Config) -> None:
    """What `llamao1 compare` has trained in a process of its own."""
    from llamao1_cli.run import commands

    resume = RunFolder(Path(config.run.dir)).config.is_file()
    commands.train(config, trees=None, resume=resume, overwrite=not resume)
