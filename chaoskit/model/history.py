"""All of a run's observations in order, and the windows through which they are read.

    History ── during(phase) ─► History (that phase's spans) ─┬─ load(name)   ─► LoadView  (requests, quantiles, blocks)
                                                              ├─ tap(edge)    ─► TapView   (calls, connections)
                                                              ├─ probe(name)  ─► [ProbeResult]
                                                              ├─ metric(name) ─► [MetricPoint]
                                                              └─ events(kind) ─► [Event]

Rebuilt from disk it judges the same: nothing in here knows a clock.
"""

from __future__ import annotations

import copy
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property
from heapq import merge
from itertools import pairwise
from typing import TypeVar

import msgspec

from chaoskit.model.load_view import LoadView
from chaoskit.model.observation import (
    BreakerChange,
    Event,
    LoadSlot,
    MetricPoint,
    Observation,
    ProbeResult,
    TapSlot,
    slot_start,
)
from chaoskit.model.spans import Span, within
from chaoskit.model.tap_view import TapView
from chaoskit.model.topology import Topology

T = TypeVar("T")

__all__ = ["FaultSpan", "History", "Phase", "Span", "SteadyBound"]


class Phase(StrEnum):
    """The windows that hypotheses name, in their order. `load` is the one window of a plain load run."""

    SETUP = "setup"
    WARMUP = "warmup"
    BASELINE = "baseline"
    FAULT = "fault"
    RECOVERY = "recovery"
    VERIFY = "verify"
    LOAD = "load"


class FaultSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One fault instance: when it was meant to be in, and when it truly was. Instants are None where it never was."""

    id: str
    kind: str
    on: tuple[str, ...]
    """As written: edges (`orders->payments`) or services (`payments.1`)."""
    edges: tuple[str, ...] = ()
    """Names of the edges it acts on; empty for a fault on services."""
    replicas: tuple[str, ...] = ()
    says: str = ""
    """What it does, in words: `latency +50 ms`."""
    planned: Span
    injected: float | None = None
    """Just before the first part of it was put in."""
    in_force: float | None = None
    """When all of it was in."""
    undone: float | None = None
    """When all of it was out again."""

    @property
    def active(self) -> Span | None:
        """From the injection to the undo (or to the planned end while it is still in)."""
        if self.injected is None:
            return None
        return self.injected, self.undone if self.undone is not None else self.planned[1]


class SteadyBound(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the steady state as data: `measure` of requests `of` (all where empty) stays at or below `most`
    or at or above `least`. Measures: `error_rate`, `throughput` (per second), `availability`, `p50` … `p99.9`."""

    measure: str
    of: str = ""
    most: float | None = None
    least: float | None = None

    def measured(self, load: LoadView) -> float:
        """The measure over one view; nan where the view holds no request."""
        if self.measure == "error_rate":
            return load.error_rate
        if self.measure == "availability":
            return 1.0 - load.error_rate
        if self.measure == "throughput":
            return load.rate
        return load.percentile(float(self.measure.removeprefix("p")) / 100.0)

    def holds(self, load: LoadView) -> bool:
        """Whether the bound holds over a view (False where there is nothing to judge)."""
        value = self.measured(load)
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)


_VIEWS_KEPT = 64
"""Windows of load that are kept with what was computed from them: several hypotheses read the same ones."""


def _at(seen: Observation) -> float:
    return seen.at


def _booked_at(entry: tuple[float, LoadSlot]) -> float:
    return entry[0]


def _first(times: list[float], instant: float) -> int:
    """Place of the first time at or after an instant, on the grid as in `spans.within`."""
    return bisect_left(times, instant - 1e-6)


class History:
    """Observations of a run with its topology, windows and faults; `during` gives the same, limited to a phase."""

    def __init__(
        self,
        observations: Iterable[Observation],
        topology: Topology,
        windows: dict[Phase, list[Span]],
        faults: Sequence[FaultSpan] = (),
        steady_state: Sequence[SteadyBound] = (),
    ) -> None:
        self.observations: list[Observation] = sorted(observations, key=_at)
        self.topology = topology
        self.windows = windows
        self.faults = tuple(faults)
        self.steady_state = tuple(steady_state)
        self.spans: tuple[Span, ...] | None = None
        """What this view is limited to; None for the whole run."""
        self._load_views: dict[tuple[tuple[Span, ...], str], LoadView] = {}
        self._load_named: dict[str, tuple[list[float], list[tuple[float, LoadSlot]]]] = {}

    def during(self, phase: Phase | str) -> History:
        """The part of this history in the windows of `phase` (empty where the run never reached it)."""
        return self.between(self.windows.get(Phase(phase), []))

    def between(self, spans: Sequence[Span]) -> History:
        """The part in these spans (start included, end excluded)."""
        _ = self._by_kind, self._injections, self._booked_load, self._taps  # computed once, shared by all views
        view = copy.copy(self)
        view.spans = tuple(spans)
        return view

    @property
    def seconds(self) -> float:
        """Length of the view in seconds."""
        return sum(end - start for start, end in self.view_spans)

    @property
    def view_spans(self) -> tuple[Span, ...]:
        """The spans of the view; for a whole run from the first to the last window."""
        if self.spans is not None:
            return self.spans
        ends = [span for spans in self.windows.values() for span in spans]
        return ((min(start for start, _ in ends), max(end for _, end in ends)),) if ends else ()

    @cached_property
    def _by_kind(self) -> dict[type, list[Observation]]:
        found: dict[type, list[Observation]] = {}
        for seen in self.observations:
            found.setdefault(type(seen), []).append(seen)
        return found

    @cached_property
    def _injections(self) -> list[float]:
        return sorted(slot_start(fault.injected) for fault in self.faults if fault.injected is not None)

    def _booked(self, slot: LoadSlot) -> float:
        """When a slot's requests count: when they were planned, or at the first injection that found them in flight."""
        for injected in self._injections:
            if slot.at < injected and (slot.ended is None or slot.ended >= injected):
                return injected
        return slot.at

    @cached_property
    def _booked_load(self) -> list[tuple[float, LoadSlot]]:
        slots = [slot for slot in self._by_kind.get(LoadSlot, []) if isinstance(slot, LoadSlot)]
        last = max(self._injections, default=-math.inf)  # what was planned after it needs no look
        booked = [(slot.at if slot.at >= last else self._booked(slot), slot) for slot in slots]
        return sorted(booked, key=_booked_at) if self._injections else booked

    def load(self, name: str = "") -> LoadView:
        """Requests called `name` (a glob such as `cart*`; empty for all) that count in this view's spans."""
        spans = self.view_spans
        kept = self._load_views.get((spans, name))
        if kept is None:
            times, entries = self._load_by_name(name)
            if len(spans) > 1 and any(end > start for (_, end), (start, _) in pairwise(spans)):
                chosen = [entry for entry in entries if within(entry[0], spans)]
            else:
                chosen = [entry for start, end in spans for entry in entries[_first(times, start) : _first(times, end)]]
            if len(self._load_views) >= _VIEWS_KEPT:
                self._load_views.clear()
            kept = self._load_views[spans, name] = LoadView(chosen, spans)
        return kept

    def _load_by_name(self, name: str) -> tuple[list[float], list[tuple[float, LoadSlot]]]:
        """Instants and entries of the requests that `name` means in the whole run, by instant."""
        found = self._load_named.get(name)
        if found is None:
            entries = [
                entry
                for entry in self._booked_load
                if not name or entry[1].name == name or fnmatchcase(entry[1].name, name)
            ]
            found = self._load_named[name] = ([at for at, _ in entries], entries)
        return found

    def load_names(self) -> list[str]:
        """Names of requests in the whole run, in order of first use."""
        return list(dict.fromkeys(slot.name for _, slot in self._booked_load))

    def tap(self, edge: str) -> TapView:
        """What crossed an edge; `orders->payments` means all its replicas together."""
        parts = [self._taps.get(found.name, []) for found in self.topology.select_edges(edge)]
        slots = parts[0] if len(parts) == 1 else list(merge(*parts, key=_at))
        if self.spans is not None:
            slots = [slot for slot in slots if within(slot.at, self.spans)]
        return TapView(slots, self.view_spans)

    @cached_property
    def _taps(self) -> dict[str, list[TapSlot]]:
        """Tap slots by edge, in order."""
        found: dict[str, list[TapSlot]] = {}
        for seen in self._by_kind.get(TapSlot, []):
            if isinstance(seen, TapSlot):
                found.setdefault(seen.edge, []).append(seen)
        return found

    def probe(self, name: str) -> list[ProbeResult]:
        """Answers of one health check (`orders/ready`); of all replicas for `payments/ready`."""
        replica, _, check = name.partition("/")
        names = {f"{one}/{check}" for one in self.topology.select_replicas(replica)}
        return [seen for seen in self._seen(ProbeResult) if seen.name in names]

    def probe_names(self) -> list[str]:
        """Names of all health checks in the whole run."""
        seen = self._by_kind.get(ProbeResult, [])
        return list(dict.fromkeys(one.name for one in seen if isinstance(one, ProbeResult)))

    def metric(self, name: str, **labels: str) -> list[MetricPoint]:
        """Samples of a metric whose labels include those given; `source` limits to a replica or worker."""
        source = labels.pop("source", "")
        return [
            seen
            for seen in self._seen(MetricPoint)
            if seen.name == name
            and (not source or seen.source == source)
            and all(seen.labels.get(key) == value for key, value in labels.items())
        ]

    def breaker_changes(self, edge: str = "") -> list[BreakerChange]:
        """What breakers said of themselves by a metric."""
        return [seen for seen in self._seen(BreakerChange) if not edge or seen.edge == edge]

    def events(self, kind: str = "") -> list[Event]:
        return [seen for seen in self._seen(Event) if not kind or seen.kind == kind]

    def fault(self, fault_id: str) -> FaultSpan:
        """The span of one fault; KeyError where the run had none of that id."""
        for span in self.faults:
            if span.id == fault_id:
                return span
        raise KeyError(fault_id)

    def _seen(self, kind: type[T]) -> Iterator[T]:
        spans = self.spans
        for seen in self._by_kind.get(kind, []):
            if isinstance(seen, kind) and (spans is None or within(seen.at, spans)):
                yield seen
