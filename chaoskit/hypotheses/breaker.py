"""A circuit breaker opens in time, lets no calls through while it is open, tries again gently, and closes in time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from chaoskit.hypotheses.claim import Part, finding, unknown_edge
from chaoskit.hypotheses.words import amount, seconds_text
from chaoskit.interfaces import Hypothesis
from chaoskit.model.breaker_lane import EXPECTED, BreakerLane, BreakerSpan, breaker_lane, demand_on
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.observation import TapCall
from chaoskit.model.spans import within
from chaoskit.model.topology import Topology
from chaoskit.model.units import Duration, duration_text
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Breaker"]

_SCRAPING = 2.5
"""Seconds within which a metric that is read once a second may differ from the tap."""
_SURELY = 0.5
"""Share of the judged time of which the lane must know something."""


class _Frame(NamedTuple):
    """What one caller's breaker is judged by."""

    lane: BreakerLane
    spans: tuple[Span, ...]
    """The judged phases."""
    injected: float | None
    undone: float | None
    end: float
    """End of what was watched."""

    def states(self, state: str) -> list[BreakerSpan]:
        """The lane's spans of one state that touch the judged phases."""
        return [s for s in self.lane.in_state(state) if any(s.start < b and s.end > a for a, b in self.spans)]


class Breaker(Hypothesis):
    """A circuit breaker stays closed, or opens, tries again and closes, as it should.

    What it measures: the breaker's lane (`chaoskit.model.breaker_lane`): from the calls that cross the edge, against
    those that were due; from the caller's metric where the listener was closed and no call can be seen. Every caller's
    replica is judged by itself. Calls of health checks do not count.

    Example:
        {kind: breaker, edge: orders->payments, stays: closed}
        {kind: breaker, edge: orders->payments, opens_within: 2s, fails_fast: 100ms, trials: 1, closes_within: 6s}

    Limits: a service that stops before it comes to the call looks like an open breaker; so does anything that fails
    fast and asks again later. It takes at least 5 calls that were due in an open time to see it.
    """

    kind: ClassVar[str] = "breaker"
    default_phases: ClassVar[tuple[Phase, ...]] = (Phase.FAULT, Phase.RECOVERY)

    edge: str
    """The edge it guards: `orders->payments`, or `orders->payments.1` for a breaker of each replica."""
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

    def expected(self) -> str:
        parts = ["stays closed"] if self.stays else []
        parts += [f"opens ≤ {duration_text(self.opens_within)}"] if self.opens_within is not None else []
        parts += [f"fails within {duration_text(self.fails_fast)} while open"] if self.fails_fast is not None else []
        parts += [f"≤ {self.trials} calls at a trial"] if self.trials is not None else []
        parts += [f"tries every {duration_text(self.tries_every)}"] if self.tries_every is not None else []
        parts += [f"closes ≤ {duration_text(self.closes_within)}"] if self.closes_within is not None else []
        parts += [f"opens ≤ {self.openings} times"] if self.openings is not None else []
        parts += ["its metric agrees"] if self.metric == "agrees" else []
        return f"breaker {self.edge} {', '.join(parts)}"

    def judge(self, history: History) -> Finding:
        callers = dict.fromkeys(edge.caller for edge in history.topology.select_edges(self.edge))
        return finding(self, [part for caller in callers for part in self._judged(history, caller)])

    def _judged(self, history: History, caller: str) -> list[Part]:
        frame = self._frame(history, caller)
        because = self._blind(history, frame)
        if because:
            return [Part(Verdict.INCONCLUSIVE, because, evidence=frame.spans, lane=self.edge)]
        parts = [self._stays(history, frame)] if self.stays else []
        parts += [self._opens(frame)] if self.opens_within is not None else []
        parts += [self._fails_fast(history, frame)] if self.fails_fast is not None else []
        parts += [self._trials(frame)] if self.trials is not None else []
        parts += [self._interval(frame)] if self.tries_every is not None else []
        parts += [self._closes(frame)] if self.closes_within is not None else []
        parts += [self._openings(frame)] if self.openings is not None else []
        parts += self._disagreement(frame)
        return [part._replace(lane=self.edge, phase=part.phase or str(Phase.FAULT)) for part in parts]

    def _frame(self, history: History, caller: str) -> _Frame:
        edges = [edge for edge in history.topology.select_edges(self.edge) if edge.caller == caller]
        ours = {edge.name for edge in edges} | {edge.callee for edge in edges}
        faults = [fault for fault in history.faults if fault.active is not None]
        faults = [fault for fault in faults if ours & {*fault.edges, *fault.replicas}] or faults
        spans = tuple(span for phase in self.phases for span in history.windows.get(phase, []))
        injected = min((fault.active[0] for fault in faults if fault.active is not None), default=None)
        undone = max((fault.undone for fault in faults if fault.undone is not None), default=None)
        lane = breaker_lane(history, self.edge, caller)
        return _Frame(lane, spans, injected, undone, max((end for _, end in spans), default=0.0))

    def _blind(self, history: History, frame: _Frame) -> str:
        """Why nothing can be told at all; empty where something can."""
        if not frame.spans:
            return f"the run never reached {' or '.join(self.phases)}"
        total = sum(end - start for start, end in frame.spans)
        unknown = sum(
            max(0.0, min(s.end, end) - max(s.start, start))
            for s in frame.lane.in_state("unknown")
            for start, end in frame.spans
        )
        if unknown > (1.0 - _SURELY) * total:
            return (
                f"the breaker on {self.edge} could not be seen for {amount(unknown, 's')} of {amount(total, 's')}: its listener was"
                " closed, or no call was due, and no metric tells its state"
            )
        due = demand_on(history, frame.lane.caller).started
        if sum(due.between(start, end) for start, end in frame.spans) < EXPECTED:
            return f"{frame.lane.caller} was asked too little to tell what its breaker on {self.edge} does"
        return ""

    def _stays(self, history: History, frame: _Frame) -> Part:
        opened = frame.states("open")
        calls = sum(span.calls for span in frame.lane.seen)
        if opened:
            first, total = opened[0], sum(span.end - span.start for span in opened)
            because = (
                f"the breaker on {self.edge} opened at {seconds_text(first.start)} and was open for {amount(total, 's')},"
                " where it should have stayed closed"
            )
            return Part(Verdict.REFUTED, because, total, "s", samples=calls, evidence=_spans(opened))
        because = f"the breaker on {self.edge} stayed closed: {calls} calls crossed"
        return Part(Verdict.SUPPORTED, because, 0.0, "s", samples=calls, evidence=frame.spans)

    def _opens(self, frame: _Frame) -> Part:
        assert self.opens_within is not None
        if frame.injected is None:
            return Part(Verdict.INCONCLUSIVE, "no fault was in: the breaker had no reason to open")
        opened = next((span for span in frame.lane.in_state("open") if span.end > frame.injected), None)
        until = frame.undone if frame.undone is not None else frame.end
        if opened is None or opened.start >= until:
            crossed = sum(s.calls for s in frame.lane.seen if s.start < until and s.end > frame.injected)
            if until - frame.injected < self.opens_within:
                because = f"the fault lasted {amount(until - frame.injected, 's')}: too short for the breaker to open"
                return Part(Verdict.INCONCLUSIVE, because)
            because = (
                f"the breaker on {self.edge} did not open in the {amount(until - frame.injected, 's')} of the fault"
                f" (allowed: {duration_text(self.opens_within)}): calls went on crossing, {crossed} in all"
            )
            return Part(Verdict.REFUTED, because, math.inf, "s", evidence=((frame.injected, until),))
        took = max(opened.start - frame.injected, 0.0)
        held = took <= self.opens_within
        because = (
            f"the breaker on {self.edge} opened {amount(took, 's')} after the fault went in,"
            f" {'within' if held else 'later than'} {duration_text(self.opens_within)}"
        )
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return Part(verdict, because, took, "s", evidence=((frame.injected, opened.start),) if took else ())

    def _fails_fast(self, history: History, frame: _Frame) -> Part:
        assert self.fails_fast is not None
        opened = _spans(frame.states("open"))
        if not opened:
            return Part(
                Verdict.INCONCLUSIVE, f"the breaker on {self.edge} was never open: nothing shows how fast it fails"
            )
        took = sorted(_taken(call) for call in _calls_into(history, frame.lane.caller) if within(call.start, opened))
        if len(took) < 20:
            because = f"only {len(took)} calls came to {frame.lane.caller} while its breaker was open"
            return Part(Verdict.INCONCLUSIVE, because, samples=len(took), evidence=opened)
        p95 = took[math.ceil(0.95 * len(took)) - 1]
        held = p95 <= self.fails_fast
        because = (
            f"while the breaker on {self.edge} was open, {frame.lane.caller} answered 95% of {len(took)} calls within"
            f" {amount(p95, 's')}, {'at most' if held else 'above'} {duration_text(self.fails_fast)}"
        )
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return Part(verdict, because, p95, "s", samples=len(took), evidence=opened)

    def _trials(self, frame: _Frame) -> Part:
        assert self.trials is not None
        tried = [span for span in frame.states("half_open") if span.calls]
        if not tried:
            return Part(
                Verdict.INCONCLUSIVE, f"the breaker on {self.edge} never tried again in the time that was watched"
            )
        worst = max(tried, key=lambda span: span.calls)
        held = worst.calls <= self.trials
        because = (
            f"at most {worst.calls} calls crossed {self.edge} at one of its {len(tried)} reopenings"
            if held
            else f"{worst.calls} calls crossed {self.edge} at its reopening at {seconds_text(worst.start)}, before the first"
            f" of them had ended: a herd, where {self.trials} is a trial"
        )
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return Part(verdict, because, float(worst.calls), "calls", samples=len(tried), evidence=_spans([worst]))

    def _interval(self, frame: _Frame) -> Part:
        assert self.tries_every is not None
        tried = {span.start for span in frame.lane.in_state("half_open")}
        waited = [span for span in frame.states("open") if span.end in tried]
        if not waited:
            return Part(
                Verdict.INCONCLUSIVE, f"the breaker on {self.edge} never tried again in the time that was watched"
            )
        worst = max(waited, key=lambda span: abs(span.end - span.start - self.tries_every))  # type: ignore[operator]  # asserted above
        took = worst.end - worst.start
        held = abs(took - self.tries_every) <= max(0.25 * self.tries_every, 0.2)
        because = (
            f"the breaker on {self.edge} waited {amount(took, 's')} before it tried again at {seconds_text(worst.end)},"
            f" {'as' if held else 'not'} the {duration_text(self.tries_every)} that were claimed"
        )
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return Part(verdict, because, took, "s", samples=len(waited), evidence=_spans([worst]))

    def _closes(self, frame: _Frame) -> Part:
        assert self.closes_within is not None
        phase = str(Phase.RECOVERY)
        opened = [span for span in frame.states("open") if frame.injected is None or span.end > frame.injected]
        if not opened:
            return Part(
                Verdict.INCONCLUSIVE, f"the breaker on {self.edge} never opened, so it could not close", phase=phase
            )
        if frame.undone is None:
            return Part(Verdict.INCONCLUSIVE, "there was no end of a fault after which to close", phase=phase)
        late = [s for s in frame.lane.spans if s.state in ("open", "half_open") and s.end > frame.undone]
        closed = max((span.end for span in late), default=frame.undone)
        watched = frame.end - frame.undone
        if closed >= frame.end - 1e-6:
            if watched < self.closes_within:
                because = (
                    f"only {amount(watched, 's')} were watched after the fault: too short to see the breaker close"
                )
                return Part(Verdict.INCONCLUSIVE, because, phase=phase)
            because = (
                f"the breaker on {self.edge} had not closed {amount(watched, 's')} after the fault's end at"
                f" {seconds_text(frame.undone)} (allowed: {duration_text(self.closes_within)})"
            )
            return Part(Verdict.REFUTED, because, math.inf, "s", phase=phase, evidence=_spans(late))
        took = closed - frame.undone
        held = took <= self.closes_within
        because = (
            f"the breaker on {self.edge} closed {amount(took, 's')} after the fault's end at {seconds_text(frame.undone)},"
            f" {'within' if held else 'later than'} {duration_text(self.closes_within)}"
        )
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return Part(verdict, because, took, "s", phase=phase, evidence=_spans(late))

    def _openings(self, frame: _Frame) -> Part:
        assert self.openings is not None
        known = [span for span in frame.lane.spans if span.state != "unknown"]
        opened = [
            span
            for before, span in zip([None, *known], known, strict=False)
            if span.state == "open" and (before is None or before.state == "closed") and span in frame.states("open")
        ]
        held = len(opened) <= self.openings
        because = (
            f"the breaker on {self.edge} opened {len(opened)} times from closed,"
            f" {'at most' if held else 'more than'} {self.openings}{'' if held else ': it flaps'}"
        )
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return Part(verdict, because, float(len(opened)), "times", evidence=_spans(opened))

    def _disagreement(self, frame: _Frame) -> list[Part]:
        """Where tap and metric tell different stories for longer than reading a metric now and then explains."""
        if not frame.lane.said:
            if self.metric == "any":
                return []
            return [Part(Verdict.INCONCLUSIVE, f"no metric of {frame.lane.caller} tells the state of its breaker")]
        apart = [
            (max(seen.start, said.start), min(seen.end, said.end), seen.state, said.state)
            for seen in frame.lane.seen
            for said in frame.lane.said
            if {seen.state, said.state} == {"open", "closed"}
            and min(seen.end, said.end) - max(seen.start, said.start) > _SCRAPING
        ]
        if not apart:
            because = f"the metric of {frame.lane.caller} agrees with what crossed {self.edge}"
            return [Part(Verdict.SUPPORTED, because)] if self.metric == "agrees" else []
        start, end, seen_state, said_state = apart[0]
        because = (
            f"the metric of {frame.lane.caller} said {said_state} for {amount(end - start, 's')} from {seconds_text(start)} on,"
            f" while the calls that crossed {self.edge} show it {seen_state}"
        )
        verdict = Verdict.REFUTED if self.metric == "agrees" else Verdict.SUPPORTED
        return [Part(verdict, because, end - start, "s", evidence=tuple((a, b) for a, b, _, _ in apart))]


def _spans(found: Sequence[BreakerSpan]) -> tuple[Span, ...]:
    return tuple((span.start, span.end) for span in found)


def _calls_into(history: History, caller: str) -> list[TapCall]:
    return [call for edge in history.topology.edges if edge.callee == caller for call in history.tap(edge.name).calls]


def _taken(call: TapCall) -> float:
    """How long the caller of the caller waited; for ever where it was not answered."""
    return call.end - call.start if call.end is not None and call.outcome == "answered" else math.inf
