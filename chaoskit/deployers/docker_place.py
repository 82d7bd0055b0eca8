"""The run's proxies as containers in the run's network; what the harness needs of them is published on loopback."""

from __future__ import annotations

import http.client
import os
import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from chaoskit.deployers.docker_engine import ContainerSpec, Engine
from chaoskit.errors import ChaoskitError, CouldNotRun, MissingPart
from chaoskit.interfaces import Address, Child, Scene
from chaoskit.model.topology import LOAD, Edge

__all__ = ["ContainerChild", "ContainerPlace"]

_API = 8474
_FRONT = 10_000
"""Where the proxy of the front edge listens inside; the others follow."""
_LOOKUPS = "64"
"""Names that a server may look up at once (four, else). The engine asks others for a container that is down: those who
call it again and again must not keep its neighbours' callers waiting."""
_HOSTS = {"embedded": "chaoskit-proxy", "real": "chaoskit-toxiproxy"}


class ContainerChild:
    """A container of ours as an `interfaces.Child`."""

    def __init__(self, engine: Engine, ident: str, name: str, log: Path) -> None:
        self._engine = engine
        self._ident = ident
        self._name = name
        self._ended = threading.Event()
        self._log = log
        self.pid = 0
        threading.Thread(target=self._follow, name=f"log-{name}", daemon=True).start()

    @property
    def name(self) -> str:
        return self._name

    def _follow(self) -> None:
        with suppress(ChaoskitError), self._log.open("wb") as file:  # whoever asks it notices an engine that dies
            for part in self._engine.logs(self._ident):
                file.write(part)
        self._ended.set()

    def poll(self) -> int | None:
        if not self._ended.is_set():
            return None
        running, status = self._engine.state(self._ident)
        return None if running else status if status is not None else -9

    def wait(self, timeout: float) -> int | None:
        self._ended.wait(timeout)
        return self.poll()

    def signal(self, number: int, *, tree: bool = True) -> None:  # noqa: ARG002 - its init passes it on to all
        self._engine.signal(self._ident, number)

    def stop(self) -> None:
        with suppress(CouldNotRun):  # an engine that is gone: the run's sweep, which is in the journal, removes it
            self._engine.stop(self._ident, "SIGTERM", 1.0)


class ContainerPlace:
    """An `interfaces.ProxyPlace` in one run's network."""

    def __init__(self, engine: Engine, image: str, network: str, labels: Mapping[str, str], scene: Scene) -> None:
        self._engine = engine
        self._image = image
        self._network = network
        self._labels = labels
        self._scene = scene
        self._front: Address | None = None
        self._ports: dict[tuple[str, str], int] = {}
        self._children: list[ContainerChild] = []
        self._idents: dict[str, str] = {}

    def serving(self, edge: Edge) -> str:  # noqa: ARG002 - one tells them all apart by their ports
        return "embedded"

    @staticmethod
    def host(serving: str) -> str:
        """Name of a server in the run's network."""
        kind, _, callee = serving.partition("/")
        return f"{_HOSTS[kind]}-{callee}" if callee else _HOSTS[kind]

    def serve(self, serving: str, seed: int | None) -> tuple[str, Child]:
        ports: tuple[int, ...] = (_API,)
        mounts: dict[str, str] = {}
        env = {"UV_THREADPOOL_SIZE": _LOOKUPS}
        token = ""
        if serving != "real":
            command = ["python3", "-m", "chaoskit.proxy.server", "--host", "0.0.0.0", "--port", str(_API)]  # noqa: S104 - in a container
            command += ["--seed", str(seed)] if seed is not None else []
            env["CHAOSKIT_PROXY_TOKEN"] = token = secrets.token_urlsafe(24)
            ports = (_API, _FRONT) if serving == "embedded" else (_API,)
        else:
            binary = _toxiproxy()
            mounts[binary] = "/opt/toxiproxy-server"
            command = ["/opt/toxiproxy-server", "-host", "0.0.0.0", "-port", str(_API)]  # noqa: S104 - in a container
        name = self.host(serving)
        spec = ContainerSpec(
            name=f"{self._network}-{name}",
            image=self._image,
            command=tuple(command),
            alias=name,
            ports=ports,
            mounts=mounts,
            env=env,
        )
        ident, published = self._engine.start(spec, self._network, self._labels)
        self._front = published.get(_FRONT, self._front)
        api = published[_API]
        child = ContainerChild(self._engine, ident, name, self._scene.folder / "logs" / f"{name}.log")
        self._children.append(child)
        self._idents[serving] = ident
        _until_listening(api, child)
        return f"http://{f':{token}@' if token else ''}{api}", child

    def listen(self, serving: str, edge: Edge) -> str:
        return f"0.0.0.0:{self._port(serving, edge)}"

    def _port(self, serving: str, edge: Edge) -> int:
        key = (serving, edge.name)
        if key not in self._ports:
            front = serving == "embedded" and edge.caller == LOAD
            self._ports[key] = _FRONT if front else _FRONT + 1 + len(self._ports)
        return self._ports[key]

    def reached(self, serving: str, edge: Edge, made: Address) -> Address:
        if serving == "embedded" and edge.caller == LOAD:
            assert self._front is not None, "served before anything reaches it"
            return self._front
        return Address(self.host(serving), made.port)

    def callers(self, edge: Edge) -> tuple[str, ...]:  # noqa: ARG002 - every edge has a port of its own
        return ()

    def stop(self) -> None:
        for child in self._children:
            child.stop()


def _until_listening(address: Address, child: ContainerChild) -> None:
    """Until its API answers with bytes: the engine's own forwarder accepts long before the server does."""
    until = time.monotonic() + 15.0
    while time.monotonic() < until and child.poll() is None:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=1.0)
        try:
            connection.request("GET", "/version")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.03)
        else:
            return
        finally:
            connection.close()


def _toxiproxy() -> str:
    """The real server's binary on this machine, for a read-only mount. (Built for Linux, or it will not start.)"""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chaoskit" / "bin" / "toxiproxy-server"
    found = shutil.which("toxiproxy-server") or (str(cache) if cache.exists() else "")
    if not found:
        raise MissingPart("there is no toxiproxy-server here", hint="`chaoskit proxy install` gets one")
    return found
