"""The page, served to this machine alone: a random token in its address, nothing from outside."""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from components.contracts.errors import ArtefactError, TunelineError
from components.judging.session import OutOfStepError, Session

HOST = "127.0.0.1"
PAGE = Path(__file__).parent / "page.html.j2"
MOST = 4096
"""Bytes of a request, at most."""

POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class JudgeServer(ThreadingHTTPServer):
    """Serves one session at `address`. `port` 0 takes any that is free."""

    daemon_threads = True

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session = session
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            raise ArtefactError(
                f"port {port} of this machine cannot be used: {error.strerror}",
                fix="name another with --port, or leave it out",
            ) from error

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}/{self.token}/"


@contextmanager
def serving(session: Session, port: int = 0) -> Iterator[JudgeServer]:
    """Serve a session in the background as long as the block runs."""
    with JudgeServer(session, port) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    """GET the page and `state`; POST `rate` and `undo`. Everything else is not found."""

    server: JudgeServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self._path() == "":
            self._page()
        elif self._path() == "state":
            self._json(self.server.session.state())
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "nothing is here")

    def do_POST(self) -> None:
        session, path, said = self.server.session, self._path(), self._body()
        if path not in ("rate", "undo"):
            self._refuse(HTTPStatus.NOT_FOUND, "nothing is here")
        elif said is None or (path == "rate" and not {"pair", "choice"} <= said.keys()):
            self._refuse(HTTPStatus.BAD_REQUEST, "give JSON with the keys pair and choice")
        elif path == "undo":
            self._answer(session.undo)
        else:
            self._answer(lambda: session.rate(str(said["pair"]), str(said["choice"])))

    def _answer(self, action: Callable[[], dict[str, Any]]) -> None:
        try:
            self._json(action())
        except OutOfStepError:  # the page shows what is to be judged instead
            self._json(self.server.session.state(), HTTPStatus.CONFLICT)
        except TunelineError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except OSError as error:
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, f"not kept: {error.strerror}")

    def _path(self) -> str | None:
        """Return what is asked for below the token; `None` without token or for another host.

        A page of the web can make a browser ask here under a name of its own: only our own counts.
        """
        host = self.headers.get("Host", "")
        start = f"/{self.server.token}/"
        allowed = host in (f"{HOST}:{self.server.port}", f"localhost:{self.server.port}")
        given, known = self.path[: len(start)].encode(), start.encode()
        if not (allowed and secrets.compare_digest(given, known)):
            return None
        return self.path[len(start) :]

    def _body(self) -> dict[str, Any] | None:
        """Return the JSON object of a request, `None` if it is none; it is always read whole."""
        size = self.headers.get("Content-Length", "0")
        if not size.isdigit() or int(size) > MOST:
            self.close_connection = True
            return None
        raw = self.rfile.read(int(size))
        if self.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            return None
        try:
            said = json.loads(raw)
        except ValueError:
            return None
        return said if isinstance(said, dict) else None

    def _page(self) -> None:
        from jinja2 import Environment

        nonce = secrets.token_urlsafe(16)
        template = Environment(autoescape=True).from_string(PAGE.read_text(encoding="utf-8"))
        page = template.render(nonce=nonce).encode()
        policy = {"Content-Security-Policy": POLICY.format(nonce=nonce)}
        self._send(HTTPStatus.OK, page, "text/html; charset=utf-8", policy)

    def _json(self, value: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._json({"error": reason}, status)

    def _send(
        self, status: HTTPStatus, content: bytes, kind: str, more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            **(more or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "tuneline"

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: the address holds the token."""
