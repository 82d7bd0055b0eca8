"""A run as it happens, line by line."""

from __future__ import annotations

import json

import pytest

from chaoskit.model.observation import LoadSlot
from chaoskit.model.verdict import Verdict
from chaoskit.reporters.stream import EventStream
from tests.reporters.runs import shop_history, shop_run


def arrival(seen):
    return seen.ended if isinstance(seen, LoadSlot) and seen.ended is not None else seen.at


@pytest.fixture(scope="module")
def lines():
    history = shop_history(broken=True)
    written: list[str] = []
    stream = EventStream(written.append, run=2)
    stream.begin(title="a title", experiment="x.yaml", variant=None, seed=7)
    # As a recorder tells them: requests when they have ended, not when they were planned.
    for seen in sorted(history.observations, key=arrival):
        stream(seen)
    stream.finish(shop_run(history, verdict=Verdict.REFUTED))
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in written)
    return [json.loads(line, parse_constant=pytest.fail) for line in written]


def of(lines, event):
    return [line for line in lines if line["event"] == event]


def test_it_begins_with_a_version_and_ends_with_the_verdict(lines):
    about = {"title": "a title", "experiment": "x.yaml", "variant": None, "seed": 7}
    assert lines[0] == {"event": "begin", "run": 2, "format_version": 1, **about}
    assert (lines[-1]["event"], lines[-1]["verdict"], lines[-1]["as_expected"]) == ("end", "refuted", True)
    assert {line["run"] for line in lines} == {2}


def test_every_second_is_told_once_and_in_order(lines):
    seconds = of(lines, "second")
    assert [line["at"] for line in seconds] == sorted({line["at"] for line in seconds})
    assert sum(line["succeeded"] + line["failed"] for line in seconds) == 1920


def test_a_second_in_which_too_many_failed_has_no_p95(lines):
    assert [line["p95"] for line in of(lines, "second") if line["at"] == 17] == [None]


def test_health_is_told_when_it_changes(lines):
    changes = [(line["at"], line["ok"]) for line in of(lines, "health") if line["name"] == "orders/ready"]
    assert changes == [(0.0, True), (11.5, False), (19.0, True)]


def test_phases_and_faults_are_told_when_they_happen(lines):
    assert [line["phase"] for line in of(lines, "phase")] == ["warmup", "baseline", "fault"]
    assert of(lines, "injected")[0]["text"] == "latency +50 ms on orders->payments"
    events = [line["event"] for line in lines]
    assert events.index("second") < events.index("injected") < events.index("undone") < events.index("gate")


def test_findings_say_why(lines):
    assert of(lines, "finding")[0]["because"].startswith("p95 of checkout was 2 s")
    assert len(of(lines, "gate")) == 6


def test_a_run_that_could_not_be_carried_out_ends_with_why():
    written: list[str] = []
    stream = EventStream(written.append)
    stream.begin(title="a title", experiment="x.yaml", variant=None, seed=7)
    stream.fail("gateway never got ready")
    assert json.loads(written[-1]) == {"event": "failed", "run": 1, "because": "gateway never got ready"}
