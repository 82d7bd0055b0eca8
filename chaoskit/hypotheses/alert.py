"""An alert fires in time, and resolves in time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import model_validator

from chaoskit.hypotheses.claim import Part, finding
from chaoskit.hypotheses.metric import why_none
from chaoskit.hypotheses.prometheus import unknown_server
from chaoskit.hypotheses.series import silences
from chaoskit.hypotheses.words import amount, joined, seconds_text
from chaoskit.interfaces import Hypothesis
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.observation import MetricPoint, prometheus_source
from chaoskit.model.topology import Topology
from chaoskit.model.undo import JSON
from chaoskit.model.units import Duration, duration_text
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Alert"]

_FIRING = 2.0
_UNSEEN = 3.0
"""Seconds without a word of it in which it may have done anything."""


class Alert(Hypothesis):
    """A Prometheus alert fires soon after the fault goes in, and resolves soon after it is out.

    What it measures: the state of the alert (inactive, pending, firing) as its Prometheus tells it once a second,
    against the faults. It must not fire in baseline. With `silent: true` it must not fire at all.

    Formula:
        took to fire    = first instant with the state firing, from the injection on − injection  ≤ fires_within
        took to resolve = first instant at which it fires no more, for good − the fault's end      ≤ resolves_within

    Example:
        {kind: alert, alert: PaymentsFail, fires_within: 5s, resolves_within: 10s}
        {kind: alert, alert: PaymentsFail, silent: true}

    Limits: as fine as a second, plus the rule's own `for` and evaluation interval. A Prometheus that did not answer for
    most of the time tells nothing, nor one that was silent for more than 3 s where the answer lies, nor a fault, or a
    recovery, that is shorter than what is allowed.
    """

    kind: ClassVar[str] = "alert"
    default_phases: ClassVar[tuple[Phase, ...]] = (Phase.FAULT, Phase.RECOVERY)

    alert: str
    """Its `alertname`."""
    fires_within: Duration | None = None
    """Longest time from the injection until it fires."""
    resolves_within: Duration | None = None
    """Longest time from the fault's end until it fires no more."""
    silent: bool = False
    """It must not fire."""
    server: str = "prometheus"
    """The target's service that provides it, or the URL of one that runs already."""

    @model_validator(mode="after")
    def _something(self) -> Alert:
        if self.silent == (self.fires_within is not None or self.resolves_within is not None):
            raise ValueError("expected fires_within, resolves_within or both; or silent: true")
        return self

    def check(self, topology: Topology, request_names: Sequence[str]) -> Sequence[tuple[str, str]]:
        return unknown_server(self.server, topology)

    def probes(self) -> Sequence[tuple[str, Mapping[str, JSON]]]:
        return [("prometheus", {"server": self.server, "alerts": [self.alert]})]

    def expected(self) -> str:
        if self.silent:
            return f"{self.alert} does not fire"
        parts = [f"fires ≤ {duration_text(self.fires_within)} after the fault"] if self.fires_within is not None else []
        if self.resolves_within is not None:
            parts.append(f"resolves ≤ {duration_text(self.resolves_within)} after its end")
        return f"{self.alert} {', '.join(parts)}"

    def judge(self, history: History) -> Finding:
        told = history.metric("alert", source=prometheus_source(self.server), alert=self.alert)
        seen = [point for point in told if math.isfinite(point.value)]
        spans = [span for phase in self.phases for span in history.windows.get(phase, [])]
        inside = [point for point in seen if any(start <= point.at < end for start, end in spans)]
        total = sum(end - start for start, end in spans)
        if not inside or len(inside) < 0.5 * total:
            because = f"{self.alert} was told {len(inside)} times in {amount(total, 's')}: Prometheus hardly answered"
            because += why_none(history)
            return finding(self, [Part(Verdict.INCONCLUSIVE, because, samples=len(inside), evidence=tuple(spans))])
        parts = self._false_alarm(history, seen)
        parts += [self._silent(inside, spans, joined([str(p) for p in self.phases]))] if self.silent else []
        faults = [fault.active for fault in history.faults if fault.active is not None]
        if not self.silent and not faults:
            parts.append(Part(Verdict.INCONCLUSIVE, f"{self.alert} had no fault to fire at"))
        elif not self.silent:
            ends = [fault.undone for fault in history.faults if fault.undone is not None]
            start, end = min(start for start, _ in faults), max(ends, default=None)
            fired = next((point.at for point in seen if point.value >= _FIRING and point.at >= start), None)
            if self.fires_within is not None:
                parts += self._fires(seen, fired, start, max(end for _, end in faults))
            parts += self._resolves(seen, fired, end, spans[-1][1]) if self.resolves_within is not None else []
        return finding(self, [part._replace(samples=len(inside), lane=self.alert) for part in parts])

    def _false_alarm(self, history: History, seen: Sequence[MetricPoint]) -> list[Part]:
        early = [
            point.at
            for point in seen
            if point.value >= _FIRING
            for start, end in history.windows.get(Phase.BASELINE, [])
            if start <= point.at < end
        ]
        if not early:
            return []
        because = f"{self.alert} raised a false alarm: it fired in baseline at {seconds_text(early[0])}"
        return [Part(Verdict.REFUTED, because, phase=str(Phase.BASELINE), evidence=((early[0], early[-1] + 1.0),))]

    def _silent(self, inside: Sequence[MetricPoint], spans: Sequence[Span], where: str) -> Part:
        fired = [point.at for point in inside if point.value >= _FIRING]
        if fired:
            because = f"{self.alert} fired at {seconds_text(fired[0])}, where it should have been silent"
            return Part(Verdict.REFUTED, because, float(len(fired)), "s", evidence=((fired[0], fired[-1] + 1.0),))
        if unseen := [gap for start, end in spans for gap in _unseen(inside, start, end)]:
            return self._untold(unseen[0], "whether it fired there")
        return Part(Verdict.SUPPORTED, f"{self.alert} did not fire in {where} ({len(inside)} times asked)", 0.0, "s")

    def _untold(self, gap: Span, what: str, phase: str = "") -> Part:
        lost = f"from {seconds_text(gap[0])} to {seconds_text(gap[1])}"
        because = f"Prometheus said nothing of {self.alert} {lost}: {what} is not known"
        return Part(Verdict.INCONCLUSIVE, because, phase=phase, evidence=(gap,))

    def _fires(self, seen: Sequence[MetricPoint], fired: float | None, start: float, end: float) -> list[Part]:
        assert self.fires_within is not None
        phase = str(Phase.FAULT)
        latest = start + self.fires_within
        if fired is None or fired > latest:
            unseen = _unseen(seen, start, end if fired is None else fired)
            if unseen and unseen[0][0] < latest:
                return [self._untold(unseen[0], "whether it fired by then", phase)]
        if fired is None and end - start < self.fires_within:
            because = f"the fault lasted {amount(end - start, 's')}: too short for {self.alert} to fire"
            return [Part(Verdict.INCONCLUSIVE, because, phase=phase)]
        if fired is None:
            because = f"{self.alert} did not fire in the {amount(end - start, 's')} of the fault"
            return [Part(Verdict.REFUTED, because, None, "s", None, phase, evidence=((start, end),))]
        took = fired - start
        held = took <= self.fires_within
        because = (
            f"{self.alert} fired {amount(took, 's')} after the fault went in,"
            f" {'within' if held else 'later than'} {duration_text(self.fires_within)}"
        )
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return [Part(verdict, because, took, "s", None, phase, evidence=((start, fired),))]

    def _resolves(self, seen: Sequence[MetricPoint], fired: float | None, end: float | None, last: float) -> list[Part]:
        assert self.resolves_within is not None
        phase = str(Phase.RECOVERY)
        if fired is None or end is None:
            because = f"{self.alert} never fired, so it could not resolve" if fired is None else "the fault never ended"
            return [Part(Verdict.INCONCLUSIVE, because, phase=phase)]
        still = [point.at for point in seen if point.at >= end and point.value >= _FIRING]
        quiet = next((p.at for p in seen if p.at >= end and p.value < _FIRING and p.at > max(still, default=end)), None)
        latest = end + self.resolves_within
        until = last if quiet is None or quiet <= latest else quiet
        unseen = [gap for gap in _unseen(seen, end, until) if quiet is None or quiet <= latest or gap[0] < latest]
        resolved_late = max(still, default=end) > latest
        if unseen and not resolved_late:
            return [self._untold(unseen[0], "when it resolved", phase)]
        if quiet is None and last - end < self.resolves_within:
            because = f"{amount(last - end, 's')} after the fault are too short to see {self.alert} resolve"
            return [Part(Verdict.INCONCLUSIVE, because, phase=phase)]
        took = (quiet if quiet is not None else last) - end
        held = quiet is not None and took <= self.resolves_within
        state = f"resolved {amount(took, 's')}" if quiet is not None else f"still fired {amount(took, 's')}"
        because = (
            f"{self.alert} {state} after the fault's end at {seconds_text(end)},"
            f" {'within' if held else 'later than'} {duration_text(self.resolves_within)}"
        )
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return [Part(verdict, because, took, "s", None, phase, evidence=((end, end + took),))]


def _unseen(seen: Sequence[MetricPoint], start: float, end: float) -> list[Span]:
    """Where nothing was told of the alert for longer than a few rounds of asking."""
    return silences((point.at for point in seen), (start, end), _UNSEEN)
