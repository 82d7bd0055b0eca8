from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict

import pytest

from chaoskit.interfaces import Address, Emit, Probe
from chaoskit.model.observation import BreakerChange, Event, MetricPoint, Observation, ProbeResult
from chaoskit.probes.health import Health
from chaoskit.probes.scrape import Scrape
from chaoskit.probes.taps import Taps
from chaoskit.testing import FakeReplica, FakeSystem, topology_of
from tests.probes.conftest import Server, answer, hang


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


PAGE = """\
# HELP circuit_breaker_state State of the circuit breaker. 0 is closed, 1 is half-opened, 2 is opened.
# TYPE circuit_breaker_state gauge
circuit_breaker_state{circuit="payments"} %d
# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{method="GET",path="/a b\\"c\\""} 3
http_requests_created{method="GET"} 1.7e9
# TYPE took histogram
took_bucket{le="0.1"} 3
took_bucket{le="+Inf"} 4
took_count 4
took_sum 0.9
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 1
python_info{version="3.11"} 1
"""


def test_pages_become_points_without_the_noise_of_the_runtime(server: Server) -> None:
    server.behave["/metrics"] = answer(200, PAGE % 0)
    seen = watch(Scrape(every=0.2), system_at(server.address), 0.5)
    points = [one for one in seen if isinstance(one, MetricPoint) and one.source == "payments.2"]
    assert {one.name for one in points} == {"circuit_breaker_state", "http_requests_total", "took_count", "took_sum"}
    [labels] = {tuple(one.labels.items()) for one in points if one.name == "http_requests_total"}
    assert labels == (("method", "GET"), ("path", '/a b"c"'))
    assert 2 <= sum(one.name == "took_count" for one in points) <= 4


def test_a_breaker_on_a_page_is_told_when_it_changes(server: Server) -> None:
    server.behave["/metrics"] = answer(200, PAGE % 0)
    system = system_at(server.address)
    timer = threading.Timer(0.35, lambda: server.behave.__setitem__("/metrics", answer(200, PAGE % 2)))
    timer.start()
    seen = watch(Scrape(every=0.1), system, 0.8)
    timer.join()
    changes = [(one.edge, one.state) for one in seen if isinstance(one, BreakerChange) and one.source == "web"]
    assert changes == [("web->payments", "closed"), ("web->payments", "open")]


def test_only_what_is_asked_for_is_kept_and_at_most_so_much(server: Server) -> None:
    server.behave["/metrics"] = answer(200, PAGE % 0)
    seen = watch(Scrape(every=0.2, only=("took_*", "python_info")), system_at(server.address), 0.1)
    assert {one.name for one in seen if isinstance(one, MetricPoint)} == {
        "took_bucket",
        "took_count",
        "took_sum",
        "python_info",
    }
    seen = watch(Scrape(every=0.2, most=2), system_at(server.address), 0.3)
    assert {one.name for one in seen if isinstance(one, MetricPoint)} == {
        "circuit_breaker_state",
        "http_requests_total",
    }
    warnings = [one for one in seen if isinstance(one, Event)]
    assert len(warnings) == 3, "once for each replica"
    assert all(one.kind == "warning" and "more than 2 samples" in one.text for one in warnings)


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [(200, "{not metrics", "not the text format"), (404, "", "status 404"), (200, 'a{b="c"}\n', "not the text format")],
)
def test_a_page_that_cannot_be_read_is_one_warning(server: Server, status: int, body: str, why: str) -> None:
    server.behave["/metrics"] = answer(status, body)
    seen = watch(Scrape(every=0.1), system_at(server.address), 0.45)
    assert sorted(one.about["replica"] for one in seen if isinstance(one, Event)) == ["payments.1", "payments.2", "web"]
    assert all(isinstance(one, Event) and why in one.text for one in seen)


def test_the_tap_probe_hands_on_what_the_system_streams() -> None:
    event = Event(at=1.0, kind="warning")
    system = FakeSystem(emits=[event])
    assert watch(Taps(), system, 0.05) == [event]


def test_readings_by_replica_keep_their_cadence(server: Server) -> None:
    server.behave |= {"/health/ready": answer(200), "/health/live": answer(200)}
    seen = watch(Health(every=0.1), system_at(server.address), 1.05)
    stamps: dict[str, list[float]] = defaultdict(list)
    for one in seen:
        assert isinstance(one, ProbeResult)
        stamps[one.name].append(one.at)
    for times in stamps.values():
        assert (times[-1] - times[0]) / (len(times) - 1) == pytest.approx(0.1, abs=0.05), (
            "an absolute schedule: no drift"
        )
