"""`dlc train --watch`: the curves of a run while it trains, served to this machine alone.

A server on the loopback address, at a free port, answers one path: a random token, which the command prints. Requests
for another path or by another host name are answered with 404, so that no other program or page that guesses the port
sees anything. Nothing is read but the run folder, and nothing is written.
"""

from __future__ import annotations

import secrets
import time
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from . import curves
from .page import figures_of, written
from .ran import Ran, running

if TYPE_CHECKING:
    from dlc.runtime.file import CompiledFile

EVERY = 2  # seconds after which a browser asks again
LAST = 3.0  # seconds that the end waits for whoever looks


def live(run: Ran, over: bool) -> str:
    """The page of a run that is training: its figures so far."""
    charts = [*curves.figures([run]), *curves.norms(run)]
    state = "Training is over." if over else f"Training: this page is drawn anew every {EVERY} seconds."
    return written(run.name, f'<p class="soft">{escape(state)}</p>' + figures_of([run], charts), charts)


class Watch:
    """Serves the page of the run in a folder until it is closed."""

    def __init__(self, folder: Path, file: CompiledFile) -> None:
        self.folder, self.file = folder, file
        self.over, self.told = Event(), Event()  # training is over; and a browser was told so
        self.asked = 0.0  # when one asked last
        token = secrets.token_urlsafe(18)
        watch = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                watch._answer(self, token)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing: the terminal is the command's."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}/{token}/"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def _answer(self, request: BaseHTTPRequestHandler, token: str) -> None:
        hosts = (f"127.0.0.1:{self.port}", f"localhost:{self.port}")
        given = request.path.strip("/").encode("utf-8", "replace")
        if request.headers.get("Host") not in hosts or not secrets.compare_digest(given, token.encode()):
            request.send_error(404)
            return
        over = self.over.is_set()
        text = live(running(self.folder, self.file), over).encode()
        request.send_response(200)
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(text))}
        headers |= {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
        for name, value in (headers | ({} if over else {"Refresh": str(EVERY)})).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(text)
        self.asked = time.monotonic()
        if over:
            self.told.set()

    def close(self) -> None:
        """Ends it, once whoever looks has seen the last page."""
        self.over.set()
        if self.asked and time.monotonic() - self.asked < 2 * EVERY:
            self.told.wait(LAST)
        self.server.shutdown()
        self.server.server_close()
