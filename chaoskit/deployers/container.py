"""One replica of a service in a container, and the undos of what faults do to it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path

from chaoskit.deployers.docker_engine import ContainerSpec, Engine, Made
from chaoskit.errors import ChaoskitError
from chaoskit.interfaces import Address, System, UndoOwner
from chaoskit.model.undo import Undo
from chaoskit.processes import descendants, table
from chaoskit.target import ServiceSpec

__all__ = ["Again", "ContainerReplica", "Reconnect", "Unpause"]

_TAIL = 20


class ContainerReplica:
    """A container that can be killed, paused, cut off and started again: `interfaces.ReplicaControl`. Thread-safe."""

    def __init__(
        self,
        name: str,
        spec: ContainerSpec,
        engine: Engine,
        network: str,
        labels: Mapping[str, str],
        ask: Callable[[Address], str],
        log: Path,
        service: ServiceSpec,
    ) -> None:
        self._name = name
        self.spec = spec
        self.service = service
        self._engine = engine
        self._network = network
        self._labels = labels
        self._ask = ask
        self._log = log
        self._lock = threading.Lock()
        self._made: Made | None = None
        self._ident = ""
        self._published: Address | None = None
        self._dead = threading.Event()
        """Of the start that was last; set once the container is known not to run, by whoever reads its log."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def address(self) -> Address | None:
        return self._published

    @property
    def where(self) -> Address:
        """Where its port is published on this machine. Started before."""
        assert self._published is not None, "started before"
        return self._published

    def make(self) -> None:
        """Make its container already; `start` does it otherwise."""
        with self._lock:
            if not self._ident and self._made is None:
                self._made = self._engine.make(self.spec, self._network, self._labels)

    def start(self) -> None:
        """Start it, or start it again where it has died; its log goes on in the same file."""
        with self._lock:
            if not self._ident:
                self._ident, published = self._engine.start(self.spec, self._network, self._labels, self._made)
                self._made = None
                self._published = next(iter(published.values()))
            elif not self._engine.state(self._ident)[0]:
                self._engine.start_again(self._ident)
            else:
                return
            self._dead = dead = threading.Event()
            threading.Thread(target=self._follow, args=(dead,), name=f"log-{self._name}", daemon=True).start()

    def _follow(self, dead: threading.Event) -> None:
        """Copy what it prints; the stream ends when the container does, or the engine."""
        with suppress(ChaoskitError):  # an engine that dies says nothing about anybody: our proxies, asked, tell of it
            while self._engine.state(self._ident)[0]:
                with self._log.open("wb") as file:
                    for part in self._engine.logs(self._ident):
                        file.write(part)
                        file.flush()
                time.sleep(0.01)  # its end and the engine's word of it are two things
            dead.set()

    def look(self) -> tuple[bool, int | None]:
        """(whether it runs, exit status), as the engine says now."""
        return self._engine.state(self._ident) if self._ident else (False, None)

    def alive(self) -> bool:
        """Without asking the engine: its log has not ended."""
        return bool(self._ident) and not self._dead.is_set()

    def signal(self, number: int) -> None:
        if not self._ident:
            return
        if number == signal.SIGSTOP:
            self._engine.pause(self._ident)
        elif number == signal.SIGCONT:
            self._engine.unpause(self._ident)
        else:
            self._engine.signal(self._ident, number)

    def asked(self) -> str:
        """Empty where it is ready, else what it does instead."""
        return self._ask(self.where)

    def ready(self) -> bool:
        return self.alive() and not self.asked()

    def pids(self) -> list[int]:
        """Every process in it as this machine sees them; none where the engine is on another machine."""
        pid = self._engine.pid(self._ident) if self._ident else 0
        return [pid, *sorted(descendants(table(), pid))] if pid else []

    def tail(self) -> str:
        return self._engine.tail(self._ident, _TAIL) if self._ident else ""

    def stop(self) -> None:
        if self._made is not None:
            self._made.release()
            self._ident = self._ident or self._made.ident
        if self._ident:
            self._engine.stop(self._ident, self.service.stop_signal, self.service.stop_within)

    def disconnect(self) -> None:
        """Take it out of the run's network: nothing reaches it, and it reaches nothing."""
        self._engine.disconnect(self._network, self.spec.name)

    def undo_disconnect(self) -> Undo:
        return Undo(
            id=f"{Reconnect.kind}:{self._name}",
            owner=Reconnect.kind,
            args={
                "engine": self._engine.where.written,
                "network": self._network,
                "container": self.spec.name,
                "alias": self.spec.alias,
            },
            says=f"docker network connect --alias {self.spec.alias} {self._network} {self.spec.name}",
        )

    def undo_kill(self) -> Undo:
        return Undo(
            id=f"{Again.kind}:{self._name}",
            owner=Again.kind,
            args={"replica": self._name},
            says=f"docker start {self.spec.name}",
        )

    def undo_pause(self) -> Undo:
        return Undo(
            id=f"{Unpause.kind}:{self._name}",
            owner=Unpause.kind,
            args={"engine": self._engine.where.written, "container": self.spec.name},
            says=f"docker unpause {self.spec.name}",
        )


class Again(UndoOwner):
    """Undo of `kill`: the container is started again. In teardown there is nothing to start."""

    kind = "docker.kill"
    for_live_only = True

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        if system is not None:
            system.replica(str(undo.args["replica"])).start()


class Unpause(UndoOwner):
    """Undo of `pause`: the container runs on."""

    kind = "docker.pause"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        with closing(Engine(undo.args["engine"])) as engine:
            engine.unpause(str(undo.args["container"]))


class Reconnect(UndoOwner):
    """Undo of `disconnect`: the container is in the run's network again, under its name there."""

    kind = "docker.disconnect"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        with closing(Engine(undo.args["engine"])) as engine:
            engine.connect(str(undo.args["network"]), str(undo.args["container"]), str(undo.args["alias"]))
