"""The probe that reads what each replica's processes use: processor, memory, descriptors."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from pydantic import Field

from chaoskit.interfaces import Emit, Probe, ReplicaControl, System
from chaoskit.model.observation import MetricPoint
from chaoskit.model.units import Duration
from chaoskit.probes.scheduling import Scheduled, children, family, scheduled, stolen_and_used

__all__ = ["Resources", "Used", "used_by"]

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_HOST = "host"
_OURS = ""
"""Stands for the harness and what it started by itself (the guardian, which starts all others; busy neighbours that are
a fault): they serve no request, so they may wait, but what they use is not others' use."""
_HOST_EVERY = 1.0
"""Seconds between two looks at the whole machine: it takes some milliseconds."""


class Used(NamedTuple):
    """What some processes have used or hold."""

    cpu: float
    """Seconds of processor time since they began."""
    memory: float
    """Resident bytes."""
    descriptors: float


class Resources(Probe):
    """Read what every replica uses, twice a second, where its processes are on this machine.

    Metrics `service_cpu` (cores), `service_memory` (bytes) and `service_fds` of each replica. Once a second also how
    long its threads stood ready and waited for a core: `service_wait` (seconds a second) in so many `service_turns` (a
    second). Of source `host` the same of the load worker and the proxy (`host_wait`, `host_turns`), the cores that all
    processes outside of the run used (`host_others`) and those that a hypervisor took away (`host_stolen`), of
    `host_cores`. Nothing on a system without /proc.
    """

    kind: ClassVar[str] = "resources"

    every: Duration = Field(default=0.5, ge=0.1)
    """Time between two readings."""

    def run(self, system: System, emit: Emit, stop: threading.Event) -> None:
        before: dict[str, tuple[float, Used]] = {}
        pids: dict[str, list[int]] = {}
        rounds = 0
        host = _Host(emit)
        each = max(1, round(_HOST_EVERY / self.every))
        while not stop.is_set():
            for replica in system.replicas():
                known = pids.get(replica.name, [])
                # Who belongs to it takes a walk through all processes: not every time.
                if rounds % 10 == 0 or (replica.alive() and not _there(known)):
                    known = pids[replica.name] = replica.pids()
                self._read(replica, known, before, emit)
            if rounds % each == 0:
                host.read(pids)
            rounds += 1
            stop.wait(self.every)

    def _read(
        self, replica: ReplicaControl, pids: list[int], before: dict[str, tuple[float, Used]], emit: Emit
    ) -> None:
        at, used = time.monotonic(), used_by(pids)
        if not used.memory:
            before.pop(replica.name, None)
            return
        last_at, last = before.get(replica.name, (at, used))
        before[replica.name] = at, used

        def point(name: str, value: float) -> None:
            emit(MetricPoint(at=at, source=replica.name, name=name, value=value))

        if at > last_at and used.cpu >= last.cpu:  # less than before: it is another process by now
            point("service_cpu", (used.cpu - last.cpu) / (at - last_at))
        point("service_memory", used.memory)
        point("service_fds", used.descriptors)


class _Host:
    """The machine under the run: what its processes waited for a core, and what others used."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._before: dict[str, Scheduled] = {}
        self._used: tuple[float, float, float] | None = None

    def read(self, replicas: Mapping[str, Sequence[int]]) -> None:
        """Tell what was since the last reading. `replicas` are their processes."""
        used = stolen_and_used()
        if used is None:
            return
        families = {name: set(pids).union(*(family(pid) for pid in pids[:1])) for name, pids in replicas.items()}
        services: set[int] = set().union(*families.values()) if families else set()
        ours = {os.getpid(), *children(os.getpid())} - services
        families |= {_OURS: ours, _HOST: set(family(os.getpid())) - services - ours}
        now = {name: scheduled(pids) for name, pids in families.items()}
        at = now[_HOST].at
        ran_in_all = 0.0
        seconds = at - self._used[0] if self._used is not None else 0.0
        for name, seen in now.items():
            last = self._before.get(name)
            if last is None or not seen.threads or not seconds:
                continue
            got = seen.since(last)
            ran_in_all += got.ran
            kind = "host" if name == _HOST else "service"
            if name != _OURS:
                self._point(at, name, f"{kind}_wait", got.waited / seconds)
                self._point(at, name, f"{kind}_turns", got.turns / seconds)
        if self._used is not None and seconds and now[_OURS].threads:
            _, stolen, everything = self._used
            self._point(at, _HOST, "host_stolen", (used[0] - stolen) / seconds)
            self._point(at, _HOST, "host_others", max(0.0, used[1] - everything - ran_in_all) / seconds)
            self._point(at, _HOST, "host_cores", float(os.cpu_count() or 1))
        self._before, self._used = now, (at, *used)

    def _point(self, at: float, source: str, name: str, value: float) -> None:
        self._emit(MetricPoint(at=at, source=source, name=name, value=value))


def _there(pids: list[int]) -> bool:
    return any(os.path.exists(f"/proc/{pid}") for pid in pids)  # noqa: PTH110 - asked for every replica twice a second


def used_by(pids: list[int]) -> Used:
    """The sum over processes; those that are gone count nothing."""
    cpu = memory = descriptors = 0.0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - read for every process twice a second
                fields = file.read().rpartition(b")")[2].split()
            cpu += (int(fields[11]) + int(fields[12])) * _TICK
            memory += int(fields[21]) * _PAGE
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - likewise
        except OSError:  # gone meanwhile, or somebody else's
            continue
    return Used(cpu, memory, descriptors)
