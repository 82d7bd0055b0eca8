"""The probe that asks each replica's health endpoints, directly and not through a proxy."""

from __future__ import annotations

import threading
import time
from typing import ClassVar, NamedTuple

from pydantic import Field

from chaoskit.interfaces import Address, Emit, Probe, System
from chaoskit.model.observation import ProbeResult
from chaoskit.model.units import Duration
from chaoskit.probes.asking import ask, sleep_until_next

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
        # A thread for each: one that hangs must not keep the others from being asked, nor be asked twice at once.
        threads = [
            threading.Thread(
                target=self._watch, args=(endpoint, emit, stop), name=f"health-{endpoint.name}", daemon=True
            )
            for endpoint in endpoints(system)
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        until = time.monotonic() + 0.2
        for thread in threads:  # one that still waits for an answer says nothing any more
            thread.join(max(0.0, until - time.monotonic()))

    def _watch(self, endpoint: Endpoint, emit: Emit, stop: threading.Event) -> None:
        began = time.monotonic()
        while not stop.is_set():
            asked = time.monotonic()
            answer = ask(endpoint.address, endpoint.path, self.timeout)
            now = time.monotonic()
            if stop.is_set():
                return
            ok = answer.status is not None and 200 <= answer.status < 400
            emit(
                ProbeResult(
                    at=asked,
                    source="probe.health",
                    name=endpoint.name,
                    ok=ok,
                    status=answer.status,
                    took=now - asked,
                    because=answer.because or ("" if ok else f"status {answer.status}"),
                )
            )
            stop.wait(sleep_until_next(began, self.every, time.monotonic()))


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
