"""Browse a store on loopback: the index and the reports, read-only, to nobody but this machine's own browser.

A web page elsewhere must not read reports through a visitor's browser: a request is answered only where its Host is
ours (so a name that was made to point here does not help) and its Origin, where it has one, is ours too.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from chaoskit.studies.suite import collect, index_html

__all__ = ["Browser", "served_file"]

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".xml": "application/xml",
    ".md": "text/markdown; charset=utf-8",
    ".log": "text/plain; charset=utf-8",
}
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def served_file(root: Path, path: str) -> Path | None:
    """The file of the store that a URL's path means; None for anything that is not one of a run's own files."""
    parts = [part for part in unquote(path).split("/") if part]
    if not parts or len(parts) > 4 or not all(_SAFE.fullmatch(part) for part in parts):
        return None
    file = root.joinpath(*parts)
    inside = file.resolve().is_relative_to(root.resolve())
    return file if inside and file.suffix in _TYPES and file.is_file() else None


class Browser(ThreadingHTTPServer):
    """Serves one store on 127.0.0.1; `port` 0 takes a free one."""

    daemon_threads = True

    def __init__(self, root: Path, port: int = 0) -> None:
        self.root = root
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Browser
    server_version = "chaoskit"
    sys_version = ""
    timeout = 30.0

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        hosts = {f"{name}:{self.server.server_port}" for name in _LOOPBACK}
        origin = self.headers.get("Origin")
        if self.headers.get("Host", "") not in hosts or (origin and urlsplit(origin).netloc not in hosts):
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"this server answers only its own pages\n", body=body)
            return
        path = urlsplit(self.path).path
        if path in ("/", "/index.html"):
            self._send(HTTPStatus.OK, _TYPES[".html"], index_html(collect(self.server.root)).encode(), body=body)
            return
        file = served_file(self.server.root, path)
        if file is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"no such report\n", body=body)
            return
        self._send(HTTPStatus.OK, _TYPES[file.suffix], file.read_bytes(), body=body)

    def _send(self, status: HTTPStatus, kind: str, data: bytes, *, body: bool) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(data))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Say nothing: whoever browses sees what they get."""
