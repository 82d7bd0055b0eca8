"""Recording: nothing lost, nothing twice, merging is union, quantiles within 1% of the raw ones."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.load.recording import Recorder
from chaoskit.model.histogram import Histogram, bucket_of
from chaoskit.model.load_view import LoadView
from chaoskit.model.observation import LoadSlot, slot_start

requests = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.floats(1000, 1003),
        st.floats(0, 0.5),
        st.floats(1e-5, 60.0),
        st.sampled_from([0, 200, 503]),
    ),
    max_size=200,
)


def recorded(*parts: list[tuple[str, float, float, float, int]]) -> list[LoadSlot]:
    slots = []
    for number, part in enumerate(parts, start=1):
        recorder = Recorder(f"worker.{number}")
        for index, (name, planned, lag, took, status) in enumerate(part):
            cause = "" if status == 200 else f"status {status}" if status else "timeout"
            recorder.ended(name, planned, planned + lag, planned + lag + took, status, cause, 10, 5)
            if index % 7 == 0:
                slots += recorder.flush()
        slots += recorder.flush()
    return slots


@given(requests)
@settings(max_examples=80, deadline=None)
def test_every_request_is_in_exactly_one_slot(some: list[tuple[str, float, float, float, int]]) -> None:
    slots = recorded(some)
    assert sum(slot.ok + slot.failed for slot in slots) == len(some)
    for of in ("response", "service"):
        held = sum(Histogram.from_bytes(getattr(slot, of)).total for slot in slots)
        held += sum(Histogram.from_bytes(getattr(slot, f"{of}_failed")).total for slot in slots)
        assert held == len(some)
    where = Counter((slot.name, slot.at, slot.ended) for slot in slots for _ in range(slot.ok + slot.failed))
    expected = Counter((n, slot_start(p), slot_start(p + lag + took)) for n, p, lag, took, _ in some)
    assert where == expected


@given(requests, requests)
@settings(max_examples=80, deadline=None)
def test_merging_workers_is_the_union(
    one: list[tuple[str, float, float, float, int]], two: list[tuple[str, float, float, float, int]]
) -> None:
    def counts(slots: list[LoadSlot]) -> dict[str, object]:
        view = LoadView([(slot.at, slot) for slot in slots], ())
        histograms = {
            of: Histogram.merged(getattr(slot, of) for slot in slots).counts
            for of in ("response", "response_failed", "service", "service_failed", "send_lag")
        }
        return {**histograms, "ok": view.ok, "causes": view.causes, "statuses": view.statuses}

    assert counts(recorded(one, two)) == counts(recorded(one + two))


@given(st.lists(st.floats(1e-5, 60.0), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
@settings(max_examples=200, deadline=None)
def test_quantiles_are_within_one_percent_of_the_raw_ones(took: list[float], q: float) -> None:
    slots = recorded([("a", 1000.0, 0.0, each, 200) for each in took])
    measured = LoadView([(slot.at, slot) for slot in slots], ()).percentile(q)
    raw = sorted((1000.0 + each) - 1000.0 for each in took)[max(1, math.ceil(q * len(took) - 1e-9)) - 1]
    assert measured == pytest.approx(raw, rel=0.01)


def test_a_stalled_server_is_seen_in_full() -> None:
    """Everything held for 2 s of 10 at 100/s."""
    planned = [number / 100 for number in range(1000)]
    took = [6.0 - at if 4.0 <= at < 6.0 else 0.001 for at in planned]
    slots = recorded([("a", 1000.0 + at, 0.0, each, 200) for at, each in zip(planned, took, strict=True)])
    view = LoadView([(slot.at, slot) for slot in slots], ())
    assert view.percentile(0.95) == pytest.approx(1.5, rel=0.01)
    assert view.percentile(0.99) == pytest.approx(1.9, rel=0.01)


@given(st.floats(0, 10_000))
def test_buckets_are_those_of_the_model(seconds: float) -> None:
    recorder = Recorder("worker.1")
    recorder.ended("a", 1.0, 1.0, 1.0 + seconds, 200, "", 0, 0)
    (slot,) = recorder.flush()
    (bucket,) = Histogram.from_bytes(slot.response).counts
    assert bucket == bucket_of((1.0 + seconds) - 1.0)


def test_dropped_and_unfinished_are_told_apart() -> None:
    recorder = Recorder("worker.1")
    recorder.dropped("a", 10.01, below_cap=False)
    recorder.dropped("a", 10.02, below_cap=True)
    recorder.unfinished("a", 10.03, 10.04)
    dropped, unfinished = sorted(recorder.flush(), key=lambda slot: slot.unfinished)
    assert (dropped.dropped, dropped.dropped_below_cap, dropped.ended) == (2, 1, 10.0)
    assert (unfinished.unfinished, unfinished.ended) == (1, None)
    assert Histogram.from_bytes(unfinished.send_lag).quantile(0.5) == pytest.approx(0.01, rel=0.01)
    assert recorder.flush() == []


def test_causes_that_a_target_invents_cost_no_memory() -> None:
    recorder = Recorder("worker.1")
    for number in range(1000):
        recorder.ended("a", 1.0, 1.0, 1.1, 0, f"cause {number}", 0, 0)
    (slot,) = recorder.flush()
    assert len(slot.causes) <= 101
    assert sum(slot.causes.values()) == 1000
