"""Who tells of a fault, and when: readiness, breakers, alerts."""

from __future__ import annotations

from chaoskit.hypotheses.words import seconds_text
from chaoskit.model.breaker_lane import BreakerLane, breaker_lane, breaker_lanes, hidden
from chaoskit.model.history import History, Span
from chaoskit.model.topology import LOAD

__all__ = ["may_have_noticed", "notices", "watched"]

_EARLY = 0.5
"""Seconds by which the last call before an opening may have been before the injection."""
_FIRING = 2.0
"""Value of the samples of an alert that fires, as the Prometheus probe writes them."""


def watched(history: History) -> bool:
    """Whether there was anybody who could have noticed a fault."""
    asked = any(name.endswith("/ready") for name in history.probe_names())
    told = any(change.state != "unknown" for change in history.breaker_changes())
    return asked or told or bool(history.metric("alert"))


def notices(history: History, start: float) -> list[tuple[float, str]]:
    """When each of those that can tell first told of trouble."""
    found = []
    for name in history.probe_names():
        replica, _, check = name.partition("/")
        if check == "ready":
            noes = [seen.at for seen in history.probe(name) if not seen.ok and seen.at >= start]
            found += [(noes[0], f"readiness of {replica}")] if noes else []
    for change in history.breaker_changes():
        if change.state == "open" and change.at >= start:
            found.append((change.at, f"the breaker on {change.edge}"))
    for lane in _lanes_with_faults(history):
        found += [(at, f"the breaker on {lane.edge}") for at in _openings(lane, start)]
    for point in history.metric("alert"):
        if point.value >= _FIRING and point.at >= start:
            found.append((point.at, f"the alert {point.labels.get('alert', '')}"))
    return found


def _lanes_with_faults(history: History) -> list[BreakerLane]:
    """Of all callers over the edges on which the faults are."""
    broken = {name for fault in history.faults for name in (*fault.edges, *fault.replicas)}
    pairs = dict.fromkeys(
        (edge.caller, edge.called_service)
        for edge in history.topology.edges
        if edge.caller != LOAD and broken & {edge.name, edge.callee}
    )
    return [breaker_lane(history, f"{caller}->{callee}", caller) for caller, callee in pairs]


def _openings(lane: BreakerLane, start: float) -> list[float]:
    """When it was seen to open. The last call before may have crossed just before the fault."""
    return [max(span.start, start) for span in lane.seen if span.state == "open" and span.start >= start - _EARLY]


def may_have_noticed(history: History, soon: Span) -> str:
    """Which breaker may have opened in this time, though none surely did; empty where none may."""
    with_faults = _lanes_with_faults(history)
    for lane in with_faults:
        if any(a < soon[1] and b > soon[0] for a, b in hidden(history, lane)):
            return f"the breaker on {lane.edge} could not be seen: its listener was closed"
    for lane in breaker_lanes(history):
        stopped = [at for at in _openings(lane, soon[0]) if at <= soon[1]]
        if stopped and lane.edge not in {one.edge for one in with_faults}:
            return f"calls over {lane.edge} stopped at {seconds_text(stopped[0])}, as if a breaker had opened"
    return ""
