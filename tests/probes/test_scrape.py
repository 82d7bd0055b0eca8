from __future__ import annotations

import threading

import pytest

from chaoskit.model.observation import BreakerChange, Event, MetricPoint
from chaoskit.probes.scrape import Scrape
from tests.probes.conftest import Server, answer
from tests.probes.watching import system_at, watch

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
    assert {one.name for one in points} == {
        "circuit_breaker_state", "http_requests_total", "scrape_samples_scraped", "took_count", "took_sum",
    }  # fmt: skip
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


@pytest.mark.parametrize(("status", "body"), [(503, ""), (200, "{not metrics")])
def test_a_breaker_whose_page_can_no_longer_be_read_is_unknown(server: Server, status: int, body: str) -> None:
    server.behave["/metrics"] = answer(200, PAGE % 2)
    timer = threading.Timer(0.35, lambda: server.behave.__setitem__("/metrics", answer(status, body)))
    timer.start()
    seen = watch(Scrape(every=0.1), system_at(server.address), 0.8)
    timer.join()
    changes = [(one.edge, one.state) for one in seen if isinstance(one, BreakerChange) and one.source == "web"]
    assert changes == [("web->payments", "open"), ("web->payments", "unknown")]


def test_only_what_is_asked_for_is_kept_and_at_most_so_much(server: Server) -> None:
    server.behave["/metrics"] = answer(200, PAGE % 0)
    seen = watch(Scrape(every=0.2, only=("took_*", "python_info")), system_at(server.address), 0.1)
    assert {one.name for one in seen if isinstance(one, MetricPoint)} == {
        "took_bucket",
        "took_count",
        "took_sum",
        "python_info",
        "scrape_samples_scraped",
    }
    seen = watch(Scrape(every=0.2, most=2), system_at(server.address), 0.3)
    assert {one.name for one in seen if isinstance(one, MetricPoint)} == {
        "circuit_breaker_state",
        "http_requests_total",
        "scrape_samples_scraped",
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


@pytest.mark.parametrize("value", ["NaN", "+Inf"])
def test_a_breaker_whose_state_is_no_number_is_unknown_and_the_page_is_read_on(server: Server, value: str) -> None:
    server.behave["/metrics"] = answer(200, f'circuit_breaker_state{{name="payments"}} {value}\nused 5\n')
    seen = watch(Scrape(every=0.2), system_at(server.address), 0.5)
    assert [one.text for one in seen if isinstance(one, Event)] == []
    assert 5.0 in [one.value for one in seen if isinstance(one, MetricPoint) and one.name == "used"]
    assert "closed" not in {one.state for one in seen if isinstance(one, BreakerChange)}
