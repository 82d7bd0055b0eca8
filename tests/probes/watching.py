"""Runs a probe on a made-up system for a while."""

from __future__ import annotations

import threading
import time

from chaoskit.interfaces import Address, Emit, Probe
from chaoskit.model.observation import Observation
from chaoskit.testing import FakeReplica, FakeSystem, topology_of


class At(FakeReplica):
    def __init__(self, name: str, address: Address | None) -> None:
        super().__init__(name)
        self._address = address

    @property
    def address(self) -> Address | None:
        return self._address


def system_at(address: Address | None) -> FakeSystem:
    system = FakeSystem(topology_of("load->web", "web->payments.1", "web->payments.2", "web->db:postgres"))
    system.fake_replicas = {name: At(name, address) for name in system.fake_replicas}
    return system


def watch(probe: Probe, system: FakeSystem, seconds: float) -> list[Observation]:
    """What a probe sees in a while."""
    seen: list[Observation] = []
    stop = threading.Event()
    emit: Emit = seen.append
    thread = threading.Thread(target=probe.run, args=(system, emit, stop))
    thread.start()
    time.sleep(seconds)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    return seen
