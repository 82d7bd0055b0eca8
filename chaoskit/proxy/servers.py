"""Starts the Toxiproxy servers of a run through the launcher, and waits until they answer."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable

from chaoskit.errors import MissingPart, ProxyError
from chaoskit.interfaces import Child, Launcher, LaunchSpec, ProxyPlace
from chaoskit.model.undo import Undo
from chaoskit.proxy.client import Gone, Toxiproxy
from chaoskit.proxy.install import VERSION, find_toxiproxy
from chaoskit.proxy.undo import container_undo

__all__ = ["IMAGE", "Server", "served_at", "start_embedded", "start_real"]

_PATIENCE = 10.0
_EVERY, _ALIVE = 0.4, 1.0
"""Seconds between two questions whether a server is there, and those that it has for its answer."""
_PULL = 120.0
"""Seconds for a container, whose image may have to be pulled."""
_TRIES = 3
IMAGE = f"ghcr.io/shopify/toxiproxy:{VERSION}"


class Server:
    """A Toxiproxy that answers. `child` is its process where it is one of ours."""

    __slots__ = ("_answers", "child", "client", "says")

    def __init__(self, client: Toxiproxy, says: str, child: Child | None = None) -> None:
        self.client = client
        self.says = says
        self.child = child
        self._answers = True

    @property
    def ours(self) -> bool:
        return self.child is not None

    def lost(self) -> str:
        """What became of it, in words; empty while it serves. Asks nobody over the network: `watch` does."""
        if self.child is not None and self.child.poll() is not None:
            return "its process ended"
        return "" if self._answers else f"{self.says} does not answer"

    def hangs(self) -> bool:
        """Whether it is one of ours that runs and does not answer. Waits for its answer."""
        return self.child is not None and self.child.poll() is None and not self.client.answers(_ALIVE)

    def watch(self, stop: threading.Event) -> None:
        """Ask it again and again until `stop`; blocks its thread. Who hangs serves no better than who ended."""
        while not stop.wait(_EVERY):
            self._answers = self.client.answers(_ALIVE)


def start_embedded(launcher: Launcher, seed: int | None) -> Server:
    """Our own server, on a free port of loopback. Raises ProxyError or DeployError."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as door:
        host, port = door.getsockname()[:2]
        argv = [sys.executable, "-P", "-m", "chaoskit.proxy.server", "--host", "127.0.0.1", "--port", "0"]
        argv += ["--announce", f"{host}:{port}"]
        argv += ["--seed", str(seed)] if seed is not None else []
        child = launcher.launch(LaunchSpec(name="proxy", argv=tuple(argv), env=dict(os.environ), stop_order=10))
        said = _announced(door, child)
    if "port" not in said:
        raise ProxyError(f"the embedded proxy server did not start: {said.get('error', 'it said nothing')}")
    return Server(Toxiproxy(f"http://127.0.0.1:{said['port']}"), "embedded", child)


def _announced(door: socket.socket, child: Child) -> dict[str, object]:
    """What the server says of itself, once it listens."""
    until = time.monotonic() + _PATIENCE
    door.settimeout(0.05)
    while time.monotonic() < until:
        try:
            connection, _ = door.accept()
        except TimeoutError:
            status = child.poll()
            if status is not None:
                return {"error": f"its process ended with status {status}"}
            continue
        with connection, connection.makefile("rb") as lines:
            connection.settimeout(5.0)
            said = json.loads(lines.readline() or b"{}")
            return said if isinstance(said, dict) else {}
    return {"error": f"it did not listen within {_PATIENCE:g} s"}


def start_real(launcher: Launcher, will_undo: Callable[[Undo], None]) -> Server:
    """A real Toxiproxy: from PATH or the cache, else its container image. Raises MissingPart or ProxyError."""
    path = find_toxiproxy()
    if path:
        return _start(launcher, path, lambda port, _: (path, "-host", "127.0.0.1", "-port", str(port)))
    docker = shutil.which("docker")
    # The container shares the host's network, or it could not reach the services: that is Linux only.
    if docker is None or sys.platform != "linux":
        raise MissingPart(
            "there is no toxiproxy-server on PATH or in the cache, and no Docker to run its image",
            hint="`chaoskit proxy install` gets one; CHAOSKIT_TOXIPROXY=embedded needs none",
        )

    def command(port: int, mark: str) -> tuple[str, ...]:
        will_undo(container_undo(mark))
        run = (docker, "run", "--rm", "--name", mark, "--network", "host", IMAGE)
        return (*run, "-host=127.0.0.1", f"-port={port}")

    return _start(launcher, IMAGE, command, patience=_PULL)


def _start(
    launcher: Launcher, where: str, command: Callable[[int, str], tuple[str, ...]], patience: float = _PATIENCE
) -> Server:
    """Launch it on a free port, and again on another one where it does not answer."""
    for number in range(1, _TRIES + 1):
        port = _free_port()
        mark = f"chaoskit-toxiproxy-{secrets.token_hex(4)}"
        name = "toxiproxy" if number == 1 else f"toxiproxy.{number}"
        spec = LaunchSpec(name=name, argv=command(port, mark), env=dict(os.environ), stop_order=11)
        child = launcher.launch(spec)
        client = Toxiproxy(f"http://127.0.0.1:{port}")
        version = _version_of(client, child, patience)
        if version:
            return Server(client, f"toxiproxy {version} at {where}", child)
        child.stop()  # its port was taken in between: it stays up without its API
    raise ProxyError(f"the Toxiproxy at {where} did not answer")


def served_at(place: ProxyPlace, serving: str, seed: int | None) -> Server:
    """A server where the deployer wants it to stand. Raises ProxyError where it does not answer."""
    url, child = place.serve(serving, seed)
    client = Toxiproxy(url)
    version = _version_of(client, child, _PATIENCE)
    if not version:
        raise ProxyError(f"the {serving} proxy server at {url} did not answer")
    says = "embedded" if serving.startswith("embedded") else f"toxiproxy {version} in a container"
    return Server(client, says, child)


def _version_of(server: Toxiproxy, child: Child, patience: float) -> str:
    until = time.monotonic() + patience
    while time.monotonic() < until and child.poll() is None:
        try:
            return server.version()
        except Gone:
            time.sleep(0.02)
    return ""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
