"""The probe that asks each replica's health endpoints, directly and not through a proxy."""

from __future__ import annotations

import threading
import time
from typing import ClassVar, NamedTuple

from pydantic import Field

from chaoskit.interfaces import Address, Emit, Probe, System
from chaoskit.model.observation import ProbeResult
from chaoskit.model.units import Duration
from chaoskit.probes.asking import ask
from chaoskit.probes.rounds import Look, look_around

__all__ = ["Health"]


class Endpoint(NamedTuple):
    name: str
    """`<replica>/<check>`."""
    address: Address
    path: str


class Health(Probe):
    """Ask readiness and liveness of every replica. An answer below 400 within `timeout` is a yes."""

    kind: ClassVar[str] = "health"

    every: Duration = Field(default=0.25, ge=0.05)
    """Time between two questions to one endpoint."""
    timeout: Duration = Field(default=1.0, gt=0.0)
    """No answer within this time is a no."""

    def run(self, system: System, emit: Emit, stop: threading.Event) -> None:
        looks = {f"health-{endpoint.name}": self._look(endpoint, emit) for endpoint in endpoints(system)}
        look_around(looks, self.every, stop)

    def _look(self, endpoint: Endpoint, emit: Emit) -> Look:
        def look(at: float, stop: threading.Event) -> None:
            answer = ask(endpoint.address, endpoint.path, self.timeout)
            took = time.monotonic() - at
            ok = answer.status is not None and 200 <= answer.status < 400
            seen = ProbeResult(
                at=at,
                source="probe.health",
                name=endpoint.name,
                ok=ok,
                status=answer.status,
                took=took,
                because=answer.because or ("" if ok else f"status {answer.status}"),
            )
            if not stop.is_set():
                emit(seen)

        return look


def endpoints(system: System) -> list[Endpoint]:
    """Every health endpoint of the target. Services on no known address have none."""
    found = []
    for service in system.topology.services:
        checks = [(check, path) for check, path in (("ready", service.ready), ("live", service.live)) if path]
        for replica in service.replica_names() if checks else ():
            address = system.replica(replica).address
            if address is not None:
                found += [Endpoint(f"{replica}/{check}", address, path) for check, path in checks]
    return found
