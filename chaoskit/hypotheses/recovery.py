"""After the fault the service comes back by itself, soon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from pydantic import ConfigDict, Field

from chaoskit.hypotheses.claim import Part, finding
from chaoskit.hypotheses.notices import may_have_noticed, notices, watched
from chaoskit.hypotheses.words import amount, seconds_text, share_text
from chaoskit.interfaces import Hypothesis
from chaoskit.model.history import History, Phase, Span, SteadyBound
from chaoskit.model.load_view import LoadView
from chaoskit.model.observation import SLOT
from chaoskit.model.units import Duration, Share, duration_text
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Recovery"]


class _Seen(NamedTuple):
    """How the service came back. `at` is None where it did not while it was watched."""

    end: float
    """When the last fault was out."""
    until: float
    """How far it was watched."""
    at: float | None
    broken: SteadyBound | None
    """What kept it from holding, at the end of what was watched."""


class Recovery(Hypothesis):
    """The steady state holds again soon after the fault is out, and goes on holding.

    What it measures: seconds from the end of the last fault until every bound of the experiment's `steady_state` holds
    for `for` seconds on end (requests planned in them, point estimates); the rest of the recovery, taken together,
    must hold too. The finding also says how many requests failed from the injection until then. Noticed is a fault
    when readiness says no, a breaker opens (it says so, or calls no longer cross the edge with the fault), or an alert
    fires.

    Formula:
        recovered after = first instant from which every bound holds for `for` − the fault's end        ≤ within
        lost            = requests planned from the injection to then that did not succeed             ≤ lost
        noticed after   = first readiness no, breaker opening or alert firing − injection    ≤ noticed_within
        budget spent    = failures ÷ ((1 − objective) × requests), from baseline to recovery           ≤ 100%

    Example:
        {kind: recovery, within: 3s}
        {kind: recovery, within: 3s, for: 2s, lost: 500, noticed_within: 2s}
        {kind: recovery, within: 3s, objective: 99%}       # of all requests of the run: its error budget

    Limits: it is as fine as a slot (100 ms). A window of `for` needs a request; with few requests per second a longer
    `for` says more. A recovery phase shorter than `within` and `for` together, or one without requests, is
    inconclusive where the steady state was not seen to hold again. Where nothing told of the fault in time it is
    inconclusive, too, if a breaker may have opened: its listener was closed, or calls stopped crossing an edge without
    a fault (a service that stops before it comes to the call looks like an open breaker).
    """

    kind: ClassVar[str] = "recovery"
    default_phases: ClassVar[tuple[Phase, ...]] = (Phase.RECOVERY,)

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    within: Duration
    """Longest time from the fault's end."""
    for_: Duration = Field(default=1.0, alias="for")
    """How long it must hold to count as back."""
    lost: int | None = Field(default=None, ge=0)
    """Most requests that may fail between the injection and the recovery."""
    noticed_within: Duration | None = None
    """Longest time from the injection until a health check, a breaker or an alert tells of it."""
    objective: Share | None = None
    """Share of the run's requests (from baseline to recovery) that must succeed: what may fail is the error budget."""

    def expected(self) -> str:
        text = f"steady again ≤ {duration_text(self.within)} after the fault, for {duration_text(self.for_)}"
        text += "" if self.lost is None else f", with ≤ {self.lost} requests lost"
        text += "" if self.noticed_within is None else f", noticed ≤ {duration_text(self.noticed_within)}"
        return text if self.objective is None else f"{text}, error budget of {share_text(self.objective)} kept"

    def seconds_needed(self) -> float:
        return self.for_ + SLOT  # the fault is out within a slot of the phase's start

    def judge(self, history: History) -> Finding:
        ends = [fault.undone for fault in history.faults if fault.undone is not None]
        windows = history.windows.get(Phase.RECOVERY, [])
        if not history.steady_state:
            return self._cannot("the experiment names no steady state, so nothing says what recovered means")
        if not ends or any(fault.injected is not None and fault.undone is None for fault in history.faults):
            return self._cannot("there was no end of a fault to recover from")
        if not windows:
            return self._cannot("the run never reached recovery")
        seen = self._seen(history, max(ends), max(end for _, end in windows))
        extra = [*self._lost_part(history, seen), *self._noticed(history), *self._budget(history)]
        return finding(self, [self._part(history, seen), *extra])

    def _cannot(self, because: str) -> Finding:
        return finding(self, [Part(Verdict.INCONCLUSIVE, because, phase=Phase.RECOVERY)])

    def _seen(self, history: History, end: float, until: float) -> _Seen:
        """The first instant from which every bound holds for `for`, looked for slot by slot."""
        start = math.ceil(end / SLOT - 1e-6) * SLOT
        broken: SteadyBound | None = None
        steps = math.floor((until - self.for_ - start) / SLOT + 1e-6)
        for step in range(steps + 1):
            at = round(start + step * SLOT, 6)
            broken = _broken(history, (at, at + self.for_))
            if broken is None:
                return _Seen(end, until, at, None)
        return _Seen(end, until, None, broken)

    def _part(self, history: History, seen: _Seen) -> Part:
        watched = seen.until - seen.end
        phase = Phase.RECOVERY
        samples = history.between([(seen.end, seen.until)]).load().requests
        if seen.at is None:
            evidence = ((seen.end, seen.until),)
            if not samples or watched < self.within + self.for_ - SLOT:
                because = (
                    f"{amount(watched, 's')} of recovery are too short to see it hold for {duration_text(self.for_)}"
                )
                because += f" within {duration_text(self.within)}" if samples else ": no request was planned in them"
                return Part(Verdict.INCONCLUSIVE, because, phase=phase, samples=samples, evidence=evidence)
            what = _bound_text(seen.broken) if seen.broken else "the steady state"
            because = (
                f"the steady state did not hold again in the {amount(watched, 's')} watched after the fault's end at"
                f" {seconds_text(seen.end)} (allowed: {duration_text(self.within)}); what still broke: {what}"
            )
            return Part(Verdict.REFUTED, because, math.inf, "s", None, phase, samples, evidence)
        took = max(seen.at - seen.end, 0.0)
        lasted = f"the steady state held again {amount(took, 's')} after the fault's end at {seconds_text(seen.end)}"
        relapse = _broken(history, (seen.at, seen.until))
        if took <= self.within + 1e-9 and relapse is not None:
            because = (
                f"{lasted}, but it did not last: until {seconds_text(seen.until)} {_bound_text(relapse)} was broken"
            )
            broken = _broken_seconds(history, (seen.at, seen.until))
            return Part(Verdict.REFUTED, because, took, "s", None, phase, samples, broken)
        if took <= self.within + 1e-9:
            because = f"{lasted}, at most {duration_text(self.within)}{_lost_text(history, seen)}"
            return Part(Verdict.SUPPORTED, because, took, "s", None, phase, samples, ((seen.at, seen.until),))
        because = f"{lasted}, later than {duration_text(self.within)}{_lost_text(history, seen)}"
        return Part(Verdict.REFUTED, because, took, "s", None, phase, samples, ((seen.end, seen.at),))

    def _lost_part(self, history: History, seen: _Seen) -> list[Part]:
        if self.lost is None:
            return []
        lost, span = _lost(history, seen)
        held = lost <= self.lost
        side = "at most" if held else "above"
        because = f"{lost} requests were lost from the injection at {seconds_text(span[0])} on, {side} {self.lost}"
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return [Part(verdict, because, float(lost), "requests", None, Phase.RECOVERY, lost, (span,))]

    def _noticed(self, history: History) -> list[Part]:
        if self.noticed_within is None:
            return []
        start = min(fault.injected for fault in history.faults if fault.injected is not None)
        first = min(notices(history, start), default=None)
        phase = str(Phase.FAULT)
        soon = (start, start + self.noticed_within)
        if (first is None or first[0] > soon[1]) and (perhaps := may_have_noticed(history, soon)):
            because = f"nothing told of the fault within {duration_text(self.noticed_within)}, but {perhaps}"
            return [Part(Verdict.INCONCLUSIVE, because, phase=phase, evidence=(soon,))]
        if first is None and not watched(history):
            because = "nobody could have noticed the fault: no readiness was asked, no breaker or alert told anything"
            return [Part(Verdict.INCONCLUSIVE, because, phase=phase)]
        until = max((end for spans in history.windows.values() for _, end in spans), default=start)
        if first is None and until - start < self.noticed_within:
            because = f"nothing noticed the fault in the {amount(until - start, 's')} that were watched: too short"
            return [Part(Verdict.INCONCLUSIVE, because, phase=phase)]
        if first is None:
            because = (
                f"nothing noticed the fault in the {amount(until - start, 's')} from {seconds_text(start)} on: no"
                " readiness said no, no breaker opened, no alert fired"
            )
            return [Part(Verdict.REFUTED, because, math.inf, "s", None, phase, 0, (soon,))]
        at, who = first
        held = at - start <= self.noticed_within
        because = (
            f"{who} noticed the fault after {amount(at - start, 's')} (at {seconds_text(at)}),"
            f" {'within' if held else 'later than'} {duration_text(self.noticed_within)}"
        )
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return [Part(verdict, because, at - start, "s", None, phase, 1, ((start, at),))]

    def _budget(self, history: History) -> list[Part]:
        if self.objective is None:
            return []
        phases = (Phase.BASELINE, Phase.FAULT, Phase.RECOVERY)
        view = history.between([span for phase in phases for span in history.windows.get(phase, [])]).load()
        if not view.requests:
            return [Part(Verdict.INCONCLUSIVE, "no request was planned: there was no error budget to spend")]
        allowed = (1.0 - self.objective) * view.requests
        spent = view.failures / allowed if allowed else math.inf if view.failures else 0.0
        held = spent <= 1.0
        because = (
            f"{view.failures} of {view.requests} requests failed{_since(view)}: {share_text(spent)} of the error budget"
            f" of {share_text(self.objective)} {'was' if held else 'would have been'} spent"
        )
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return [Part(verdict, because, spent, "share", None, "", view.requests, view.spans)]


def _broken(history: History, span: Span) -> SteadyBound | None:
    """The first bound that does not hold in a span; the first of all where there was no request."""
    view = history.between([span])
    return next((bound for bound in history.steady_state if not bound.holds(view.load(bound.of))), None)


def _broken_seconds(history: History, span: Span) -> tuple[Span, ...]:
    seconds = [(span[0] + step, min(span[0] + step + 1.0, span[1])) for step in range(math.ceil(span[1] - span[0]))]
    found: Sequence[Span] = [second for second in seconds if _broken(history, second) is not None]
    return tuple(found) or (span,)


def _since(view: LoadView) -> str:
    """When the first second with a failure began, for people."""
    first = next((block.spans[0][0] for block in view.blocks(1.0) if block.failures), None)
    return "" if first is None else f" from {seconds_text(first)} on"


def _lost(history: History, seen: _Seen) -> tuple[int, Span]:
    start = min((fault.injected for fault in history.faults if fault.injected is not None), default=seen.end)
    span = (start, seen.at if seen.at is not None else seen.until)
    return history.between([span]).load().failures, span


def _lost_text(history: History, seen: _Seen) -> str:
    lost, _ = _lost(history, seen)
    return f"; {lost} requests failed from the injection to there" if lost else "; no request failed on the way"


def _bound_text(bound: SteadyBound) -> str:
    unit = "s" if bound.measure.startswith("p") else "1/s" if bound.measure == "throughput" else "share"
    of = f" of {bound.of}" if bound.of else ""
    sign, value = ("≤", bound.most) if bound.most is not None else ("≥", bound.least)
    return f"{bound.measure.replace('_', ' ')}{of} {sign} {amount(value or 0.0, unit)}"
