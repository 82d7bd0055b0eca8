"""The state of a circuit breaker over time, as a black box: from the calls that cross its edge, and from its metric.

    demand    calls that come into the caller ─┐
                                               ├─► expected on the edge = demand × (edge ÷ demand in baseline)
    crossing  calls that cross the edge ───────┘
    open      at least EXPECTED calls were due, a slot was free (an earlier call had ended), the caller went on
              answering, and none crossed, for at least SHORTEST seconds
    half-open from the first call after that until the first of those calls has ended: the trial
    unknown   the listener was closed (what was tried then is not seen), or nothing was due for QUIET seconds
    closed    otherwise

What it cannot tell from a breaker: a caller that stops before it comes to the call (another dependency fails first).
Calls of health checks are left out on both sides.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple
from weakref import WeakKeyDictionary

import msgspec

from chaoskit.model.history import History, Phase, Span
from chaoskit.model.observation import SLOT, TapSlot
from chaoskit.model.topology import LOAD, Edge

__all__ = ["BreakerLane", "BreakerSpan", "Crossings", "breaker_lane", "breaker_lanes", "crossings", "demand_on"]

EXPECTED = 5.0
"""Calls that must have been due before their absence says anything (none of 5 is less than 1% likely by chance)."""
SHORTEST = 0.3
QUIET = 2.0
ANSWERING = 0.3
"""Share of its own calls that the caller must go on answering: one that stands still has no breaker open."""


class BreakerSpan(msgspec.Struct, frozen=True):
    """One state for a while. `calls` crossed the edge in it."""

    start: float
    end: float
    state: str
    """closed · open · half_open · unknown."""
    calls: int = 0


class BreakerLane(msgspec.Struct, frozen=True):
    """The breaker of one caller towards one callee, over the whole run."""

    edge: str
    """`orders->payments` or `orders->payments.1`."""
    caller: str
    """The caller's replica."""
    seen: tuple[BreakerSpan, ...]
    """What the tap shows."""
    said: tuple[BreakerSpan, ...] = ()
    """What the caller's metric says; empty where it has none."""
    exact: bool = True
    """Whether the tap kept every call; else a trial may seem larger than it was (it is seen by slots)."""

    @property
    def spans(self) -> tuple[BreakerSpan, ...]:
        """What to draw: the tap's, and the metric's where the tap does not know."""
        found: list[BreakerSpan] = []
        for span in self.seen:
            inside = [
                BreakerSpan(max(one.start, span.start), min(one.end, span.end), one.state)
                for one in self.said
                if span.state == "unknown" and one.start < span.end and one.end > span.start
            ]
            found += inside or [span]
        return tuple(found)

    def seen_at(self, at: float) -> str:
        """The state that the tap shows."""
        return next((span.state for span in self.seen if span.start <= at < span.end), "unknown")

    def said_at(self, at: float) -> str:
        """The state that the metric told last; unknown before it told any."""
        return next((span.state for span in self.said if span.start <= at < span.end), "unknown")

    def in_state(self, state: str) -> list[BreakerSpan]:
        return [span for span in self.spans if span.state == state]


class _Counted(NamedTuple):
    """Things that happened: instants, ascending, and how many there were before each and in all."""

    at: list[float]
    before: list[int]

    def between(self, start: float, end: float) -> int:
        """How many in [start, end)."""
        return self.until(end) - self.until(start)

    def until(self, instant: float) -> int:
        return self.before[bisect_left(self.at, instant)]


@dataclass(frozen=True, slots=True)
class Crossings:
    """Calls over some edges, by time: exact where the tap kept each of them (health checks left out), else by slot."""

    started: _Counted
    ended: _Counted
    answered: _Counted
    calls: list[tuple[float, float]]
    """(start, end) of each call, ascending, where exact; an end is inf where nothing ended it."""
    closed: list[Span]
    """When the listener was closed."""
    exact: bool

    def first_end_of(self, since: float, last: float) -> float:
        """When the first of the calls that start from `since` on is over (at most `last`)."""
        if not self.exact:
            place = bisect_right(self.ended.at, since)
            return min(self.ended.at[place] + SLOT, last) if place < len(self.ended.at) else last
        ended = last
        for start, end in self.calls[bisect_left(self.calls, (since, 0.0)) :]:
            if start >= ended:
                break
            ended = min(ended, end)
        return ended


_KEPT: WeakKeyDictionary[History, dict[tuple[str, ...], Crossings]] = WeakKeyDictionary()


def breaker_lanes(history: History) -> list[BreakerLane]:
    """Lanes worth drawing: of every caller and callee where a breaker was seen to open or says what it does."""
    pairs = dict.fromkeys((edge.caller, edge.called_service) for edge in history.topology.edges if edge.caller != LOAD)
    found = []
    for caller, callee in pairs:
        lane = breaker_lane(history, f"{caller}->{callee}", caller)
        if lane.said or any(span.state in ("open", "half_open") for span in lane.seen):
            found.append(lane)
    return found


def breaker_lane(history: History, edge: str, caller: str = "") -> BreakerLane:
    """The lane of one edge (all the callee's replicas together for `orders->payments`), as `caller` (a replica; the
    edge's first caller by default) sees it."""
    edges = history.topology.select_edges(edge)
    caller = caller or edges[0].caller
    edges = [one for one in edges if one.caller == caller]
    whole = history.view_spans[0] if history.view_spans else (0.0, 0.0)
    crossing, demand = crossings(history, edges), demand_on(history, caller)
    ratio = _ratio(history, crossing, demand)
    if ratio is None:
        seen = [BreakerSpan(*whole, "unknown")]
    else:
        seen = _numbered(_with_unknown(_states(crossing, demand, ratio, whole), crossing, demand), crossing)
    return BreakerLane(
        edge=edge, caller=caller, seen=tuple(seen), said=tuple(_said(history, edge, edges, whole)), exact=crossing.exact
    )


def demand_on(history: History, caller: str) -> Crossings:
    """Calls that come into one replica, over all edges to it."""
    return crossings(history, [edge for edge in history.topology.edges if edge.callee == caller])


def crossings(history: History, edges: Sequence[Edge]) -> Crossings:
    """Calls over these edges in the history's view (kept with it: several judges ask for the same)."""
    kept = _KEPT.setdefault(history, {})
    names = tuple(edge.name for edge in edges)
    if names not in kept:
        kept[names] = _crossings(history, edges)
    return kept[names]


def _crossings(history: History, edges: Sequence[Edge]) -> Crossings:
    views = [history.tap(edge.name) for edge in edges]
    checks = {
        path
        for edge in edges
        for service in history.topology.services
        if service.name == edge.called_service
        for path in (service.ready, service.live, service.metrics)
        if path
    }
    exact = not any(view.left_out for view in views)
    closed = sorted((slot.at, slot.at + SLOT) for view in views for slot in view.closed_listener)
    if exact:
        calls = [call for view in views for call in view.calls if call.path.partition("?")[0] not in checks]
        over = [call.end for call in calls if call.end is not None]
        good = [call.end for call in calls if call.end is not None and call.outcome == "answered"]
        pairs = sorted((call.start, math.inf if call.end is None else call.end) for call in calls)
        begun = [start for start, _ in pairs]
        return Crossings(_one_each(begun), _one_each(over), _one_each(good), pairs, closed, exact)
    slots = sorted((slot for view in views for slot in view.slots), key=lambda slot: slot.at)
    started, ended, answered = (
        _counted([(slot.at, number) for slot in slots if (number := count(slot))])
        for count in (_started, _ended, _answered)
    )
    return Crossings(started, ended, answered, [], closed, exact)


def _started(slot: TapSlot) -> int:
    return slot.started


def _ended(slot: TapSlot) -> int:
    return slot.ended


def _answered(slot: TapSlot) -> int:
    return slot.outcomes.get("answered", 0)


def _one_each(instants: Sequence[float]) -> _Counted:
    return _Counted(sorted(instants), list(range(len(instants) + 1)))


def _counted(numbers: Sequence[tuple[float, int]]) -> _Counted:
    return _Counted([at for at, _ in numbers], list(accumulate((number for _, number in numbers), initial=0)))


def _ratio(history: History, crossing: Crossings, demand: Crossings) -> float | None:
    """Calls on the edge for each call into the caller in baseline; None where that cannot be known."""
    spans = history.windows.get(Phase.BASELINE) or history.windows.get(Phase.LOAD, [])
    due = sum(demand.started.between(start, end) for start, end in spans)
    crossed = sum(crossing.started.between(start, end) for start, end in spans)
    return crossed / due if due and crossed >= EXPECTED else None


def _states(crossing: Crossings, demand: Crossings, ratio: float, whole: Span) -> list[BreakerSpan]:
    """Closed, open and half-open, from the gaps between calls."""
    width = 0.0 if crossing.exact else SLOT
    times = [at for at in crossing.started.at if whole[0] <= at < whole[1]]
    found: list[BreakerSpan] = []
    closed_from = whole[0]
    for at, after in zip([whole[0], *times], [*times, whole[1]], strict=True):
        gap = _open_part(crossing, demand, ratio, (at if at == whole[0] else at + width, after))
        if gap is None:
            continue
        if gap[0] > closed_from:
            found.append(BreakerSpan(closed_from, gap[0], "closed"))
        elif found and found[-1].end > gap[0]:  # by slots, a trial seems to last a little longer than it did
            found[-1] = BreakerSpan(found[-1].start, gap[0], found[-1].state)
        found.append(BreakerSpan(*gap, "open"))
        closed_from = gap[1]
        if gap[1] < whole[1]:
            closed_from = max(crossing.first_end_of(gap[1], whole[1]), min(gap[1] + width, whole[1]))
            found.append(BreakerSpan(gap[1], closed_from, "half_open"))
    if closed_from < whole[1]:
        # After a trial the end may come too soon to call it open: no call that was due has crossed since.
        due = demand.started.between(closed_from, whole[1])
        tried = bool(found) and due and not crossing.started.between(closed_from, whole[1])
        found.append(BreakerSpan(closed_from, whole[1], "open" if tried else "closed"))
    return found


def _open_part(crossing: Crossings, demand: Crossings, ratio: float, gap: Span) -> Span | None:
    """The part of a gap without calls in which calls were due and could have crossed."""
    start, end = gap
    if end - start < SHORTEST or ratio * demand.started.between(start, end) < EXPECTED:
        return None
    if crossing.started.until(start + 1e-9) > crossing.ended.until(start + 1e-9):
        # All slots of a bulkhead may be taken: only once a call has ended could another have gone out.
        freed = bisect_right(crossing.ended.at, start + 1e-9)
        if freed >= len(crossing.ended.at) or crossing.ended.at[freed] >= end:
            return None
        start = crossing.ended.at[freed]
    due = demand.started.between(start, end)
    answering = demand.answered.between(start, end) >= ANSWERING * due
    return (start, end) if end - start >= SHORTEST and ratio * due >= EXPECTED and answering else None


def _with_unknown(spans: Sequence[BreakerSpan], crossing: Crossings, demand: Crossings) -> list[BreakerSpan]:
    """The same with the times in which nothing could be seen."""
    dark = list(crossing.closed)
    times = [spans[0].start, *demand.started.at, spans[-1].end] if spans else []
    dark += [(at, after) for at, after in pairwise(times) if after - at >= QUIET]
    for start, end in _joined(dark):
        spans = [piece for span in spans for piece in _cut(span, start, end)]
        spans = sorted([*spans, BreakerSpan(start, end, "unknown")], key=lambda span: span.start)
    return list(spans)


def _joined(spans: Sequence[Span]) -> list[Span]:
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1] + 1e-6:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _cut(span: BreakerSpan, start: float, end: float) -> list[BreakerSpan]:
    if span.end <= start or span.start >= end:
        return [span]
    kept = [(span.start, min(start, span.end)), (max(end, span.start), span.end)]
    return [BreakerSpan(*part, span.state) for part in kept if part[1] - part[0] > 1e-6]


def _numbered(spans: Sequence[BreakerSpan], crossing: Crossings) -> list[BreakerSpan]:
    return [BreakerSpan(s.start, s.end, s.state, crossing.started.between(s.start, s.end)) for s in spans]


def _said(history: History, edge: str, edges: Sequence[Edge], whole: Span) -> list[BreakerSpan]:
    """States that the caller's metric told, each until the next."""
    names = {edge, *(one.name for one in edges), *(f"{one.caller}->{one.called_service}" for one in edges)}
    if len(edges) > 1 or "." not in edge.partition("->")[2]:
        names -= {one.name for one in edges if one.callee != one.called_service}
    changes = [change for change in history.breaker_changes() if change.edge in names]
    ends = [*(change.at for change in changes[1:]), whole[1]][: len(changes)]
    return [BreakerSpan(c.at, end, c.state) for c, end in zip(changes, ends, strict=True) if end > c.at]
