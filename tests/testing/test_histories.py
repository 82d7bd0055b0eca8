"""Histories written by hand hold what was said."""

from __future__ import annotations

import pytest

from chaoskit import testing
from chaoskit.interfaces import System
from chaoskit.model.history import Phase
from chaoskit.testing import FakeClock, FakeSystem, HistoryBuilder, NoFault


def test_every_planned_request_is_counted_once_and_failures_are_the_share_that_was_asked_for() -> None:
    history = HistoryBuilder().load("checkout", rate=80, failures={"status 503": 0.3}, unfinished=0.1).build()
    fault = history.during("fault").load("checkout")
    assert fault.requests == 800
    assert fault.causes == {"status 503": 240, "unfinished": 80}
    assert fault.statuses == {"200": 480, "503": 240}


def test_a_later_load_replaces_the_same_requests_in_its_span_only() -> None:
    built = HistoryBuilder().load("checkout", rate=80, response=0.1, spread=0).load("cart", rate=10)
    history = built.load("checkout", "fault", rate=40, response=0.3, spread=0).build()
    assert history.during("fault").load("checkout").requests == 400
    assert history.during("baseline").load("checkout").requests == 480
    assert history.during("fault").load("cart").requests == 100
    assert history.during("fault").load("checkout").percentile(0.5) == pytest.approx(0.3, rel=0.01)


def test_requests_in_flight_at_the_injection_count_with_the_fault() -> None:
    history = HistoryBuilder().load("checkout", rate=80, response=0.1, spread=0).fault("latency", on="orders->payments")
    assert history.build().during("baseline").load().requests == 472


def test_calls_cross_the_replicas_of_an_edge_in_turn() -> None:
    history = HistoryBuilder().calls("orders->payments", "baseline", rate=10, failures={"status 503": 0.5}).build()
    assert history.tap("orders->payments.1").started == 30
    assert history.tap("orders->payments").statuses == {"200": 30, "503": 30}
    assert len(history.tap("orders->payments").calls) == 60


def test_calls_that_nothing_ended_are_open() -> None:
    view = HistoryBuilder().calls("orders->payments", "fault", rate=10, took=None).build().tap("orders->payments")
    assert (view.started, view.ended, view.outcomes) == (100, 0, {"open": 100})


def test_a_load_run_has_one_window() -> None:
    history = HistoryBuilder().load_run(5).load("GET /", rate=10).build()
    assert history.during(Phase.LOAD).load().requests == 50


def test_the_same_sentences_make_the_same_history() -> None:
    def built() -> object:
        return HistoryBuilder(seed=3).load("checkout", rate=50).probe("payments/ready").build().observations

    assert built() == built()


def test_a_system_of_fakes_is_a_system_and_a_no_op_has_nothing_to_undo() -> None:
    system: System = FakeSystem()
    fault = NoFault(on="orders->payments")
    assert [edge.name for edge in fault.edges(system.topology)] == ["orders->payments.1", "orders->payments.2"]
    assert fault.undo(system) == ()


def test_a_fake_clock_goes_only_when_told() -> None:
    clock = FakeClock(5.0)
    clock.sleep(1.5)
    assert clock() == 6.5


def test_what_is_for_users_is_there() -> None:
    assert len(set(testing.__all__)) == len(testing.__all__)
    assert all(hasattr(testing, name) for name in testing.__all__)
