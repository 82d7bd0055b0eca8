"""Lanes below the charts: faults, health checks, breakers, closed listeners and events on the run's clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from chaoskit.model.answers import stretches_of
from chaoskit.model.breaker_lane import BreakerLane
from chaoskit.model.history import FaultSpan, Span
from chaoskit.model.observation import SLOT, Event, ProbeResult, TapSlot
from chaoskit.model.units import duration_text

__all__ = [
    "Lane",
    "Segment",
    "breaker_lanes",
    "event_lane",
    "fault_lanes",
    "health_lanes",
    "listener_lanes",
]

MOST_SEGMENTS = 400
MOST_EVENTS = 200
MOST_HEALTH = 40

_QUIET = frozenset({"phase", "say"})
"""Events that the page tells otherwise."""


@dataclass(frozen=True)
class Segment:
    """One piece of a lane. `look` is a class: ok · bad · unknown · open · half_open · closed · fault · event."""

    start: float
    end: float
    look: str
    label: str = ""
    title: str = ""


@dataclass(frozen=True)
class Lane:
    """`kind` groups lanes: fault · health · breaker · listener · events."""

    kind: str
    label: str
    segments: tuple[Segment, ...]
    says: str


def fault_lanes(faults: Sequence[FaultSpan]) -> list[Lane]:
    """One for each fault instance: from its injection to its undo."""
    lanes = []
    for fault in faults:
        what = f"{', '.join(fault.on)}: {fault.says or fault.kind}"
        active = fault.active
        if active is None:
            segment = Segment(*fault.planned, "unknown", "never injected", f"{what}, planned but never injected")
            lanes.append(Lane("fault", what, (segment,), f"{what}, never injected"))
            continue
        said = f"{what}, from {active[0]:.2f} s to {active[1]:.2f} s"
        if fault.undone is None:
            said += " (its undo was not seen)"
        lanes.append(Lane("fault", what, (Segment(*active, "fault", fault.says or fault.kind, said),), said))
    return lanes


def health_lanes(results: Mapping[str, Sequence[ProbeResult]]) -> list[Lane]:
    """One for each health check: where it said yes, where no, and where nobody asked (nothing is drawn there)."""
    lanes = []
    for name, answers in list(results.items())[:MOST_HEALTH]:
        segments = _answers(answers)
        bad = [segment for segment in segments if segment.look == "bad"]
        seconds = sum(segment.end - segment.start for segment in bad)
        said = f"{name} said no for {duration_text(seconds)}" if bad else f"{name} always said yes"
        if bad:
            said += f", first at {bad[0].start:.1f} s"
        silent = sum(later.start - one.end for one, later in pairwise(segments))
        if silent > SLOT:
            said += f"; nobody asked for {duration_text(silent)}"
        lanes.append(Lane("health", name, tuple(segments[:MOST_SEGMENTS]), said))
    return lanes


def _answers(answers: Sequence[ProbeResult]) -> list[Segment]:
    found = []
    for start, end, first in stretches_of(answers):
        why = first.because or (f"status {first.status}" if first.status is not None else "no answer")
        look, label, title = ("ok", "", f"yes: {why}") if first.ok else ("bad", why, f"no: {why}")
        found.append(Segment(start, end, look, label, title))
    return found


def breaker_lanes(lanes: Sequence[BreakerLane]) -> list[Lane]:
    """One for each breaker that was seen to open, or that says what it does."""
    found = []
    for lane in lanes:
        segments = []
        for span in lane.spans:
            word = span.state.replace("_", "-")
            title = f"{word} from {span.start:.2f} s to {span.end:.2f} s, {span.calls} calls crossed"
            segments.append(Segment(span.start, span.end, span.state, "" if span.state == "closed" else word, title))
        opened = lane.in_state("open")
        said = f"the breaker of {lane.edge} " + (
            f"opened at {opened[0].start:.1f} s" + (f", {len(opened)} times in all" if len(opened) > 1 else "")
            if opened
            else "never opened"
        )
        found.append(Lane("breaker", lane.edge, tuple(segments[:MOST_SEGMENTS]), said))
    return found


def listener_lanes(slots: Mapping[str, Sequence[TapSlot]], shown: Span) -> list[Lane]:
    """One for each edge whose listener was closed for a while in the seconds `shown`: what callers tried is unknown."""
    lanes = []
    for edge, seen in slots.items():
        spans: list[Span] = []
        for slot in seen:
            if slot.listening or not shown[0] <= slot.at < shown[1]:
                continue
            if spans and slot.at - spans[-1][1] < 0.15:
                spans[-1] = (spans[-1][0], slot.at + 0.1)
            else:
                spans.append((slot.at, slot.at + 0.1))
        if spans:
            title = "the listener was closed: what callers tried is unknown"
            segments = tuple(Segment(*span, "unknown", "closed: unknown", title) for span in spans[:MOST_SEGMENTS])
            lanes.append(Lane("listener", edge, segments, f"{edge}: {title}"))
    return lanes


def event_lane(events: Sequence[Event]) -> list[Lane]:
    """All that happened once, as one lane of points; none where nothing did."""
    told = [event for event in events if event.kind not in _QUIET]
    if not told:
        return []
    points = [
        Segment(event.at, event.at, "event", "", f"{event.at:.2f} s · {event.kind}: {event.text}")
        for event in told[:MOST_EVENTS]
    ]
    left = len(told) - len(points)
    more = f" ({left:,} more are in the history)" if left else ""
    return [Lane("events", "events", tuple(points), f"{len(told)} events{more}")]
