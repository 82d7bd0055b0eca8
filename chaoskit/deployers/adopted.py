"""A replica in a container that somebody else started: faults may act on it, and it is left as it was found."""

from __future__ import annotations

import signal
import threading
from contextlib import closing

import msgspec

from chaoskit.deployers.container import Unpause
from chaoskit.deployers.docker_engine import Endpoint, Engine, Found
from chaoskit.deployers.readiness import ask_http, ask_tcp
from chaoskit.errors import DeployError
from chaoskit.interfaces import Address, System, UndoOwner
from chaoskit.model.undo import JSON, Undo
from chaoskit.processes import descendants, table
from chaoskit.target import ServiceSpec

__all__ = ["AdoptedReplica", "RunsAgain", "SetBack", "port_of", "set_back"]

_STAYS = 0.1
"""Seconds that a connection must last before its service counts as listening: an engine's forwarder accepts at once."""


class AdoptedReplica:
    """`interfaces.ReplicaControl` of a container that is not ours. Thread-safe."""

    def __init__(self, name: str, found: Found, engine: Engine, service: ServiceSpec) -> None:
        self.service = service
        self._name = name
        self._engine = engine
        self._ident = found.ident
        self._called = found.name
        self._lock = threading.Lock()
        self._found = found
        self._alive = found.running

    @property
    def name(self) -> str:
        return self._name

    @property
    def ident(self) -> str:
        return self._ident

    @property
    def found(self) -> Found:
        """As the engine told of it last."""
        return self._found

    @property
    def address(self) -> Address | None:
        """Where this machine finds it: its published port, else its own address in a network."""
        port = port_of(self._name, self._found, self.service)
        if port in self._found.published:
            return self._found.published[port]
        inside = next((place.address for place in self._found.endpoints if place.address), "")
        return Address(inside, port) if inside else None

    @property
    def published(self) -> bool:
        """Whether its port is one of this machine's too."""
        return port_of(self._name, self._found, self.service) in self._found.published

    def heard(self, what: str) -> None:
        """What the engine says of it: it died, started, or has another address."""
        self._alive = what == "start" or (what != "die" and self._alive)
        if what != "die":
            self.look()

    def look(self) -> None:
        """Ask the engine where it is now."""
        found = self._engine.inspect(self._ident)
        if found is not None:
            self._found = found

    def alive(self) -> bool:
        """As the engine's events said last."""
        return self._alive

    def signal(self, number: int) -> None:
        if number == signal.SIGSTOP:
            self._engine.pause(self._ident)
        elif number == signal.SIGCONT:
            self._engine.unpause(self._ident)
        else:
            self._engine.signal(self._ident, number)

    def start(self) -> None:
        with self._lock:
            if not self._engine.state(self._ident)[0]:
                self._engine.start_again(self._ident)
                self.heard("start")

    def asked(self) -> str:
        """Empty where it is ready, else what it does instead."""
        where = self.address
        if where is None:
            return f"container {self._called} has no address"
        path = self.service.health.ready
        return ask_http(where, path) if path else ask_tcp(where, stays=_STAYS)

    def ready(self) -> bool:
        return self.alive() and not self.asked()

    def pids(self) -> list[int]:
        """Every process in it as this machine sees them; none where the engine is on another machine."""
        pid = self._engine.pid(self._ident)
        return [pid, *sorted(descendants(table(), pid))] if pid else []

    def disconnect(self) -> None:
        """Take it out of every network that it is in."""
        self.look()
        for place in self._found.endpoints:
            self._engine.leave(place.network, self._ident)

    def undo_disconnect(self) -> Undo:
        self.look()
        return set_back(self._engine, self._found, f"disconnect {self._name}", self._found.name)

    def undo_kill(self) -> Undo:
        return Undo(
            id=f"{RunsAgain.kind}:{self._name}",
            owner=RunsAgain.kind,
            args={"engine": self._engine.where.written, "container": self._ident, "replica": self._name},
            says=f"docker start {self._called}",
        )

    def undo_pause(self) -> Undo:
        return Undo(
            id=f"{Unpause.kind}:{self._name}",
            owner=Unpause.kind,
            args={"engine": self._engine.where.written, "container": self._ident},
            says=f"docker unpause {self._called}",
        )


def port_of(name: str, found: Found, service: ServiceSpec) -> int:
    """Where a service listens in its container. Raises DeployError where nothing says so."""
    if service.port:
        return service.port
    if len(found.exposed) == 1:
        return found.exposed[0]
    many = f"exposes {', '.join(map(str, found.exposed))}" if found.exposed else "exposes no port"
    raise DeployError(
        f"where {name} listens is not known: container {found.name} {many}", hint="`port:` in target.yaml"
    )


class RunsAgain(UndoOwner):
    """Undo of `kill`: the container runs again, whoever asks. It is not ours, so it must not stay down."""

    kind = "docker.adopted"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        if system is not None:
            system.replica(str(undo.args["replica"])).start()
            return
        ident = str(undo.args["container"])
        with closing(Engine(undo.args["engine"])) as engine:
            if engine.inspect(ident) is not None and not engine.state(ident)[0]:
                engine.start_again(ident)


def set_back(engine: Engine, found: Found, what: str, name: str) -> Undo:
    """The undo of what is about to be done to a container's names and networks."""
    places: list[JSON] = [msgspec.to_builtins(place) for place in found.endpoints if place.network != "host"]
    by_hand = [
        f"docker network connect {' '.join(f'--alias {alias}' for alias in place.aliases)} {place.network} {name}"
        for place in found.endpoints
    ]
    return Undo(
        id=f"{SetBack.kind}:{what}",
        owner=SetBack.kind,
        args={"engine": engine.where.written, "container": found.ident, "name": name, "endpoints": places},
        says=f"docker rename {found.short} {name}; {'; '.join(by_hand)} (after docker network disconnect)",
    )


class SetBack(UndoOwner):
    """Gives a container back the names and networks that it had. One that is gone needs nothing."""

    kind = "docker.alias"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        ident = str(undo.args["container"])
        with closing(Engine(undo.args["engine"])) as engine:
            for place in msgspec.convert(undo.args["endpoints"], list[Endpoint]):
                engine.put(ident, place)
            engine.rename(ident, str(undo.args["name"]))
