"""Lanes below the charts draw what was seen, and nothing where nobody looked."""

from __future__ import annotations

import math

import pytest
from msgspec import structs

from chaoskit.reporters.lanes import Lane, health_lanes
from chaoskit.testing import HistoryBuilder


def lane_of(built: HistoryBuilder) -> Lane:
    (lane,) = health_lanes({"orders/ready": built.build().probe("orders/ready")})
    return lane


def test_a_check_is_drawn_as_it_answered() -> None:
    lane = lane_of(HistoryBuilder().probe("orders/ready").probe("orders/ready", (9.0, 11.0), ok=False))
    assert [(one.look, one.start, one.end) for one in lane.segments] == [
        ("ok", pytest.approx(0.0, abs=2.0), 9.0),
        ("bad", 9.0, 11.0),
        ("ok", 11.0, pytest.approx(24.0, abs=0.3)),
    ]
    assert lane.says == "orders/ready said no for 2 s, first at 9.0 s"


def test_nothing_is_drawn_where_nobody_asked() -> None:
    lane = lane_of(HistoryBuilder().probe("orders/ready").probe("orders/ready", (12.0, 16.0), every=math.inf))
    before, after = lane.segments
    assert (before.end, after.start) == (pytest.approx(11.752), 16.0)
    assert lane.says == "orders/ready always said yes; nobody asked for 4.25 s"


def test_a_check_that_waited_for_its_timeout_was_asked_all_the_time() -> None:
    built = HistoryBuilder().probe("orders/ready").probe("orders/ready", (12.0, 16.0), ok=False, every=2.0)
    seen = [one if one.ok else structs.replace(one, took=1.9) for one in built.build().probe("orders/ready")]
    (lane,) = health_lanes({"orders/ready": seen})
    assert [one.look for one in lane.segments] == ["ok", "bad", "ok"]
    seen = [structs.replace(one, took=0.01) for one in seen]
    (lane,) = health_lanes({"orders/ready": seen})
    assert [one.look for one in lane.segments] == ["ok", "bad", "bad", "ok"], "it told at once, and nobody asked again"
