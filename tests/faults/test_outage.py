from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from chaoskit.faults.outage import Blackhole, Flap, Partition, Reset
from chaoskit.testing import FakeSystem, HistoryBuilder

EDGE = "orders->payments"


def usual(kind: str, edge: str = EDGE) -> HistoryBuilder:
    return HistoryBuilder().calls(edge, rate=20, took=0.05).fault(kind, on=edge)


def quiet_during(builder: HistoryBuilder, edge: str = EDGE) -> HistoryBuilder:
    return builder.calls(edge, (7.9, 18.0), rate=0)


# ------------------------------------------------------------------------------------------------------- partition


def partition(**fields: Any) -> Partition:
    return Partition(**{"id": "partition", "on": EDGE} | fields)


def test_a_refused_partition_closes_the_listener_of_every_replicas_edge_and_names_that_undo_first(
    tmp_path: Path,
) -> None:
    system = FakeSystem(folder=tmp_path)
    assert [undo.owner for undo in partition().undo(system)] == ["fake.enabled", "fake.enabled"]
    assert all(proxy.enabled for proxy in system.proxies.values())
    partition().inject(system)
    assert {edge.name for edge, proxy in system.proxies.items() if not proxy.enabled} == {
        "orders->payments.1",
        "orders->payments.2",
    }


@pytest.mark.parametrize(
    ("way", "streams"),
    [("both", ["downstream", "upstream"]), ("requests", ["upstream"]), ("answers", ["downstream"])],
)
def test_a_dropped_partition_lets_bytes_vanish_the_way_it_says(tmp_path: Path, way: str, streams: list[str]) -> None:
    system = FakeSystem(folder=tmp_path)
    fault = partition(how="dropped", way=way, on="orders->inventory")
    fault.inject(system)
    [toxics] = [proxy.toxics for proxy in system.proxies.values() if proxy.toxics]
    assert sorted(str(toxic["stream"]) for toxic in toxics.values()) == streams
    assert all(toxic["type"] == "timeout" and toxic["attributes"] == {"timeout": 0} for toxic in toxics.values())
    [undo] = fault.undo(system)
    assert sorted(undo.args["names"]) == sorted(toxics)  # type: ignore[arg-type]
    assert all(proxy.enabled for proxy in system.proxies.values())


def test_a_refusal_has_no_direction() -> None:
    with pytest.raises(ValidationError, match="how: dropped"):
        partition(way="answers")


def test_a_refused_partition_bit_where_the_listener_was_closed_on_an_edge_in_use() -> None:
    history = quiet_during(usual("partition")).closed_listener(EDGE, "fault").build()
    trace = partition().trace(history)
    assert trace.bit
    assert "was closed for 10 s" in trace.because
    assert "calls crossed it in baseline, none while the fault was in" in trace.because


def test_a_refused_partition_joins_what_the_load_saw() -> None:
    builder = quiet_during(usual("partition")).closed_listener(EDGE, "fault")
    builder.load("checkout", rate=20).load("checkout", "fault", rate=20, failures={"status 502": 1.0})
    because = partition().trace(builder.build()).because
    assert "the load saw 0% of its requests fail before and 99% during" in because  # one was in flight, and answered


@pytest.mark.parametrize("closed", ["", "orders->payments.1"])
def test_a_refused_partition_did_not_bite_where_a_listener_was_not_seen_closed(closed: str) -> None:
    builder = quiet_during(usual("partition"))
    if closed:
        builder.closed_listener(closed, "fault")
    trace = partition().trace(builder.build())
    assert not trace.bit
    assert "orders->payments.2 was not seen closed" in trace.because


def test_a_refused_partition_did_not_bite_where_calls_still_crossed() -> None:
    trace = partition().trace(usual("partition").closed_listener(EDGE, (8.0, 9.0)).build())
    assert not trace.bit
    assert "calls still crossed" in trace.because


def test_a_refused_partition_did_not_bite_where_nothing_crossed_in_baseline_either() -> None:
    trace = partition().trace(HistoryBuilder().fault("partition", on=EDGE).closed_listener(EDGE, "fault").build())
    assert not trace.bit
    assert "nothing in the load leads there" in trace.because


# ------------------------------------------------------------------------------------------------------- blackhole


def test_a_blackhole_drops_both_directions_or_the_requests_of_a_share(tmp_path: Path) -> None:
    edge = FakeSystem().topology.edges[0]
    assert [toxic.stream for toxic in Blackhole(on=EDGE).toxics(edge)] == ["upstream", "downstream"]
    [toxic] = Blackhole(on=EDGE, share="30%").toxics(edge)
    assert (toxic.type, toxic.stream, toxic.toxicity) == ("timeout", "upstream", 0.3)


def test_a_blackhole_bit_where_no_call_was_answered() -> None:
    builder = usual("blackhole").calls(EDGE, (7.9, 18.0), rate=4, took=0.5, failures={"abandoned": 1.0})
    trace = Blackhole(id="blackhole", on=EDGE).trace(builder.build())
    assert trace.bit
    assert "got no answer" in trace.because


def test_a_blackhole_bit_where_a_breaker_let_only_two_calls_out() -> None:
    builder = quiet_during(usual("blackhole"))
    for at in (8.1, 8.2):
        builder.call("orders->payments.1", at, 0.5, outcome="abandoned")
    assert Blackhole(id="blackhole", on=EDGE).trace(builder.build()).bit


def test_a_blackhole_bit_where_calls_are_open_until_the_end() -> None:
    builder = usual("blackhole").calls(EDGE, (7.9, 24.0), rate=1, took=None)
    assert Blackhole(id="blackhole", on=EDGE).trace(builder.build()).bit


def test_a_blackhole_did_not_bite_where_calls_were_answered() -> None:
    trace = Blackhole(id="blackhole", on=EDGE).trace(usual("blackhole").build())
    assert not trace.bit
    assert "answered all the same" in trace.because


def test_a_blackhole_did_not_bite_where_half_of_the_calls_were_answered() -> None:
    builder = usual("blackhole").calls(EDGE, "fault", rate=20, took=0.05, failures={"abandoned": 0.5})
    assert not Blackhole(id="blackhole", on=EDGE).trace(builder.build()).bit
    assert Blackhole(id="blackhole", on=EDGE, share="50%").trace(builder.build()).bit


def test_a_blackhole_did_not_bite_where_as_many_went_without_an_answer_before() -> None:
    builder = HistoryBuilder().calls(EDGE, rate=20, took=0.5, failures={"abandoned": 0.95})
    assert not Blackhole(id="blackhole", on=EDGE).trace(builder.fault("blackhole", on=EDGE).build()).bit


def test_a_dropped_partition_is_judged_by_calls_without_an_answer() -> None:
    fault = partition(how="dropped", way="answers")
    builder = usual("partition")
    assert not fault.trace(builder.build()).bit
    builder.calls(EDGE, (7.9, 18.0), rate=4, took=0.5, failures={"abandoned": 1.0})
    assert fault.trace(builder.build()).bit


# ----------------------------------------------------------------------------------------------------------- reset


def test_a_reset_bit_where_calls_were_cut_and_did_not_where_they_were_not() -> None:
    fault = Reset(id="reset", on=EDGE, share="30%")
    builder = usual("reset")
    assert not fault.trace(builder.build()).bit
    trace = fault.trace(builder.calls(EDGE, "fault", rate=20, took=0.001, failures={"cut": 0.3}).build())
    assert trace.bit
    assert "were reset" in trace.because


def test_a_reset_is_of_one_direction() -> None:
    [toxic] = Reset(on=EDGE, after="10ms", way="answers").toxics(FakeSystem().topology.edges[0])
    assert (toxic.type, toxic.stream, toxic.attributes) == ("reset_peer", "downstream", {"timeout": 10})
    with pytest.raises(ValidationError):
        Reset(on=EDGE, way="both")


# ------------------------------------------------------------------------------------------------------------ flap


def test_a_flapping_edge_bit_where_its_listener_was_closed_now_and_then() -> None:
    fault = Flap(id="flap", on=EDGE, down="1s", up="1s")
    builder = usual("flap")
    assert not fault.trace(builder.build()).bit
    for start in (8.0, 10.0, 12.0):
        builder.closed_listener(EDGE, (start, start + 1.0)).calls(EDGE, (start, start + 1.0), rate=0)
    assert fault.trace(builder.build()).bit
    [toxic] = fault.toxics(FakeSystem().topology.edges[0])
    assert (toxic.type, toxic.attributes) == ("flap", {"down": 1000, "up": 1000})


def test_a_reset_that_would_come_after_the_fault_is_refused() -> None:
    with pytest.raises(ValidationError, match="after must be shorter than lasts"):
        Reset(on=EDGE, after="2s", lasts="2s")
    assert Reset(on=EDGE, after="1s", lasts="2s").after == 1.0
