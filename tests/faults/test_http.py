from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from chaoskit.faults.http import HttpDelay, HttpError, Truncate
from chaoskit.testing import FakeSystem, HistoryBuilder, topology_of

EDGE = "orders->payments"
TOXIC = "chaoskit-0a1b2c3d-http_error"


def error(**fields: Any) -> HttpError:
    return HttpError(**{"id": "http_error", "on": EDGE, "status": 503, "share": "30%"} | fields)


def usual() -> HistoryBuilder:
    return HistoryBuilder().calls(EDGE, rate=20, took=0.05).fault("http_error", on=EDGE)


def test_it_puts_a_toxic_for_the_calls_that_match() -> None:
    fault = error(
        method="post", path="/charge*", header="X-Tenant: a*", first=3, body="no", headers={"Retry-After": "1"}
    )
    [toxic] = fault.toxics(FakeSystem().topology.edges[0])
    assert toxic.type == "http_error"
    assert toxic.toxicity == 1.0
    assert toxic.attributes == {
        "status": 503,
        "body": "no",
        "headers": {"Retry-After": "1"},
        "first": 3,
        "method": "POST",
        "path": "/charge*",
        "header": "X-Tenant: a*",
        "percentage": 30.0,
    }
    assert fault.says() == "30% of the first 3 calls of POST /charge* [X-Tenant: a*] answered 503"


@pytest.mark.parametrize(
    "fields", [{"status": 99}, {"status": 600}, {"method": "GRAB"}, {"share": "0%"}, {"first": -1}]
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        error(**fields)


def test_an_edge_that_carries_no_http_is_a_mistake_of_the_file() -> None:
    topology = topology_of("load->a", "a->db:postgres")
    [(key, message)] = error(on="a->db").check(topology)
    assert key == "on"
    assert "a->db carries postgres" in message
    assert not error(on="load->a").check(topology)


def test_it_bit_where_calls_were_answered_by_the_fault() -> None:
    builder = usual().calls(EDGE, "fault", rate=20, took=0.05, failures={"status 503": 0.3})
    trace = error().trace(builder.build())
    assert trace.bit
    assert "(30%) were answered 503 by the fault; in baseline the callee answered 0 of" in trace.because
    assert error().trace(builder.counts_only().build()).bit


def test_it_bit_where_the_tap_says_so_even_once() -> None:
    assert error().trace(usual().hits("orders->payments.1", TOXIC, 9.0, 1).build()).bit


def test_it_did_not_bite_where_no_call_was_answered_so() -> None:
    trace = error().trace(usual().build())
    assert not trace.bit
    assert "none may have been picked" in trace.because


def test_it_did_not_bite_where_the_callee_answered_so_before_as_well() -> None:
    builder = (
        HistoryBuilder().calls(EDGE, rate=20, took=0.05, failures={"status 503": 0.3}).fault("http_error", on=EDGE)
    )
    assert not error().trace(builder.build()).bit


def test_it_did_not_bite_where_no_call_matched() -> None:
    builder = usual().calls(EDGE, "fault", rate=20, took=0.05, failures={"status 503": 0.3})
    trace = error(path="/refund").trace(builder.build())
    assert not trace.bit
    assert "but none of /refund" in trace.because


def test_it_did_not_bite_where_nothing_crossed() -> None:
    assert not error().trace(HistoryBuilder().fault("http_error", on=EDGE).build()).bit


def test_a_delay_bites_where_calls_are_held_back() -> None:
    fault = HttpDelay(id="http_error", on=EDGE, delay="200ms")
    assert not fault.trace(usual().build()).bit
    assert fault.trace(usual().calls(EDGE, "fault", rate=20, took=0.25).build()).bit
    assert fault.trace(usual().hits("orders->payments.1", TOXIC, 9.0, 4).build()).bit


def test_a_truncation_bites_where_answers_end_in_the_middle() -> None:
    fault = Truncate(id="http_error", on=EDGE, after="100B", share="10%")
    assert not fault.trace(usual().build()).bit
    assert fault.trace(usual().calls(EDGE, "fault", rate=20, took=0.05, failures={"cut": 0.1}).build()).bit
    [toxic] = fault.toxics(FakeSystem().topology.edges[0])
    assert toxic.attributes["bytes"] == 100
