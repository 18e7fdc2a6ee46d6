"""`llamao1 report`: read the runs, make the page, write it. `llamao1 watch`: keep one alive."""

from collections.abc import Sequence
from pathlib import Path

from llamao1_cli.distributed.interrupts import Interrupts
from llamao1_cli.errors import InterruptedRunError, UserError
from llamao1_cli.files.whole import check_writable, write_whole
from llamao1_cli.report.live import serving
from llamao1_cli.report.page import render
from llamao1_cli.report.reading import read_run
from llamao1_cli.report.terminal import follow


def write_report(folders: Sequence[Path], out: Path | None) -> Path:
    """Write one page of the runs in some folders, to `out` or into the first; returns its path.

    Raises UserError for a folder that holds no run, a file that is broken, and a path that cannot
    hold a file.
    """
    path = out or folders[0] / "report.html"
    check_writable("--out", path)
    runs = [read_run(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]
    write_whole(path, render(runs, path))
    return path


def watch_run(folder: Path, port: int) -> None:
    """Serve the live page of a run and tell of it on the terminal, until a signal ends both.

    Raises UserError for a folder that is a file, and for a port that cannot be had.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"watch: {folder} is a file; name a run folder")
    interrupts = Interrupts()
    with interrupts.listening():
        try:
            with serving(folder, port) as address:
                follow(folder, address, interrupts)
        except InterruptedRunError:
            return  # how watching ends


def _names(folders: Sequence[Path]) -> list[str]:
    """Returns the folders' own names, or their paths where two have the same name."""
    paths = [folder.resolve() for folder in folders]
    if len({*paths}) < len(paths):
        raise UserError("report: name each run once")
    names = [path.name for path in paths]
    return names if len({*names}) == len(names) else [str(folder) for folder in folders]
