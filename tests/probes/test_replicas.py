from __future__ import annotations

import threading
import time

from chaoskit.model.observation import Event
from chaoskit.probes.replicas import Replicas
from chaoskit.target import ServiceSpec, Target
from chaoskit.testing import FakeSystem


class Others(FakeSystem):
    """A system in which somebody else runs `inventory`."""

    @property
    def target(self) -> Target:
        target = super().target
        theirs = {"inventory": ServiceSpec(url="http://127.0.0.1:1")}
        return target.model_copy(update={"services": target.services | theirs})


def test_exits_and_starts_are_told_once_each_and_others_services_are_not_watched() -> None:
    """Also of replicas whose processes are on no machine that can be looked at: an engine's in a machine of its own."""
    system = Others()
    assert system.replica("payments.1").pids() == []
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
