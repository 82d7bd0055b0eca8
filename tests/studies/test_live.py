"""What a game day looks like right now: rates and quantiles of the last two seconds, and what happened."""

from __future__ import annotations

import pytest

from chaoskit.model.histogram import Histogram
from chaoskit.model.observation import BreakerChange, Event, LoadSlot, ProbeResult, TapSlot
from chaoskit.studies.live import Picture


def took(seconds: float, count: int) -> bytes:
    histogram = Histogram()
    for _ in range(count):
        histogram.record(seconds)
    return histogram.to_bytes()


@pytest.fixture
def picture() -> Picture:
    """Twenty seconds: 40/s at 10 ms, and from 15 s on a quarter of them failing and the rest at 110 ms."""
    made = Picture()
    for slot in range(200):
        at, late = slot / 10, slot >= 150
        answer = took(0.11 if late else 0.01, 3)
        bad = 1 if late else 0
        ok = 3 if late else 4
        made(LoadSlot(at=at, ended=at, name="page", ok=ok, failed=bad, response=answer))
        statuses = {"200": ok, "503": bad} if bad else {"200": ok}
        made(TapSlot(at=at, edge="load->front", ended=4, took=answer, statuses=statuses, outcomes={"answered": 4}))
    return made


def test_rates_and_times_are_those_of_the_last_two_seconds(picture: Picture) -> None:
    load = picture.load(20.4)
    assert load.rate == pytest.approx(40, abs=2)
    assert load.errors == pytest.approx(0.25)
    assert load.p50 == pytest.approx(0.11, rel=0.02)
    assert load.p95 is None, "a quarter never succeeded: the p95 has no end"


def test_an_edge_is_seen_through_its_tap_whoever_calls(picture: Picture) -> None:
    (edge,) = picture.edges(20.4, [("load->front", "127.0.0.1:1")])
    assert edge.rate == pytest.approx(40, abs=2)
    assert edge.errors == pytest.approx(0.25)
    assert edge.p95 == pytest.approx(0.11, rel=0.02)
    assert edge.listening


def test_where_nothing_happens_any_more_nothing_is_shown(picture: Picture) -> None:
    assert picture.load(60.0).rate == 0.0
    assert picture.edges(60.0, [("load->front", "127.0.0.1:1")])[0].p95 is None
    assert picture.edges(60.0, [("never->seen", "127.0.0.1:1")])[0].rate == 0.0


def test_of_health_breakers_and_events_the_newest_counts(picture: Picture) -> None:
    picture(ProbeResult(at=1.0, name="back/ready", ok=False, because="refused"))
    assert [check.because for check in picture.checks()] == ["refused"]
    picture(ProbeResult(at=2.0, name="back/ready", ok=True))
    assert all(check.ok for check in picture.checks())
    for at, state in ((1.0, "closed"), (2.0, "open"), (3.0, "open")):
        picture(BreakerChange(at=at, edge="front->back", state=state))
    assert picture.breakers() == {"front->back": "open"}
    picture(Event(at=4.0, kind="injected", text="latency +100 ms on front->back", about={"fault": "latency"}))
    picture(Event(at=-0.1, kind="exited", text="before it began", about={"replica": "back"}))
    picture(Event(at=5.0, kind="exited", text="its process ended", about={"replica": "back"}))
    assert picture.events() == [
        (2.0, "breaker front->back: closed → open"),
        (4.0, "fault in: latency +100 ms on front->back"),
        (5.0, "exited: back its process ended"),
    ]
