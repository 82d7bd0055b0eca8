from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from chaoskit.errors import CouldNotTell
from chaoskit.faults.evidence import size_text
from chaoskit.faults.network import Bandwidth, Jitter, Latency
from chaoskit.model.history import History
from chaoskit.model.verdict import Trace
from chaoskit.testing import FakeSystem, HistoryBuilder

EDGE = "orders->payments"


def latency(**fields: Any) -> Latency:
    return Latency(**{"id": "latency", "on": EDGE, "add": "50ms"} | fields)


def usual(took: float = 0.1, spread: float = 0.05) -> HistoryBuilder:
    return HistoryBuilder().calls(EDGE, rate=40, took=took, spread=spread).fault("latency", on=EDGE)


# -------------------------------------------------------------------------------------------------- what it puts in


def test_it_puts_a_latency_toxic_on_every_edge_under_the_names_that_its_undo_knew_before(tmp_path: Path) -> None:
    system = FakeSystem(folder=tmp_path)
    fault = latency(add="200ms", jitter="20ms", share="50%")
    named = [name for undo in fault.undo(system) for name in undo.args["names"]]  # type: ignore[union-attr]
    assert all(not proxy.toxics for proxy in system.proxies.values()), "naming an undo creates nothing"
    fault.inject(system)
    hit = {edge.name: proxy.toxics for edge, proxy in system.proxies.items() if proxy.toxics}
    assert set(hit) == {"orders->payments.1", "orders->payments.2"}
    for toxics in hit.values():
        [(name, toxic)] = toxics.items()
        assert name in named
        assert toxic["type"] == "latency"
        assert toxic["stream"] == "downstream"
        assert toxic["toxicity"] == 0.5
        assert toxic["attributes"] == {"latency": 200, "jitter": 20}


def test_names_of_toxics_are_the_same_on_every_call_and_another_run_has_others(tmp_path: Path) -> None:
    here, there = FakeSystem(folder=tmp_path / "a"), FakeSystem(folder=tmp_path / "b")
    assert latency().undo(here) == latency().undo(here)
    assert latency().undo(here) != latency().undo(there)
    assert latency(id="a b").undo(here) != latency(id="a-b").undo(here)


def test_both_ways_are_two_toxics_of_different_names(tmp_path: Path) -> None:
    system = FakeSystem(folder=tmp_path)
    latency(way="both", on="orders->payments.1").inject(system)
    [toxics] = [proxy.toxics for proxy in system.proxies.values() if proxy.toxics]
    assert sorted(str(toxic["stream"]) for toxic in toxics.values()) == ["downstream", "upstream"]


@pytest.mark.parametrize(
    "fields",
    [
        {"add": "0s"},
        {"add": "100us"},
        {"add": "+0%"},
        {"add": "50%"},
        {"add": 50},
        {"add": "10ms", "jitter": "20ms"},
        {"share": "0%"},
        {"share": "130%"},
        {"way": "sideways"},
        {"speed": 1},
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        latency(**fields)


# -------------------------------------------------------------------------------------------------------- relative


def test_a_share_of_the_baseline_becomes_seconds_for_each_edge_from_its_own_calls() -> None:
    history = (
        HistoryBuilder()
        .calls("orders->payments.1", rate=20, took=0.1)
        .calls("orders->payments.2", rate=20, took=0.2)
        .build()
    )
    fault = latency(add="+50%").resolve(history.during("baseline"))
    [one], [two] = (fault.toxics(edge) for edge in history.topology.select_edges(EDGE))  # type: ignore[attr-defined]
    assert one.attributes["latency"] == pytest.approx(50, abs=2)
    assert two.attributes["latency"] == pytest.approx(100, abs=4)
    assert re.fullmatch(r"latency \+(49|5.) ms to \+(9.|10.) ms \(\+50%\)", fault.says())


def test_an_absolute_one_is_left_as_it_is() -> None:
    fault = latency(add="+200ms")
    assert fault.resolve(usual().build()) is fault
    assert fault.says() == "latency +200 ms"


def test_a_share_smaller_than_the_spread_of_the_baseline_does_not_go_in() -> None:
    history = usual(took=0.1, spread=0.5).build()
    with pytest.raises(CouldNotTell, match=r"less than the spread .* It would take \+[0-9]+% or more"):
        latency(add="+10%").resolve(history)


def test_a_share_of_calls_that_were_hardly_seen_does_not_go_in() -> None:
    history = HistoryBuilder().calls(EDGE, rate=1, took=0.1).build()
    with pytest.raises(CouldNotTell, match="only 6 of its calls ended in baseline"):
        latency(add="+50%").resolve(history)


def test_a_share_that_comes_to_less_than_a_millisecond_does_not_go_in() -> None:
    history = HistoryBuilder().calls(EDGE, rate=40, took=0.0003, spread=0.0).build()
    with pytest.raises(CouldNotTell, match="whole milliseconds"):
        latency(add="+50%").resolve(history)


# ---------------------------------------------------------------------------------------------------------- traces


def bit(trace: Trace) -> bool:
    assert trace.because
    return trace.bit


def test_it_bit_where_calls_took_that_much_longer() -> None:
    history = usual().calls(EDGE, "fault", rate=40, took=0.15).build()
    trace = latency().trace(history)
    assert bit(trace)
    assert "calls crossed the delayed edge orders->payments; they took" in trace.because
    assert trace.evidence == ((8.0, 18.0),)


def test_it_bit_where_a_share_of_the_baseline_was_added_also_when_judged_again_from_disk() -> None:
    history = usual().calls(EDGE, "fault", rate=40, took=0.15).build()
    assert bit(latency(add="+50%").trace(history))
    assert bit(latency(add="+50%").resolve(history.during("baseline")).trace(history))  # type: ignore[arg-type]


def test_it_bit_where_only_counts_were_kept() -> None:
    assert bit(latency().trace(usual().calls(EDGE, "fault", rate=40, took=0.15).counts_only().build()))


def test_it_bit_where_callers_gave_up_before_the_answer_came() -> None:
    history = usual().calls(EDGE, "fault", rate=10, took=0.5, failures={"abandoned": 1.0}).build()
    trace = latency(add="2s").trace(history)
    assert bit(trace)
    assert "given up by the caller after" in trace.because


def test_it_bit_where_a_breaker_opened_after_a_few_calls() -> None:
    builder = usual().calls(EDGE, "fault", rate=0, took=0.1)
    for number in range(5):
        builder.call("orders->payments.1", 8.1 + number / 10, 0.5, outcome="abandoned", status=None)
    assert bit(latency(add="2s").trace(builder.build()))


def test_it_bit_where_a_share_of_the_connections_was_delayed() -> None:
    builder = usual().calls(EDGE, "fault", rate=40, took=0.1)
    builder.calls("orders->payments.1", "fault", rate=12, took=0.15, path="/other")
    assert bit(latency(share="30%").trace(builder.build()))


def test_it_did_not_bite_where_calls_took_as_long_as_before() -> None:
    trace = latency().trace(usual().build())
    assert not bit(trace)
    assert "did not take as much longer" in trace.because


def test_it_did_not_bite_where_only_a_few_calls_were_slow() -> None:
    builder = usual()
    for number in range(20):
        builder.call("orders->payments.1", 8.5 + number / 10, 0.15)
    assert not bit(latency().trace(builder.build()))


def test_it_did_not_bite_where_calls_got_slower_by_less_than_was_added() -> None:
    assert not bit(latency(add="100ms").trace(usual().calls(EDGE, "fault", rate=40, took=0.15).build()))


def test_it_did_not_bite_where_nothing_crosses_the_edge() -> None:
    trace = latency().trace(HistoryBuilder().fault("latency", on=EDGE).build())
    assert not bit(trace)
    assert "nothing in the load leads there" in trace.because


def test_it_did_not_bite_where_the_caller_had_stopped_calling() -> None:
    trace = latency().trace(usual().calls(EDGE, (7.5, 18.0), rate=0, took=0.1).build())
    assert not bit(trace)
    assert "stopped calling" in trace.because


def test_it_did_not_bite_where_one_of_two_places_saw_nothing() -> None:
    history = usual().calls(EDGE, "fault", rate=40, took=0.15).build()
    both = latency(on=(EDGE, "inventory->redis"))
    trace = both.trace(history)
    assert not bit(trace)
    assert "no call crossed inventory->redis" in trace.because


def test_it_did_not_bite_where_no_connection_was_picked() -> None:
    trace = latency(share="10%").trace(usual().build())
    assert not bit(trace)
    assert "10% of its connections were to be delayed" in trace.because


def test_it_did_not_bite_where_there_is_no_baseline_to_compare_with() -> None:
    history = HistoryBuilder().calls(EDGE, "fault", rate=40, took=0.15).fault("latency", on=EDGE).build()
    trace = latency().trace(history)
    assert not bit(trace)
    assert "no call in baseline" in trace.because


def test_it_did_not_bite_where_it_was_never_put_in() -> None:
    history = HistoryBuilder().calls(EDGE, rate=40).fault("latency", on=EDGE, injected=False).build()
    assert not bit(latency().trace(history))


def jittered(spread: float) -> History:
    return (
        HistoryBuilder()
        .calls(EDGE, rate=40, took=0.1, spread=0.02)
        .calls(EDGE, "fault", rate=40, took=lambda at: 0.1 + spread * ((at * 7.31) % 1.0), spread=0.02)
        .fault("jitter", on=EDGE)
        .build()
    )


def test_jitter_bites_where_calls_are_spread_and_does_not_where_they_are_not() -> None:
    jitter = Jitter(id="jitter", on=EDGE, by="100ms")
    assert bit(jitter.trace(jittered(0.1)))
    assert not bit(jitter.trace(jittered(0.0)))


def test_jitter_is_between_nothing_and_its_most() -> None:
    [toxic] = Jitter(id="jitter", on=EDGE, by="100ms").toxics(FakeSystem().topology.edges[0])
    assert toxic.attributes == {"latency": 50, "jitter": 50}


def test_bandwidth_bites_where_answers_wait_and_says_how_little_they_are_where_not() -> None:
    builder = HistoryBuilder().calls(EDGE, rate=20, took=0.01).fault("bandwidth", on=EDGE)
    fault = Bandwidth(id="bandwidth", on=EDGE, rate="1KB/s")
    trace = fault.trace(builder.build())
    assert not bit(trace)
    assert "half of them move 300 B or less" in trace.because
    assert bit(fault.trace(builder.calls(EDGE, "fault", rate=20, took=0.3).build()))


def test_bandwidth_is_in_bytes_per_second_with_a_unit() -> None:
    edge = FakeSystem().topology.edges[0]
    [toxic] = Bandwidth(on=EDGE, rate="64KB/s").toxics(edge)
    assert (toxic.type, toxic.attributes) == ("bandwidth", {"rate": 64})
    for wrong in ("64", "64KB", "64/s", 0, "10B/s"):
        with pytest.raises(ValidationError):
            Bandwidth(on=EDGE, rate=wrong)


@pytest.mark.parametrize(
    ("rate", "kb"), [("1KB/s", 1), ("1KiB/s", 1), ("64KiB/s", 66), ("2.9KB/s", 3), ("10.4KB/s", 10), ("1MB/s", 1000)]
)
def test_bandwidth_is_what_it_says_in_whole_kb(rate: str, kb: int) -> None:
    fault = Bandwidth(on="orders->inventory", rate=rate)
    [toxic] = fault.toxics(FakeSystem().topology.edges[0])
    assert toxic.attributes == {"rate": kb}
    assert fault.says() == f"bandwidth {size_text(kb * 1000)}/s" and fault.rate == kb * 1000


@pytest.mark.parametrize(("rate", "instead"), [("1.9KB/s", "1KB/s or 2KB/s"), ("2.5KB/s", "2KB/s or 3KB/s")])
def test_a_bandwidth_that_is_far_from_whole_kb_is_refused(rate: str, instead: str) -> None:
    with pytest.raises(ValidationError, match=instead):
        Bandwidth(on="orders->inventory", rate=rate)
