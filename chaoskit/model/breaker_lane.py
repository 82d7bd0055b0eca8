"""The state of a circuit breaker over time, as a black box: from the calls that cross its edge, and from its metric.

    demand    calls that come into the caller ─┐
                                               ├─► expected on the edge = demand × (edge ÷ demand in baseline)
    crossing  calls that cross the edge ───────┘
    open      for at least SHORTEST seconds no call crossed, a slot was free (an earlier call had ended, or at least
              twice as many had been out at once before), and the caller answered so many requests that chance hardly
              kept all their calls away (once in a thousand runs)
    half-open from the first call after that until the first of those calls has ended: the trial
    unknown   the listener was closed (what was tried then is not seen), and on until it shows: a first call may be a
              trial or not, and a gap that is too short without the part that nobody saw says nothing; or nothing was
              due for QUIET seconds
    closed    otherwise

What it cannot tell from a breaker: a caller that stops before it comes to the call (another dependency fails first).
Calls of health checks are left out on both sides. A call that nobody ends is over with the request that it served,
where their trace ids say which that was.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from chaoskit.model.crossings import Crossings, crossings, demand_on
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.observation import SLOT
from chaoskit.model.spans import merged, within
from chaoskit.model.topology import LOAD, Edge

__all__ = ["EXPECTED", "BreakerLane", "BreakerSpan", "breaker_lane", "breaker_lanes", "hidden"]

EXPECTED = 5.0
"""Calls that must at least have been due before their absence says anything."""
_BY_CHANCE = 0.001
"""How likely a gap in a whole run may be that chance alone makes."""
_LIKELIEST = 0.9
"""Most that is believed of how likely a request leads to a call: nothing is certain."""
SHORTEST = 0.3
"""Seconds that a gap lasts at least. By slots three times that: they do not tell whose answers come in it."""
QUIET = 2.0
_HIDES = 1.5
"""Seconds that nobody saw in which a breaker may open and close again: few stay open for less."""


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
            until = span.start
            for one in self.said if span.state == "unknown" else ():
                if one.start >= span.end or one.end <= span.start:
                    continue
                if one.start > until:
                    found.append(BreakerSpan(until, one.start, "unknown"))
                found.append(BreakerSpan(max(one.start, span.start), min(one.end, span.end), one.state))
                until = found[-1].end
            if until < span.end:
                found.append(BreakerSpan(until, span.end, "unknown") if until > span.start else span)
        return tuple(found)

    def seen_at(self, at: float) -> str:
        """The state that the tap shows."""
        return next((span.state for span in self.seen if span.start <= at < span.end), "unknown")

    def said_at(self, at: float) -> str:
        """The state that the metric told last; unknown before it told any."""
        return next((span.state for span in self.said if span.start <= at < span.end), "unknown")

    def in_state(self, state: str) -> list[BreakerSpan]:
        return [span for span in self.spans if span.state == state]


def breaker_lanes(history: History) -> list[BreakerLane]:
    """Lanes worth drawing: of every caller and callee where a breaker was seen to open or says what it does."""
    pairs = dict.fromkeys((edge.caller, edge.called_service) for edge in history.topology.edges if edge.caller != LOAD)
    found = []
    for caller, callee in pairs:
        lane = breaker_lane(history, f"{caller}->{callee}", caller)
        if lane.said or any(span.state in ("open", "half_open") for span in lane.seen):
            found.append(lane)
    return found


def breaker_lane(history: History, edge: str, caller: str = "", of: str = "") -> BreakerLane:
    """The lane of one edge (all the callee's replicas together for `orders->payments`), as `caller` (a replica; the
    edge's first caller by default) sees it. `of` limits it to some calls, as in `crossings`."""
    edges = history.topology.select_edges(edge)
    caller = caller or edges[0].caller
    edges = [one for one in edges if one.caller == caller]
    whole = history.view_spans[0] if history.view_spans else (0.0, 0.0)
    demand = demand_on(history, caller)
    crossing = crossings(history, edges, of).given_up_with(demand)
    usual = _usual(history, crossing, demand)
    if usual is None:
        seen = [BreakerSpan(*whole, "unknown")]
    else:
        seen = _numbered(_with_unknown(_states(crossing, demand, usual, whole), crossing, demand), crossing)
    return BreakerLane(
        edge=edge, caller=caller, seen=tuple(seen), said=tuple(_said(history, edge, edges, whole)), exact=crossing.exact
    )


def hidden(history: History, lane: BreakerLane) -> tuple[Span, ...]:
    """Times in which the breaker may have opened and closed again without being seen or telling it. Where nobody asked,
    nothing was tried that could have been hidden."""
    asked = demand_on(history, lane.caller).started
    return tuple(
        (span.start, span.end)
        for span in lane.in_state("unknown")
        if span.end - span.start > _HIDES and asked.between(span.start, span.end) >= EXPECTED
    )


class _Usual(NamedTuple):
    """How calls follow from requests in baseline."""

    ratio: float
    """Calls on the edge for each call into the caller."""
    surprise: float
    """−ln of the chance that one request leads to no call."""
    needed: float
    """Surprise of a gap that hardly comes by chance in a whole run."""

    def says(self, due: int) -> bool:
        """Whether it says something that none of so many requests led to a call."""
        return self.ratio * due >= EXPECTED and self.surprise * due >= self.needed


def _usual(history: History, crossing: Crossings, demand: Crossings) -> _Usual | None:
    """None where that cannot be known: nothing crossed in baseline."""
    spans = history.windows.get(Phase.BASELINE) or history.windows.get(Phase.LOAD, [])
    due = sum(demand.started.between(start, end) for start, end in spans)
    crossed = sum(crossing.started.between(start, end) for start, end in spans)
    if not due or crossed < EXPECTED:
        return None
    chance = min(crossed / due, 1.0)
    called = set(crossing.traces)
    asked = [trace for (at, _), trace in zip(demand.calls, demand.traces, strict=False) if trace and within(at, spans)]
    if len(asked) > due / 2 and called.intersection(asked):
        chance = sum(trace in called for trace in asked) / len(asked)  # some requests call twice, others never
    needed = math.log(max(crossing.started.before[-1], 1) / _BY_CHANCE)
    return _Usual(crossed / due, -math.log(1.0 - min(chance, _LIKELIEST)), needed)


def _states(crossing: Crossings, demand: Crossings, usual: _Usual, whole: Span) -> list[BreakerSpan]:
    """Closed, open and half-open, from the gaps between calls; unknown where a closed listener leaves it open."""
    width = 0.0 if crossing.exact else SLOT
    dark = merged(crossing.closed)
    times = [at for at in crossing.started.at if whole[0] <= at < whole[1]]
    found = [BreakerSpan(whole[0], whole[0], "closed")]
    most = 0
    for at, after in zip([whole[0], *times], [*times, whole[1]], strict=True):
        most = max(most, crossing.in_flight(at))
        begun = at if at == whole[0] else at + width
        for start, end in _lit((begun, after), dark):
            gap = _open_part(crossing, demand, usual, (start, end), most)
            shown = start == begun  # else it follows on what nobody saw: it may have been open then, or not
            if not shown and (gap is None or gap[0] > start):
                _put(found, start, end if gap is None else gap[0], "unknown")
            if gap is not None:
                _put(found, *gap, "open")
            if end == after < whole[1] and (gap is not None or not shown):
                over = max(crossing.first_end_of(after, whole[1]), min(after + width, whole[1]))
                if gap is not None:
                    _put(found, after, over, "half_open")
                else:
                    _put(found, after, min(over, after + QUIET), "unknown")
    ended = found[-1]
    if ended.end < whole[1]:
        # After a trial the end may come too soon to call it open: no call that was due has crossed since.
        due = demand.started.between(ended.end, whole[1])
        tried = ended.state != "closed" and due and not crossing.started.between(ended.end, whole[1])
        last = "closed" if not tried else "unknown" if ended.state == "unknown" else "open"
        found.append(BreakerSpan(ended.end, whole[1], last))
    return [span for span in found if span.end > span.start]


def _lit(gap: Span, dark: Sequence[Span]) -> list[Span]:
    """The parts of a gap in which calls could have been seen; `dark` ascends."""
    start, end = gap
    parts: list[Span] = []
    for place in range(bisect_right(dark, start, key=_end), len(dark)):
        if dark[place][0] >= end:
            break
        if dark[place][0] > start:
            parts.append((start, dark[place][0]))
        start = dark[place][1]
    return [*parts, (start, end)] if start < end else parts


def _end(span: Span) -> float:
    return span[1]


def _put(found: list[BreakerSpan], start: float, end: float, state: str) -> None:
    """Append a state. Between it and the one before it was closed."""
    before = found[-1]
    if before.end > start:  # by slots, a trial seems to last a little longer than it did
        found[-1] = BreakerSpan(before.start, start, before.state)
    elif before.end < start:
        found.append(BreakerSpan(before.end, start, "closed"))
    if end > start:
        found.append(BreakerSpan(start, end, state))


def _open_part(crossing: Crossings, demand: Crossings, usual: _Usual, gap: Span, most: int) -> Span | None:
    """The part of a gap without calls in which calls were due and could have crossed. `most` have been out at once."""
    start, end = gap
    shortest = SHORTEST if crossing.exact and demand.exact else 3 * SHORTEST
    if end - start < shortest or not usual.says(demand.started.between(start, end)):
        return None
    starts = [start]
    if (out := crossing.in_flight(start)) > 0:
        # All slots of a bulkhead may be taken: only once a call has ended could another have gone out.
        freed = bisect_right(crossing.ended.at, start + 1e-9)
        starts = [crossing.ended.at[freed]] if freed < len(crossing.ended.at) else []
        if crossing.exact and 2 * out <= most:
            starts.append(start + SHORTEST)  # half of the slots were free: a trial hangs, whose end nobody sees
    for since in starts:
        # Only who asked and was answered in the gap shows that the caller did without: one that stands still shows
        # nothing.
        if end - since >= shortest and usual.says(demand.answered_of(since, end)):
            return since, end
    return None


def _with_unknown(spans: Sequence[BreakerSpan], crossing: Crossings, demand: Crossings) -> list[BreakerSpan]:
    """The same with the times in which nothing could be seen."""
    dark = list(crossing.closed)
    times = [spans[0].start, *demand.started.at, spans[-1].end] if spans else []
    dark += [(at, after) for at, after in pairwise(times) if after - at >= QUIET]
    dark += [(span.start, span.end) for span in spans if span.state == "unknown"]
    for start, end in merged(dark):
        spans = [piece for span in spans for piece in _cut(span, start, end)]
        spans = sorted([*spans, BreakerSpan(start, end, "unknown")], key=lambda span: span.start)
    return list(spans)


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
