from __future__ import annotations

import threading
import time

from chaoskit.model.observation import Event
from chaoskit.probes.replicas import Replicas
from chaoskit.testing import FakeReplica, FakeSystem


class WithProcess(FakeReplica):
    def pids(self) -> list[int]:
        return [4_000_001]


def test_exits_and_starts_are_told_once_each_and_others_services_are_not_watched() -> None:
    system = FakeSystem()
    for name in ("orders", "payments.1"):
        system.fake_replicas[name] = WithProcess(name)
    seen: list[Event] = []
    stop = threading.Event()
    thread = threading.Thread(target=Replicas(every=0.005).run, args=(system, seen.append, stop))
    thread.start()
    time.sleep(0.1)
    system.fake_replicas["payments.1"].is_alive = False
    system.fake_replicas["inventory"].is_alive = False
    time.sleep(0.1)
    system.fake_replicas["payments.1"].is_alive = True
    time.sleep(0.1)
    stop.set()
    thread.join(5)
    assert [(event.kind, event.about) for event in seen] == [
        ("exited", {"replica": "payments.1"}),
        ("started", {"replica": "payments.1"}),
    ]
