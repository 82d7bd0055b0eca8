"""A circuit breaker opens in time, lets no calls through while it is open, tries again gently, and closes in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import msgspec
from pydantic import Field, model_validator

from chaoskit.hypotheses import breaker_parts as parts_of
from chaoskit.hypotheses.breaker_metric import agrees
from chaoskit.hypotheses.breaker_parts import Frame
from chaoskit.hypotheses.breaker_told import ToldBy
from chaoskit.hypotheses.claim import Part, finding, unknown_edge
from chaoskit.hypotheses.words import amount, joined
from chaoskit.interfaces import Hypothesis
from chaoskit.model.breaker_lane import EXPECTED, breaker_lane, hidden
from chaoskit.model.crossings import crossings, demand_on
from chaoskit.model.history import History, Phase
from chaoskit.model.topology import Topology
from chaoskit.model.undo import JSON
from chaoskit.model.units import Duration, duration_text
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Breaker"]

_SURELY = 0.5
"""Share of the judged time of which the lane must know something."""


class Breaker(Hypothesis):
    """A circuit breaker stays closed, or opens, tries again and closes, as it should.

    What it measures: the breaker's lane (`chaoskit.model.breaker_lane`): from the calls that cross the edge, against
    those that were due; from the caller's metric where the listener was closed and no call can be seen. Every caller's
    replica is judged by itself. Calls of health checks do not count.

    Formula:
        opens_within   start of the first open time after the injection − injection
        fails_fast     p95 of the caller's answers to calls that came in while it was open
        trials         calls that cross from a reopening until the first of them has ended
        tries_every    end of an open time that ends in a trial − its start, within a quarter (at least 200 ms)
        closes_within  end of the last open or half-open time − the fault's end
        openings       changes from closed to open

    Example:
        {kind: breaker, edge: orders->payments, stays: closed}
        {kind: breaker, edge: orders->payments, opens_within: 2s, fails_fast: 100ms, trials: 1, closes_within: 6s}
        {kind: breaker, edge: orders->payments, metric: agrees, told_by: {metric: cb_state, open: 2}}

    Limits: a service that stops before it comes to the call looks like an open breaker; so does anything that fails
    fast and asks again later. It takes at least 5 calls that were due in an open time to see it, and 20 to tell how
    fast it fails. A call has ended when its last byte has crossed: a caller that decides by the head alone may let
    calls through before. A call that its caller gives up without hanging up ends with the request that it served,
    where both have a trace id. What a closed listener hid for over 1.5 s is unknown, unless a metric tells it: a
    breaker that was not seen open may have been open then, and one that was may have opened at its start. Inconclusive:
    such a time where it decides or a listener closed for most of the time, too few requests, a fault or a recovery
    that is shorter than what is allowed, a breaker that was open before the fault.
    """

    kind: ClassVar[str] = "breaker"
    default_phases: ClassVar[tuple[Phase, ...]] = (Phase.FAULT, Phase.RECOVERY)

    edge: str
    """The edge it guards: `orders->payments`, or `orders->payments.1` for a breaker of each replica."""
    calls: str = ""
    """Calls that it guards, as a glob of method and path: `POST /charges*` (default: all but health checks)."""
    stays: Literal["closed"] | None = None
    """It does not open at all: a fault below its threshold."""
    opens_within: Duration | None = None
    """Longest time from the injection until it is open."""
    fails_fast: Duration | None = None
    """Longest time that the caller may take to answer while it is open (95% of its calls)."""
    trials: int | None = Field(default=None, ge=1)
    """Most calls that may cross at one reopening, before the first of them has ended."""
    tries_every: Duration | None = None
    """Time between two trials, as it is configured; measured ones may differ by a quarter."""
    closes_within: Duration | None = None
    """Longest time from the fault's end until it is closed, and stays so."""
    openings: int | None = Field(default=None, ge=0)
    """Most times that it may go from closed to open (more is flapping)."""
    metric: Literal["agrees", "any"] = "any"
    """Whether what the caller's metric says must agree with what crosses the edge."""
    told_by: ToldBy | None = None
    """Which metric or query tells its state, where it is not one of those that are known: with a name like
    `circuit_breaker_state` (as purgatory, pybreaker, Resilience4j and Envoy have them) and a label that names the
    callee."""

    @model_validator(mode="after")
    def _something(self) -> Breaker:
        asked = self.model_fields_set & {"opens_within", "fails_fast", "trials", "tries_every", "closes_within"}
        if self.stays and asked:
            raise ValueError(f"expected stays: closed alone, without {' and '.join(sorted(asked))}")
        if not self.stays and not asked and self.openings is None and self.metric == "any":
            raise ValueError("expected stays: closed, or one of opens_within, fails_fast, trials, closes_within …")
        return self

    def check(self, topology: Topology, request_names: Sequence[str]) -> Sequence[tuple[str, str]]:
        return unknown_edge(self.edge, topology)

    def probes(self) -> Sequence[tuple[str, Mapping[str, JSON]]]:
        return self.told_by.probes() if self.told_by is not None else ()

    def expected(self) -> str:
        parts = ["stays closed"] if self.stays else []
        parts += [f"opens ≤ {duration_text(self.opens_within)}"] if self.opens_within is not None else []
        parts += [f"fails within {duration_text(self.fails_fast)} while open"] if self.fails_fast is not None else []
        parts += [f"≤ {self.trials} calls at a trial"] if self.trials is not None else []
        parts += [f"tries every {duration_text(self.tries_every)}"] if self.tries_every is not None else []
        parts += [f"closes ≤ {duration_text(self.closes_within)}"] if self.closes_within is not None else []
        parts += [f"opens ≤ {self.openings} times"] if self.openings is not None else []
        parts += ["its metric agrees"] if self.metric == "agrees" else []
        guarded = f" ({self.calls})" if self.calls else ""
        return f"breaker {self.edge}{guarded} {', '.join(parts)}"

    def judge(self, history: History) -> Finding:
        callers = dict.fromkeys(edge.caller for edge in history.topology.select_edges(self.edge))
        parts: list[Part] = []
        for caller in callers:
            whose = f" of {caller}" if len(callers) > 1 else ""
            about = f"the breaker{whose} on {self.edge}"
            parts += [
                part._replace(lane=self.edge, phase=part.phase or str(Phase.FAULT), about=about)
                for part in self._judged(history, caller)
            ]
        return finding(self, parts)

    def _judged(self, history: History, caller: str) -> list[Part]:
        frame = self._frame(history, caller)
        because = self._blind(history, frame)
        if because:
            return [Part(Verdict.INCONCLUSIVE, because, evidence=frame.spans)]
        parts = [parts_of.stays(frame)] if self.stays else []
        parts += [parts_of.opens(frame, self.opens_within)] if self.opens_within is not None else []
        parts += [parts_of.fails_fast(history, frame, self.fails_fast)] if self.fails_fast is not None else []
        parts += [parts_of.trials(frame, self.trials)] if self.trials is not None else []
        parts += [parts_of.tries_every(frame, self.tries_every)] if self.tries_every is not None else []
        parts += [parts_of.closes(frame, self.closes_within)] if self.closes_within is not None else []
        parts += [parts_of.openings(frame, self.openings)] if self.openings is not None else []
        return [*parts, *agrees(frame, must_agree=self.metric == "agrees")]

    def _frame(self, history: History, caller: str) -> Frame:
        edges = [edge for edge in history.topology.select_edges(self.edge) if edge.caller == caller]
        ours = {edge.name for edge in edges} | {edge.callee for edge in edges}
        faults = [fault for fault in history.faults if fault.active is not None]
        faults = [fault for fault in faults if ours & {*fault.edges, *fault.replicas}] or faults
        spans = tuple(span for phase in self.phases for span in history.windows.get(phase, []))
        injected = min((fault.active[0] for fault in faults if fault.active is not None), default=None)
        undone = max((fault.undone for fault in faults if fault.undone is not None), default=None)
        lane = breaker_lane(history, self.edge, caller, self.calls)
        crossing = crossings(history, edges, self.calls)
        if self.told_by is not None:
            lane = msgspec.structs.replace(lane, said=self.told_by.said(history, caller))
        end = max((end for _, end in spans), default=0.0)
        seen = [str(phase) for phase in self.phases if history.windows.get(phase)]
        return Frame(lane, crossing.started, spans, injected, undone, end, joined(seen), hidden(history, lane))

    def _blind(self, history: History, frame: Frame) -> str:
        """Why nothing can be told at all; empty where something can."""
        if not frame.spans:
            return f"was not seen: the run never reached {' or '.join(self.phases)}"
        if self.calls and not frame.lane.exact:
            return f"cannot be told for {self.calls} alone: too many calls crossed in all for the tap to keep each"
        total = sum(end - start for start, end in frame.spans)
        unknown = sum(
            max(0.0, min(span.end, end) - max(span.start, start))
            for span in frame.lane.in_state("unknown")
            for start, end in frame.spans
        )
        if unknown > (1.0 - _SURELY) * total:
            return (
                f"could not be seen for {amount(unknown, 's')} of {amount(total, 's')}: its listener was closed, or no"
                " call was due, and no metric tells its state"
            )
        due = demand_on(history, frame.lane.caller).started
        if sum(due.between(start, end) for start, end in frame.spans) < EXPECTED:
            return f"cannot be told from so few calls: {frame.lane.caller} was hardly asked"
        return ""
