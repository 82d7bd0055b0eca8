"""A scene to deploy in: a real guardian, and edges that lead straight to the callee (or are only written down)."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chaoskit.guardian_client import Guardian
from chaoskit.interfaces import Address, Emit, ProxyControl, Scene
from chaoskit.model.topology import Edge
from chaoskit.model.undo import Undo
from chaoskit.registry import find
from chaoskit.target import Target


class Stood:
    """What a deployment asked of us."""

    def __init__(self, folder: Path, guardian: Guardian) -> None:
        self.folder = folder
        self.guardian = guardian
        self.opened: dict[Edge, Address] = {}
        self.said: list[str] = []
        self.open_undos: dict[str, Undo] = {}

    def scene(self, env: Mapping[str, Mapping[str, str]] | None = None, allowed_hosts: tuple[str, ...] = ()) -> Scene:
        return Scene(
            run_id=self.guardian.run_id,
            folder=self.folder,
            launcher=self.guardian,
            open_edge=self._open,
            proxy_of=self._proxy_of,
            taps=self._taps,
            backing=lambda kind: find("backing", kind),
            will_undo=self._will_undo,
            undone=self._undone,
            emit=lambda observation: None,
            env=env or {},
            say=self.said.append,
            allowed_hosts=allowed_hosts,
        )

    def _open(self, edge: Edge, upstream: Address) -> Address:
        self.opened[edge] = upstream
        return upstream

    def _will_undo(self, undo: Undo) -> None:
        self.guardian.will_undo(undo)
        self.open_undos[undo.id] = undo

    def _undone(self, undo_id: str) -> None:
        self.guardian.undone(undo_id)
        del self.open_undos[undo_id]

    def _proxy_of(self, edge: Edge) -> ProxyControl:
        raise AssertionError("there is no proxy here")

    def _taps(self, emit: Emit, stop: threading.Event) -> None:
        raise AssertionError("there is no tap here")


@pytest.fixture
def stood(tmp_path: Path) -> Iterator[Stood]:
    with Guardian(f"deployed-{os.getpid()}") as guardian:
        yield Stood(tmp_path / "run", guardian)
    assert guardian.left == []


def target(folder: Path, services: Mapping[str, Any], entry: str = "") -> Target:
    """A target whose services start in `folder`."""
    written = {"name": "t", "entry": entry or next(iter(services)), "services": dict(services)}
    return Target.model_validate({**written, "file": None}).model_copy(update={"file": folder / "target.yaml"})


SERVER = """
import http.server, json, os, socket, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"env": dict(os.environ), "argv": sys.argv, "cwd": os.getcwd()}).encode()
        self.send_response(503 if self.path == "/never" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
for need in os.environ.get("MUST_REACH", "").split():
    host, port = need.rsplit(":", 1)
    socket.create_connection((host, int(port)), timeout=1).close()
time.sleep(float(os.environ.get("SLOW", "0")))
print("listening", flush=True)
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""


@pytest.fixture
def server(tmp_path: Path) -> str:
    """A command line for `run`: a server that tells its environment, and answers 503 at /never."""
    (tmp_path / "server.py").write_text(SERVER)
    return f"{Path(sys.executable).name} server.py {{host}} {{port}}"
