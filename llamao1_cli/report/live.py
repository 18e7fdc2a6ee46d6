"""The page of a run under way: made again when its files change, and served to this machine."""

import errno
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from llamao1_cli.errors import UserError
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.report.kept import Stamp, stamp
from llamao1_cli.report.metric_rows import iterations
from llamao1_cli.report.page import render_live, render_waiting
from llamao1_cli.report.reading import Run, RunReader

ADDRESS = "127.0.0.1"
# A page of another site that has its name resolve to this machine still asks by that name.
OWN_NAMES = re.compile(r"(localhost|127\.0\.0\.1)(:\d+)?", re.IGNORECASE)
REST = 20  # pauses between pages, in the time it took to make the last: at most 5% of a core
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Snapshot:
    """The page as it was last made, and what to say of the run beside it."""

    page: str
    version: str  # another one for every state of the run's files
    complete: bool
    notice: str | None  # why the page is older than the files, if it is
    changed: float  # when the newest of the files was written, in seconds since the epoch


def run_stamps(folder: RunFolder) -> dict[Path, Stamp]:
    """Returns the files that a run's page is made of, each with its stamp."""
    paths = [folder.config, folder.metrics, *folder.tree_files().values()]
    for parent, pattern in (
        (folder.path, "*.json"),
        (folder.path / "eval", "*.json"),
        (folder.checkpoints, "*-*"),
    ):
        paths += sorted(parent.glob(pattern))
    return {path: found for path in paths if (found := stamp(path))}


def is_complete(run: Run) -> bool:
    """Returns whether all iterations are done, and the last one is evaluated."""
    done = iterations(run)
    return done >= run.config.run.iterations and done in run.evaluations


class LivePage:
    """The page of a run, made again when it is asked for and files of the run have changed."""

    def __init__(self, path: Path) -> None:
        self._folder, self._name = RunFolder(path), path.resolve().name
        self._reader = RunReader(path, self._name)
        self._lock = threading.Lock()
        self._stamps: dict[Path, Stamp] | None = None
        self._next = 0.0
        self._last = Snapshot("", "", False, None, time.time())

    def look(self) -> Snapshot:
        """Returns the page as the run stands, or stood shortly before."""
        with self._lock:
            begun = time.monotonic()
            if begun >= self._next and (stamps := run_stamps(self._folder)) != self._stamps:
                self._stamps = stamps
                self._last = self._make(stamps)
                now = time.monotonic()
                self._next = now + REST * (now - begun)
            return self._last

    def _make(self, stamps: dict[Path, Stamp]) -> Snapshot:
        changed = max((found[0] / 1e9 for found in stamps.values() if found), default=time.time())
        try:
            run = self._reader.read()
            version = hashlib.sha256(repr(sorted(stamps.items())).encode()).hexdigest()[:16]
            return Snapshot(render_live(run, version), version, is_complete(run), None, changed)
        except UserError as error:
            notice, last = str(error), self._last
        page = last.page if last.version else render_waiting(self._name, notice)
        return Snapshot(page, last.version, False, notice, changed)


@contextmanager
def serving(path: Path, port: int) -> Iterator[str]:
    """Serve the live page of a run from a thread of its own; yields its address.

    It answers this machine alone, and never writes. Raises UserError for a port that cannot be had.
    """
    try:
        server = _Server((ADDRESS, port), LivePage(path))
    except OSError as error:
        reason = (
            "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        )
        raise UserError(f"--port: {port} {reason}; give another, or 0 for a free one") from None
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield f"http://{ADDRESS}:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    block_on_close = False  # a browser that does not read to the end holds nothing up

    def __init__(self, address: tuple[str, int], page: LivePage) -> None:
        super().__init__(address, _Handler)
        self.page = page

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a browser may leave at any time
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "llamao1", ""
    timeout = 30

    def do_GET(self) -> None:
        """Answer with the page or its state; no part of a request becomes the name of a file."""
        hosts = self.headers.get_all("Host") or []
        path = self.path.partition("?")[0]
        if len(hosts) != 1 or not OWN_NAMES.fullmatch(hosts[0]):
            self._answer(403, "text/plain", f"Ask for http://{ADDRESS} or http://localhost.\n")
        elif path == "/":
            self._answer(200, "text/html", self.server.page.look().page)
        elif path == "/state":
            self._answer(200, "application/json", _state(self.server.page.look()))
        else:
            self._answer(404, "text/plain", "There is one page here: /\n")

    do_HEAD = do_GET

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: the terminal is the live view's."""


def _state(snapshot: Snapshot) -> str:
    return json.dumps(
        {
            "version": snapshot.version,
            "complete": snapshot.complete,
            "notice": snapshot.notice,
            "age": max(time.time() - snapshot.changed, 0.0),
        }
    )
