from __future__ import annotations

import pytest

from chaoskit.probes.breakers import BreakerMetrics, numbered_states, state_of
from chaoskit.testing import topology_of

TOPOLOGY = topology_of("load->web", "web->orders", "orders->payments.1", "orders->payments.2", "orders->inventory")


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("State (0=closed, 1=open, 2=half-open)", {0: "closed", 1: "open", 2: "half_open"}),
        ("State. 0 is closed, 1 is half-opened, 2 is opened.", {0: "closed", 1: "half_open", 2: "open"}),
        ("closed=0, half_open=1, open=2", {0: "closed", 1: "half_open", 2: "open"}),
        ("0 - closed, 1 - open", {0: "closed", 1: "open"}),
        ("closed (0), open (1), half-open (2)", {0: "closed", 1: "open", 2: "half_open"}),
        ("1 for the state that it is in.", {}),
        ("", {}),
    ],
)
def test_the_numbers_mean_what_the_help_text_says(text: str, states: dict[int, str]) -> None:
    assert numbered_states(text) == states


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("CLOSED", "closed"),
        ("opened", "open"),
        ("half-opened", "half_open"),
        ("HALF_OPEN", "half_open"),
        ("forced_open", "open"),
        ("broken", "unknown"),
    ],
)
def test_states_are_known_however_they_are_spelt(word: str, state: str) -> None:
    assert state_of(word) == state


def told(name: str, *samples: tuple[dict[str, str], float], text: str = "") -> list[tuple[str, str]]:
    breakers = BreakerMetrics(TOPOLOGY, "orders")
    for labels, value in samples:
        breakers.read(name, labels, value, text)
    return breakers.changes()


def test_a_sample_for_each_state_tells_the_one_that_is_1() -> None:
    name = "resilience4j_circuitbreaker_state"
    samples = [
        ({"name": "payments", "state": state}, float(state == "open")) for state in ("closed", "open", "half_open")
    ]
    assert told(name, *samples) == [("orders->payments", "open")]
    assert told("circuit_breaker_state", *samples) == [("orders->payments", "open")]


def test_a_number_tells_what_the_help_text_says_or_that_it_is_unknown() -> None:
    sample = ({"circuit": "payments"}, 1.0)
    assert told("pybreaker_state", sample, text="0=closed, 1=open, 2=half-open") == [("orders->payments", "open")]
    assert told("circuit_breaker_state", sample, text="0 is closed, 1 is half-opened") == [
        ("orders->payments", "half_open")
    ]
    assert told("circuit_breaker_state", sample) == [("orders->payments", "unknown")]
    assert told("circuit_breaker_state", ({"circuit": "payments"}, 0.0)) == [("orders->payments", "closed")]


def test_envoys_limits_are_open_where_one_of_them_is() -> None:
    labels = {"envoy_cluster_name": "payments"}
    breakers = BreakerMetrics(TOPOLOGY, "orders")
    breakers.read("envoy_cluster_circuit_breakers_default_cx_open", labels, 0, "")
    breakers.read("envoy_cluster_circuit_breakers_default_rq_open", labels, 1, "")
    breakers.read("envoy_cluster_circuit_breakers_high_rq_open", labels, 0, "")
    breakers.read("envoy_cluster_circuit_breakers_default_remaining_rq", labels, 9, "")
    assert breakers.changes() == [("orders->payments", "open")]


def test_other_metrics_of_breakers_are_not_states() -> None:
    for name in (
        "resilience4j_circuitbreaker_calls_total",
        "circuit_breaker_failures_total",
        "http_connections_open",
        "state",
    ):
        assert told(name, ({"name": "payments", "state": "open"}, 1.0)) == []


def test_a_breaker_is_on_the_edge_that_its_labels_name() -> None:
    name, closed = "circuit_breaker_state", 0.0
    assert told(name, ({"name": "payments.2"}, closed)) == [("orders->payments.2", "closed")]
    assert told(name, ({"name": "inventory"}, closed)) == [("orders->inventory", "closed")]
    assert told(name, ({"name": "http://inventory:8080"}, closed)) == [("orders->inventory", "closed")]
    assert told(name, ({"name": "charge-payments"}, closed)) == [("orders->payments", "closed")]
    assert told(name, ({"name": "something else"}, closed)) == []


def test_a_breaker_that_names_nothing_is_on_the_only_edge_and_one_that_names_something_else_on_none() -> None:
    breakers = BreakerMetrics(TOPOLOGY, "web")
    breakers.read("circuit_breaker_state", {"name": "smtp"}, 1.0, "0 closed, 1 open")
    assert breakers.changes() == []
    breakers.read("circuit_breaker_state", {}, 0.0, "0 closed, 1 open")
    assert breakers.changes() == [("web->orders", "closed")]
    assert told("circuit_breaker_state", ({}, 0.0)) == [], "orders has several callees"


def test_only_changes_are_told() -> None:
    breakers = BreakerMetrics(TOPOLOGY, "orders")
    said = []
    for value in (0, 0, 2, 2, 1, 0):
        breakers.read("circuit_breaker_state", {"name": "payments"}, value, "0 closed, 1 half-open, 2 open")
        said += breakers.changes()
    assert [state for _, state in said] == ["closed", "open", "half_open", "closed"]


def test_a_breaker_that_two_pages_on_end_tell_nothing_of_is_unknown_until_one_does() -> None:
    breakers = BreakerMetrics(TOPOLOGY, "orders")

    def page(*names: str) -> list[tuple[str, str]]:
        for name in names:
            breakers.read("circuit_breaker_state", {"name": name}, 1.0, "0 closed, 1 open")
        return breakers.changes()

    assert page("payments", "inventory") == [("orders->payments", "open"), ("orders->inventory", "open")]
    assert page("inventory") == []
    assert page() == [("orders->payments", "unknown")]
    assert page("inventory") == [], "one page alone was silent"
    assert page("payments") == [("orders->payments", "open")]
    assert page("payments") == [("orders->inventory", "unknown")]
