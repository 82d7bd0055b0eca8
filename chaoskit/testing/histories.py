"""Histories written by hand: a whole run in a few sentences, the same on every call."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from copy import copy

from chaoskit.model.histogram import bucket_of, encode
from chaoskit.model.history import FaultSpan, History, Phase, Span, SteadyBound
from chaoskit.model.observation import (
    BreakerChange,
    Event,
    LoadSlot,
    MetricPoint,
    Observation,
    ProbeResult,
    TapCall,
    slot_start,
)
from chaoskit.testing.slots import load_slots, tap_slots
from chaoskit.testing.topologies import SHOP_EDGES, topology_of

__all__ = ["HistoryBuilder"]

When = Phase | str | Span | None
"""A phase, a span of seconds, or None for the whole run."""
Value = float | Callable[[float], float]
"""A number, or a function of the instant."""

_GOLDEN = (math.sqrt(5) - 1) / 2


class HistoryBuilder:
    """Makes a History from a few sentences. Every method returns the builder.

    A later `load`, `calls` or `probe` of the same name replaces what an earlier one put into its span, so that a
    whole run can be written first and its bad seconds after. Shares are spread evenly (no dice), values wobble by
    `spread` (seeded).
    """

    def __init__(self, *, seed: int = 1) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._topology = topology_of(*SHOP_EDGES, target="shop")
        self._windows: dict[Phase, list[Span]] = {}
        self._faults: list[FaultSpan] = []
        self._steady: list[SteadyBound] = []
        self._observations: list[Observation] = []
        self._load: list[tuple[str, float, LoadSlot]] = []
        self._calls: list[tuple[str, TapCall]] = []
        self._probes: list[ProbeResult] = []
        self._closed_listeners: list[tuple[str, Span]] = []
        self._hits: dict[tuple[str, float], Counter[str]] = defaultdict(Counter)
        self._keep_calls = True
        self.phases()

    def copy(self) -> HistoryBuilder:
        """Another builder with all that was said so far."""
        other = HistoryBuilder()
        for name, value in vars(self).items():
            setattr(other, name, copy(value))
        return other

    # ------------------------------------------------------------------------------------------------ the frame

    def topology(self, *edges: str) -> HistoryBuilder:
        """Edges as `topology_of` reads them (default: `SHOP_EDGES`)."""
        self._topology = topology_of(*edges)
        return self

    def phases(
        self, *, warmup: float = 2.0, baseline: float = 6.0, fault: float = 10.0, recovery: float = 6.0
    ) -> HistoryBuilder:
        """Lengths of the windows; one of length 0 is left out."""
        self._windows = {}
        start = 0.0
        lengths = {Phase.WARMUP: warmup, Phase.BASELINE: baseline, Phase.FAULT: fault, Phase.RECOVERY: recovery}
        for phase, length in lengths.items():
            end = round(start + length, 1)
            if length:
                self._windows[phase] = [(start, end)]
            start = end
        return self

    def load_run(self, seconds: float) -> HistoryBuilder:
        """A plain load run: the one window `load`."""
        self._windows = {Phase.LOAD: [(0.0, seconds)]}
        return self

    def window(self, phase: Phase | str, *spans: Span) -> HistoryBuilder:
        """Any other window (several spans, `verify`, one that was cut short)."""
        self._windows[Phase(phase)] = list(spans)
        return self

    def span(self, when: When) -> Span:
        """Seconds that `when` means, from its first to its last."""
        if isinstance(when, tuple):
            return when
        spans = self._windows.get(Phase(when), []) if when else [s for some in self._windows.values() for s in some]
        if not spans:
            raise ValueError(f"the history has no window {when!r}")
        return min(start for start, _ in spans), max(end for _, end in spans)

    def fault(
        self,
        kind: str,
        *,
        on: str | Sequence[str],
        at: float | None = None,
        until: float | None = None,
        id: str = "",  # noqa: A002 - the field's name
        says: str = "",
        undone: bool = True,
        injected: bool = True,
    ) -> HistoryBuilder:
        """A fault that is in from `at` to `until` (default: the fault window). `undone=False` leaves it in."""
        places = (on,) if isinstance(on, str) else tuple(on)
        window = self.span(Phase.FAULT) if at is None or until is None else (at, until)
        start = window[0] if at is None else at
        end = window[1] if until is None else until
        edges = [e.name for place in places if "->" in place for e in self._topology.select_edges(place)]
        replicas = [r for place in places if "->" not in place for r in self._topology.select_replicas(place)]
        span = FaultSpan(
            id=id or kind,
            kind=kind,
            on=places,
            edges=tuple(edges),
            replicas=tuple(replicas),
            says=says or kind,
            planned=(start, end),
            injected=start if injected else None,
            in_force=start if injected else None,
            undone=end if injected and undone else None,
        )
        self._faults.append(span)
        return self

    def steady_state(
        self, *, of: str = "", error_rate: float | None = None, least_rate: float | None = None, **percentiles: float
    ) -> HistoryBuilder:
        """Bounds of the steady state: `error_rate=0.01, p95=0.25, least_rate=50`."""
        if error_rate is not None:
            self._steady.append(SteadyBound(measure="error_rate", of=of, most=error_rate))
        if least_rate is not None:
            self._steady.append(SteadyBound(measure="throughput", of=of, least=least_rate))
        for name, seconds in percentiles.items():
            self._steady.append(SteadyBound(measure=name.replace("_", "."), of=of, most=seconds))
        return self

    # ------------------------------------------------------------------------------------------- what was seen

    def load(
        self,
        name: str,
        when: When = None,
        *,
        rate: float,
        response: Value = 0.1,
        spread: float = 0.05,
        failures: Mapping[str, float] | None = None,
        failures_take: Value | None = None,
        dropped: float = 0.0,
        dropped_below_cap: float = 0.0,
        unfinished: float = 0.0,
        marks: Mapping[str, float] | None = None,
        send_lag: float = 0.0001,
    ) -> HistoryBuilder:
        """Requests at `rate` per second. `failures`: cause → share of the requests; `dropped`, `unfinished`: shares.

        `response` (seconds, of successes) and `failures_take` may depend on the instant of the planned send.
        """
        start, end = self.span(when)
        self._load = [kept for kept in self._load if kept[0] != name or not start <= kept[1] < end]
        fates: list[tuple[str, float]] = list((failures or {}).items())
        fates += [("dropped", dropped), ("dropped below cap", dropped_below_cap), ("unfinished", unfinished)]
        mark_shares = dict(marks or {})
        for number in range(round((end - start) * rate)):
            at = start + (number + 0.5) / rate
            fate = _pick(fates, (number * _GOLDEN) % 1.0)
            if fate in ("dropped", "dropped below cap", "unfinished"):
                slot = LoadSlot(
                    at=slot_start(at),
                    name=name,
                    ended=None if fate == "unfinished" else slot_start(at),
                    dropped=int(fate != "unfinished"),
                    dropped_below_cap=int(fate == "dropped below cap"),
                    unfinished=int(fate == "unfinished"),
                )
                self._load.append((name, at, slot))
                continue
            value = failures_take if fate and failures_take is not None else response
            took = self._wobble(_at(value, at), spread)
            status = fate.removeprefix("status ") if fate.startswith("status ") else "" if fate else "200"
            record = encode({bucket_of(took): 1})
            service = encode({bucket_of(max(took - send_lag, 0.0)): 1})
            slot = LoadSlot(
                at=slot_start(at),
                name=name,
                ended=slot_start(at + took),
                ok=int(not fate),
                failed=int(bool(fate)),
                response=b"" if fate else record,
                response_failed=record if fate else b"",
                service=b"" if fate else service,
                service_failed=service if fate else b"",
                send_lag=encode({bucket_of(send_lag): 1}),
                causes={fate: 1} if fate else {},
                statuses={status: 1} if status else {},
                marks={mark: 1 for mark, share in mark_shares.items() if (number * _GOLDEN + 0.37) % 1.0 < share},
            )
            self._load.append((name, at, slot))
        return self

    def calls(
        self,
        edge: str,
        when: When = None,
        *,
        rate: float,
        took: Value | None = 0.1,
        spread: float = 0.05,
        failures: Mapping[str, float] | None = None,
        method: str = "POST",
        path: str = "/charges",
        status: int | None = 200,
        key: bool = False,
    ) -> HistoryBuilder:
        """Calls that cross an edge, in turn over its replicas. `took=None` leaves them open.

        `failures`: `status 503`, `cut` or `abandoned` → share of the calls.
        """
        start, end = self.span(when)
        names = {found.name for found in self._topology.select_edges(edge)}
        self._calls = [
            (on, call)
            for on, call in self._calls
            if on not in names or (call.method, call.path) != (method, path) or not start <= call.start < end
        ]
        edges = sorted(names)
        for number in range(round((end - start) * rate)):
            at = start + (number + 0.5) / rate
            fate = _pick(list((failures or {}).items()), (number * _GOLDEN) % 1.0)
            failed_status = int(fate.removeprefix("status ")) if fate.startswith("status ") else None
            self.call(
                edges[number % len(edges)],
                at,
                None if took is None else self._wobble(_at(took, at), spread),
                method=method,
                path=path,
                status=failed_status or (None if fate or took is None else status),
                outcome=fate if fate in ("cut", "abandoned") else "answered" if took is not None else "open",
                key=key,
                trace_id=f"{len(self._calls):032x}",
            )
        return self

    def call(
        self,
        edge: str,
        at: float,
        took: float | None = 0.1,
        *,
        method: str = "POST",
        path: str = "/charges",
        status: int | None = 200,
        outcome: str = "answered",
        key: bool = False,
        trace_id: str = "",
        connection: int = 0,
        first: bool = False,
    ) -> HistoryBuilder:
        """One call over one edge."""
        call = TapCall(
            start=at,
            end=None if took is None else at + took,
            method=method,
            path=path,
            status=status if outcome == "answered" else None,
            outcome=outcome if took is not None else "open",
            key=key,
            trace_id=trace_id,
            connection=connection,
            first=first,
            bytes_up=200,
            bytes_down=300 if outcome == "answered" else 0,
        )
        self._calls.append((edge, call))
        return self

    def hits(self, edge: str, toxic: str, at: float, count: int = 1) -> HistoryBuilder:
        """A toxic acted on calls of an edge."""
        for found in self._topology.select_edges(edge):
            self._hits[found.name, slot_start(at)][toxic] += count
        return self

    def closed_listener(self, edge: str, when: When) -> HistoryBuilder:
        """The tap's listener was closed in this span."""
        for found in self._topology.select_edges(edge):
            self._closed_listeners.append((found.name, self.span(when)))
        return self

    def counts_only(self) -> HistoryBuilder:
        """The tap kept no single calls, only counts."""
        self._keep_calls = False
        return self

    def probe(
        self, name: str, when: When = None, *, ok: bool = True, status: int | None = None, every: float = 0.25
    ) -> HistoryBuilder:
        """Answers of a health check (`orders/ready`; of all replicas for `payments/ready`). With `every` infinite
        nobody asked."""
        start, end = self.span(when)
        replica, _, check = name.partition("/")
        names = {f"{one}/{check}" for one in self._topology.select_replicas(replica)}
        self._probes = [p for p in self._probes if p.name not in names or not start <= p.at < end]
        for number in range(math.ceil((end - start) / every - 1e-9)):
            for one in sorted(names):
                seen = ProbeResult(
                    at=round(start + number * every, 6),
                    source="probe.health",
                    name=one,
                    ok=ok,
                    status=(200 if ok else 503) if status is None else status or None,
                    took=0.002,
                    because="" if ok else "not ready",
                )
                self._probes.append(seen)
        return self

    def metric(
        self,
        name: str,
        when: When = None,
        value: Value = 1.0,
        /,
        *,
        every: float = 1.0,
        source: str = "orders",
        **labels: str,
    ) -> HistoryBuilder:
        """Samples of a metric of one replica."""
        start, end = self.span(when)
        for number in range(math.ceil((end - start) / every - 1e-9)):
            at = round(start + number * every, 6)
            self.observe(MetricPoint(at=at, source=source, name=name, value=_at(value, at), labels=labels))
        return self

    def breaker(self, edge: str, at: float, state: str) -> HistoryBuilder:
        """What a breaker says of itself."""
        return self.observe(BreakerChange(at=at, source="probe.scrape", edge=edge, state=state))

    def event(self, kind: str, at: float, text: str = "", **about: str) -> HistoryBuilder:
        return self.observe(Event(at=at, source="runner", kind=kind, text=text, about=about))

    def observe(self, *observations: Observation) -> HistoryBuilder:
        """Anything else, as it is."""
        self._observations += observations
        return self

    def build(self) -> History:
        """The history; the builder may go on being used."""
        taps = tap_slots(
            self._calls,
            last=max((end for spans in self._windows.values() for _, end in spans), default=0.0),
            closed_listeners=self._closed_listeners,
            hits=self._hits,
            keep_calls=self._keep_calls,
        )
        seen = [*self._observations, *self._probes, *load_slots(slot for _, _, slot in self._load), *taps]
        return History(seen, self._topology, dict(self._windows), self._faults, self._steady)

    def _wobble(self, value: float, spread: float) -> float:
        return value * math.exp(self._random.gauss(0.0, spread)) if spread else value


def _at(value: Value, at: float) -> float:
    return value(at) if callable(value) else value


def _pick(shares: Sequence[tuple[str, float]], place: float) -> str:
    """The fate whose part of 0…1 `place` falls into; empty where it falls into none."""
    edge = 0.0
    for name, share in shares:
        edge += share
        if place < edge:
            return name
    return ""
