"""What is up, in name only: a clock, processes, proxies and replicas that remember what was done to them."""

# ruff: noqa: ARG002  (nothing is done with what is handed over: that is the point)

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from chaoskit.interfaces import Address, Child, Emit, LaunchSpec, ProxyControl, ReplicaControl
from chaoskit.model.observation import Observation
from chaoskit.model.topology import Edge, Topology
from chaoskit.model.undo import JSON, Undo
from chaoskit.target import ServiceSpec, Target
from chaoskit.testing.topologies import SHOP_EDGES, topology_of

__all__ = ["FakeChild", "FakeClock", "FakeLauncher", "FakeProxy", "FakeReplica", "FakeSystem"]


class FakeClock:
    """A clock that goes only when it is told to: `clock()` is the time, `clock.sleep(s)` lets it pass."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += max(seconds, 0.0)


class FakeChild:
    """A process that was never started."""

    def __init__(self, spec: LaunchSpec, pid: int) -> None:
        self.spec = spec
        self._pid = pid
        self.status: int | None = None
        self.signals: list[int] = []

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int:
        return self._pid

    def poll(self) -> int | None:
        return self.status

    def wait(self, timeout: float) -> int | None:
        return self.status

    def signal(self, number: int, *, tree: bool = True) -> None:
        self.signals.append(number)

    def stop(self) -> None:
        if self.status is None:
            self.status = -15


class FakeLauncher:
    """Remembers what it was asked to launch."""

    def __init__(self) -> None:
        self.children: list[FakeChild] = []

    def launch(self, spec: LaunchSpec) -> Child:
        child = FakeChild(spec, 4_000_000 + len(self.children))  # above pid_max: never a real process
        self.children.append(child)
        return child


class FakeProxy:
    """A proxy that only remembers: `toxics` by name, `enabled`, and all that was `done`, in order."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self.enabled = True
        self.toxics: dict[str, dict[str, JSON]] = {}
        self.done: list[str] = []

    @property
    def edge(self) -> Edge:
        return self._edge

    @property
    def listen(self) -> Address:
        return Address("127.0.0.1", 1)

    @property
    def served_by(self) -> str:
        return "fake"

    def undo_toxics(self, names: Sequence[str]) -> Undo:
        return Undo(
            id=f"toxics {self._edge.name} {' '.join(names)}",
            owner="fake.toxics",
            args={"edge": self._edge.name, "names": list(names)},
        )

    def undo_enabled(self, by: str = "") -> Undo:
        return Undo(id=f"enabled {self._edge.name}", owner="fake.enabled", args={"edge": self._edge.name, "by": by})

    def add_toxic(
        self,
        name: str,
        type_: str,
        *,
        stream: str = "downstream",
        toxicity: float = 1.0,
        attributes: Mapping[str, JSON] | None = None,
    ) -> None:
        toxic: dict[str, JSON] = {"type": type_, "stream": stream, "toxicity": toxicity}
        toxic["attributes"] = dict(attributes or {})
        self.toxics[name] = toxic
        self.done.append(f"add {name}")

    def remove_toxic(self, name: str) -> None:
        self.toxics.pop(name, None)
        self.done.append(f"remove {name}")

    def set_callers(self, callers: Sequence[str]) -> None:
        self.done.append(f"callers {', '.join(callers)}")

    def set_enabled(self, enabled: bool, by: str = "") -> None:
        self.enabled = enabled
        self.done.append("enable" if enabled else "disable")


class FakeReplica:
    """A replica that only remembers what was done to it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.is_alive = True
        self.signals: list[int] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def address(self) -> Address | None:
        return Address("127.0.0.1", 1)

    def alive(self) -> bool:
        return self.is_alive

    def signal(self, number: int) -> None:
        self.signals.append(number)
        if number == 9:
            self.is_alive = False

    def start(self) -> None:
        self.is_alive = True

    def ready(self) -> bool:
        return self.is_alive

    def undo_kill(self) -> Undo:
        return Undo(id=f"kill {self._name}", owner="fake.kill", args={"replica": self._name})

    def undo_pause(self) -> Undo:
        return Undo(id=f"pause {self._name}", owner="fake.pause", args={"replica": self._name})

    def pids(self) -> list[int]:
        return []


class FakeSystem:
    """A system of fakes for one topology; `emits` is what its taps stream."""

    def __init__(
        self, topology: Topology | None = None, *, folder: Path | None = None, emits: Iterable[Observation] = ()
    ) -> None:
        self._topology = topology or topology_of(*SHOP_EDGES, target="shop")
        self._folder = folder or Path()
        self._emits = list(emits)
        self.proxies = {edge: FakeProxy(edge) for edge in self._topology.edges}
        self.fake_replicas = {name: FakeReplica(name) for name in self._topology.replica_names()}

    @property
    def topology(self) -> Topology:
        return self._topology

    @property
    def target(self) -> Target:
        services = {service.name: ServiceSpec(run="true") for service in self._topology.services}
        return Target(name=self._topology.target, entry=self._topology.entry, services=services)

    @property
    def folder(self) -> Path:
        return self._folder

    def proxy(self, edge: Edge) -> ProxyControl:
        return self.proxies[edge]

    def replica(self, name: str) -> ReplicaControl:
        return self.fake_replicas[name]

    def replicas(self) -> Sequence[ReplicaControl]:
        return list(self.fake_replicas.values())

    def entry(self) -> Address:
        return Address("127.0.0.1", 1)

    def taps(self, emit: Emit, stop: threading.Event) -> None:
        for seen in self._emits:
            emit(seen)
        stop.wait()
