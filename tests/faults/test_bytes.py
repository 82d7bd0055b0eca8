from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from chaoskit.faults.bytes import Corrupt, Limit, Slicer, SlowClose
from chaoskit.faults.edge import EdgeFault
from chaoskit.model.observation import TapSlot
from chaoskit.testing import FakeSystem, HistoryBuilder, topology_of

EDGE = "orders->inventory"


def usual() -> HistoryBuilder:
    return HistoryBuilder().calls(EDGE, rate=20, took=0.05).fault("it", on=EDGE)


@pytest.mark.parametrize(
    ("fault", "type_", "attributes"),
    [
        (
            Slicer(on=EDGE, size="64B", variation="8B", pause="5ms"),
            "slicer",
            {"average_size": 64, "size_variation": 8, "delay": 5000},
        ),
        (SlowClose(on=EDGE, delay="2s"), "slow_close", {"delay": 2000}),
        (Limit(on=EDGE, size="1KB"), "limit_data", {"bytes": 1000}),
        (Corrupt(on=EDGE, rate="1%"), "corrupt", {"probability": 0.01, "only_bodies": True}),
    ],
)
def test_each_is_one_toxic_in_toxiproxys_units(fault: EdgeFault, type_: str, attributes: dict[str, Any]) -> None:
    [toxic] = fault.toxics(FakeSystem().topology.edges[0])
    assert (toxic.type, dict(toxic.attributes), toxic.stream) == (type_, attributes, "downstream")


def test_what_would_crash_a_real_toxiproxy_is_refused() -> None:
    with pytest.raises(ValidationError):
        Slicer(on=EDGE, size="0B")
    with pytest.raises(ValidationError, match="variation must be less than size"):
        Slicer(on=EDGE, size="64B", variation="64B")


def test_bodies_are_those_of_http() -> None:
    topology = topology_of("load->a", "a->db:postgres")
    assert Corrupt(on="a->db").check(topology)
    assert not Corrupt(on="a->db", what="answers").check(topology)


def test_a_limit_bites_where_connections_end_early() -> None:
    fault = Limit(id="it", on=EDGE, size="1KB")
    trace = fault.trace(usual().build())
    assert not trace.bit
    assert "none reached 1 KB" in trace.because
    assert fault.trace(usual().calls(EDGE, "fault", rate=20, took=0.05, failures={"cut": 0.3}).build()).bit


def test_pieces_bite_where_the_tap_or_the_time_says_so() -> None:
    fault = Slicer(id="it", on=EDGE, size="64B", pause="5ms")
    assert not fault.trace(usual().build()).bit
    assert fault.trace(usual().hits(EDGE, "chaoskit-0a1b2c3d-it", 9.0, 4).build()).bit
    assert fault.trace(usual().calls(EDGE, "fault", rate=20, took=0.1).build()).bit


def test_pieces_without_a_pause_bite_where_the_tap_says_so_and_only_there() -> None:
    fault = Slicer(id="it", on=EDGE, size="64B")
    slower = usual().calls(EDGE, "fault", rate=20, took=0.1)
    trace = fault.trace(slower.build())
    assert not trace.bit and trace.because.endswith("they move less than 64 B at once")
    assert fault.trace(slower.hits(EDGE, "chaoskit-0a1b2c3d-it", 9.0, 4).build()).bit


def test_changed_bytes_bite_where_the_tap_says_so() -> None:
    fault = Corrupt(id="it", on=EDGE)
    assert not fault.trace(usual().build()).bit
    assert fault.trace(usual().hits(EDGE, "chaoskit-0a1b2c3d-it", 9.0, 4).build()).bit


def test_a_late_end_is_only_believed_where_the_tap_saw_it() -> None:
    fault = SlowClose(id="it", on=EDGE, delay="2s")
    assert "keep them open" in fault.trace(usual().build()).because
    closed = usual().observe(TapSlot(at=9.0, source="tap", edge=EDGE, closed=3))
    trace = fault.trace(closed.build())
    assert not trace.bit
    assert "3 connections of orders->inventory ended" in trace.because
    assert fault.trace(closed.hits(EDGE, "chaoskit-0a1b2c3d-it", 9.0, 3).build()).bit
