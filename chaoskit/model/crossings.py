"""Calls over some edges, by time: what single calls and counts of slots say, in one form."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import NamedTuple
from weakref import WeakKeyDictionary

from chaoskit.model.history import History, Span
from chaoskit.model.observation import SLOT, TapSlot
from chaoskit.model.topology import Edge

__all__ = ["Counted", "Crossings", "checked_paths", "crossings", "demand_on"]


class Counted(NamedTuple):
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

    started: Counted
    ended: Counted
    answered: Counted
    calls: list[tuple[float, float]]
    """(start, end) of each call, ascending, where exact; an end is inf where nothing ended it."""
    closed: list[Span]
    """When the listener was closed."""
    exact: bool
    traces: list[str] = field(default_factory=list)
    """Trace id of each of `calls`, empty where it had none."""
    well: list[bool] = field(default_factory=list)
    """Whether each of `calls` was answered."""

    def answered_of(self, start: float, end: float) -> int:
        """How many of the calls that start in [start, end) are answered before `end` (by slots: of all calls)."""
        if not self.exact:
            return self.answered.between(start, end)
        first, last = bisect_left(self.calls, (start, 0.0)), bisect_left(self.calls, (end, 0.0))
        return sum(self.well[n] and self.calls[n][1] < end for n in range(first, last))

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

    def in_flight(self, instant: float) -> int:
        """How many are out just after an instant."""
        return self.started.until(instant + 1e-9) - self.ended.until(instant + 1e-9)

    def given_up_with(self, demand: Crossings) -> Crossings:
        """The same, but a call that was never answered is over once the request that it served (by its trace) is: some
        callers go on without hanging up."""
        if not (self.exact and demand.exact) or all(self.well):
            return self
        over: dict[str, float] = {}
        for (_, end), trace in zip(demand.calls, demand.traces, strict=True):
            over[trace] = max(end, over.get(trace, 0.0))
        calls = [
            (start, end if answered or not trace else max(start, min(end, over.get(trace, math.inf))))
            for (start, end), trace, answered in zip(self.calls, self.traces, self.well, strict=True)
        ]
        return replace(self, calls=calls, ended=_one_each([end for _, end in calls if end < math.inf]))


_KEPT: WeakKeyDictionary[History, dict[tuple[str, ...], Crossings]] = WeakKeyDictionary()


def demand_on(history: History, caller: str) -> Crossings:
    """Calls that come into one replica, over all edges to it."""
    return crossings(history, [edge for edge in history.topology.edges if edge.callee == caller])


def checked_paths(history: History, edges: Sequence[Edge]) -> set[str]:
    """Paths at which the callees of these edges are only asked how they are: calls of those are no calls."""
    called = {edge.called_service for edge in edges}
    asked = [service for service in history.topology.services if service.name in called]
    return {path for one in asked for path in (one.ready, one.live, one.metrics) if path}


def crossings(history: History, edges: Sequence[Edge], of: str = "") -> Crossings:
    """Calls over these edges in the history's view (kept with it: several judges ask for the same). `of` is a glob of
    method and path such as `POST /charges*`; where the tap kept only some calls it cannot be told which they were, and
    all of them count."""
    kept = _KEPT.setdefault(history, {})
    names = (of, *(edge.name for edge in edges))
    if names not in kept:
        kept[names] = _crossings(history, edges, of)
    return kept[names]


def _crossings(history: History, edges: Sequence[Edge], of: str) -> Crossings:
    views = [history.tap(edge.name) for edge in edges]
    checks = checked_paths(history, edges)
    exact = not any(view.left_out for view in views)
    closed = sorted((slot.at, slot.at + SLOT) for view in views for slot in view.closed_listener)
    if exact:
        calls = [call for view in views for call in view.calls if call.path.partition("?")[0] not in checks]
        if of:
            calls = [call for call in calls if fnmatchcase(f"{call.method} {call.path.partition('?')[0]}", of)]
        over = [call.end for call in calls if call.end is not None]
        good = [call.end for call in calls if call.end is not None and call.outcome == "answered"]
        calls.sort(key=lambda call: (call.start, math.inf if call.end is None else call.end))
        pairs = [(call.start, math.inf if call.end is None else call.end) for call in calls]
        begun, traces = [start for start, _ in pairs], [call.trace_id for call in calls]
        well = [call.outcome == "answered" for call in calls]
        return Crossings(_one_each(begun), _one_each(over), _one_each(good), pairs, closed, exact, traces, well)
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


def _one_each(instants: Sequence[float]) -> Counted:
    return Counted(sorted(instants), list(range(len(instants) + 1)))


def _counted(numbers: Sequence[tuple[float, int]]) -> Counted:
    return Counted([at for at, _ in numbers], list(accumulate((number for _, number in numbers), initial=0)))
