"""The probe that reads what each replica's processes use: processor, memory, descriptors."""

from __future__ import annotations

import os
import threading
import time
from typing import ClassVar, NamedTuple

from pydantic import Field

from chaoskit.interfaces import Emit, Probe, ReplicaControl, System
from chaoskit.model.observation import MetricPoint
from chaoskit.model.units import Duration

__all__ = ["Resources", "Used", "used_by"]

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Used(NamedTuple):
    """What some processes have used or hold."""

    cpu: float
    """Seconds of processor time since they began."""
    memory: float
    """Resident bytes."""
    descriptors: float


class Resources(Probe):
    """Read what every replica uses, twice a second, where its processes are on this machine.

    Metrics `service_cpu` (cores), `service_memory` (bytes) and `service_fds` of each replica. Nothing on a system
    without /proc.
    """

    kind: ClassVar[str] = "resources"

    every: Duration = Field(default=0.5, ge=0.1)
    """Time between two readings."""

    def run(self, system: System, emit: Emit, stop: threading.Event) -> None:
        before: dict[str, tuple[float, Used]] = {}
        pids: dict[str, list[int]] = {}
        rounds = 0
        while not stop.is_set():
            for replica in system.replicas():
                known = pids.get(replica.name, [])
                # Who belongs to it takes a walk through all processes: not every time.
                if rounds % 10 == 0 or (replica.alive() and not _there(known)):
                    known = pids[replica.name] = replica.pids()
                self._read(replica, known, before, emit)
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
