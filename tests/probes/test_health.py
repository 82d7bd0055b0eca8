from __future__ import annotations

import time
from collections import Counter

from chaoskit.model.observation import Event, ProbeResult
from chaoskit.probes.health import Health
from chaoskit.probes.taps import Taps
from chaoskit.testing import FakeSystem
from tests.probes.conftest import Server, answer, hang
from tests.probes.watching import system_at, watch


def test_readiness_and_liveness_of_every_replica_are_asked_directly(server: Server) -> None:
    server.behave |= {"/health/ready": answer(200), "/health/live": answer(204)}
    seen = watch(Health(every=0.1), system_at(server.address), 0.55)
    by_name = Counter(one.name for one in seen if isinstance(one, ProbeResult))
    assert set(by_name) == {
        f"{name}/{check}" for name in ("web", "payments.1", "payments.2") for check in ("ready", "live")
    }
    assert all(3 <= count <= 6 for count in by_name.values()), by_name
    assert all(isinstance(one, ProbeResult) and one.ok and one.took < 1.0 for one in seen)
    assert all(one.source == "probe.health" and abs(one.at - time.monotonic()) < 60 for one in seen)


def test_a_no_says_why(server: Server) -> None:
    server.behave |= {"/health/ready": answer(503), "/health/live": answer(302, more="Location: /\r\n")}
    seen = watch(Health(every=0.1), system_at(server.address), 0.3)
    said = {
        (one.name.partition("/")[2], one.ok, one.status, one.because) for one in seen if isinstance(one, ProbeResult)
    }
    assert said == {("ready", False, 503, "status 503"), ("live", True, 302, "")}


def test_one_that_hangs_is_a_no_and_is_never_asked_twice_at_once(server: Server) -> None:
    server.behave |= {"/health/ready": hang, "/health/live": answer(200)}
    began = time.monotonic()
    seen = watch(Health(every=0.1, timeout=0.3), system_at(server.address), 1.0)
    assert time.monotonic() - began < 4.0, "the end does not wait for it"
    hung = [one for one in seen if isinstance(one, ProbeResult) and one.name == "web/ready"]
    assert 2 <= len(hung) <= 4
    assert all(not one.ok and one.status is None and "no answer within" in one.because for one in hung)
    assert server.asked.count("/health/ready") <= 3 * 4
    live = [one for one in seen if isinstance(one, ProbeResult) and one.name == "web/live"]
    assert len(live) >= 6, "the others are asked all the same"


def test_one_that_is_gone_is_a_no_until_it_is_back() -> None:
    gone = Server()
    gone.close()
    seen = watch(Health(every=0.1), system_at(gone.address), 0.25)
    assert seen
    assert all(isinstance(one, ProbeResult) and not one.ok and one.because == "refused" for one in seen)


def test_services_at_no_known_address_are_not_asked() -> None:
    assert watch(Health(every=0.1), system_at(None), 0.2) == []


def test_the_tap_probe_hands_on_what_the_system_streams() -> None:
    event = Event(at=1.0, kind="warning")
    system = FakeSystem(emits=[event])
    assert watch(Taps(), system, 0.05) == [event]
