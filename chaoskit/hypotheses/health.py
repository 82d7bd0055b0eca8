"""Health checks tell the truth: readiness says when a service cannot serve, liveness does not fall with it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from chaoskit.hypotheses.claim import Part, finding, unknown_request, unknown_service
from chaoskit.hypotheses.troubles import Trouble, end_of, failures_met, faults_of
from chaoskit.hypotheses.words import amount, joined, seconds_text
from chaoskit.interfaces import Hypothesis
from chaoskit.model.answers import Stretch, stretches_of
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.observation import SLOT, ProbeResult
from chaoskit.model.spans import within
from chaoskit.model.topology import Topology
from chaoskit.model.units import Duration, duration_text
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Health"]

_ENOUGH = 4
"""Answers below which a check that always said yes has shown nothing."""


class Health(Hypothesis):
    """Readiness flips when the service cannot serve and returns when it can; liveness stays.

    What it measures: the answers of `<service>/ready` and `<service>/live` (asked four times a second) against the
    faults, or against the failures that users meet: how long after the start of the trouble readiness says no, how
    long after its end it says yes again, and for how long it lied, that is, said yes in between. In baseline both must
    say yes throughout. `holds_in: [fault]` leaves out what is said after the fault, `[recovery]` what is said in it.

    Formula:
        flips    first no − start of the trouble         ≤ within
        returns  first yes after its end − its end       ≤ returns (default: within)
        lied     seconds of the trouble in which it said yes

    Example:
        {kind: health, service: orders, within: 2s}                  # flips and returns within 2 s each; live stays
        {kind: health, service: orders, from: failures, of: checkout, within: 2s}    # of the failures of checkout
        {kind: health, service: catalogue, ready: stays}             # does not depend on what is broken
        {kind: health, service: payments, within: 1s, live: any}     # its process is killed: liveness may fall

    Limits: the times are as fine as the probing (250 ms); a fault that is shorter than `within` may go unseen. It is
    inconclusive where no trouble was, where the time after it is shorter than `within`, and where what decides fell
    into a time in which nobody asked (over 1.5 s, and over four times the usual distance of two answers).
    """

    kind: ClassVar[str] = "health"
    default_phases: ClassVar[tuple[Phase, ...]] = (Phase.FAULT, Phase.RECOVERY)

    service: str
    """Service or replica whose checks are judged."""
    ready: Literal["flips", "stays", "any"] = "flips"
    """What readiness does while the fault is in."""
    live: Literal["stays", "any"] = "stays"
    """What liveness does."""
    within: Duration = 2.0
    """Longest time from the start of the trouble until readiness says no, and from its end until it says yes again."""
    returns: Duration | None = None
    """Longest time until it says yes again, where that is another one."""

    from_: Literal["fault", "failures"] = Field(default="fault", alias="from")
    """What counts as trouble: the `fault`, or the `failures` that users meet (half seconds in which at least half of
    the requests fail; breaks of up to a second between them count too)."""
    of: str = ""
    """Requests whose failures count, with `from: failures` (default: all of them)."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    @model_validator(mode="after")
    def _something(self) -> Health:
        if self.ready == "any" and self.live == "any":
            raise ValueError("expected ready or live to be something other than any")
        if self.of and self.from_ != "failures":
            raise ValueError("of goes with from: failures")
        return self

    def check(self, topology: Topology, request_names: Sequence[str]) -> Sequence[tuple[str, str]]:
        problems = [*unknown_service(self.service, topology), *unknown_request(self.of, request_names)]
        if problems:
            return problems
        service = topology.service(self.service.partition(".")[0])
        missing = [name for name in ("ready", "live") if getattr(self, name) != "any" and not getattr(service, name)]
        said_nothing = [name for name in missing if name == "ready" or "live" in self.model_fields_set]
        return [(name, f"{service.name} has no {name} endpoint in its target's health") for name in said_nothing]

    def expected(self) -> str:
        parts = []
        if self.ready == "flips":
            back = self.within if self.returns is None else self.returns
            what = "the fault" if self.from_ == "fault" else "users fail"
            parts.append(f"readiness says no ≤ {duration_text(self.within)} after {what}")
            parts.append(f"yes again ≤ {duration_text(back)} after its end")
        elif self.ready == "stays":
            parts.append("readiness stays")
        if self.live == "stays":
            parts.append("liveness stays")
        return ", ".join(parts)

    def judge(self, history: History) -> Finding:
        parts: list[Part] = []
        for replica in history.topology.select_replicas(self.service):
            parts += self._readiness(history, replica) if self.ready != "any" else []
            parts += self._liveness(history, replica) if self.live != "any" else []
        return finding(self, parts)

    def _readiness(self, history: History, replica: str) -> list[Part]:
        results = history.probe(f"{replica}/ready")
        if not results:
            return [Part(Verdict.INCONCLUSIVE, f"readiness of {replica} was never asked", lane=replica)]
        stretches = stretches_of(results, end_of(history))
        parts = _false_alarms(history, replica, "readiness", stretches)
        if self.ready == "stays":
            return parts or [_stays(history, replica, "readiness", stretches, results, self.phases)]
        troubles = faults_of(history) if self.from_ == "fault" else failures_met(history, self.of, self.phases)
        if not troubles:
            what = "no fault was in" if self.from_ == "fault" else "users met no failures"
            return [*parts, Part(Verdict.INCONCLUSIVE, f"{what}: readiness had nothing to tell", lane=replica)]
        for one in troubles:
            flip, *back = self._flip(history, replica, one, troubles, results, stretches)
            parts += [flip] if _phase_of(history, one.start) in self.phases else []
            parts += back if one.end is not None and _phase_of(history, one.end) in self.phases else []
        return parts

    def _liveness(self, history: History, replica: str) -> list[Part]:
        results = history.probe(f"{replica}/live")
        if not results:
            if not history.topology.service(replica.partition(".")[0]).live:
                return []
            return [Part(Verdict.INCONCLUSIVE, f"liveness of {replica} was never asked", lane=replica)]
        stretches = stretches_of(results, end_of(history))
        alarms = _false_alarms(history, replica, "liveness", stretches)
        return alarms or [_stays(history, replica, "liveness", stretches, results, self.phases)]

    def _flip(
        self,
        history: History,
        replica: str,
        fault: Trouble,
        all_of_them: Sequence[Trouble],
        results: Sequence[ProbeResult],
        stretches: Sequence[Stretch],
    ) -> list[Part]:
        """What it said when the trouble began, then (if that could be told) when it ended."""
        start, end = span = fault.start, fault.until(end_of(history))
        asked = [seen for seen in results if within(seen.at, [span])]
        if not asked:
            because = f"readiness of {replica} was not asked while {fault.says} was in"
            return [Part(Verdict.INCONCLUSIVE, because, phase=Phase.FAULT, lane=replica)]
        unasked = _unasked(stretches, [span])
        lies = [(max(s.start, start), min(s.end, end)) for s in stretches if s.ok and s.start < end and s.end > start]
        lied = sum(b - a for a, b in lies)
        no = next((seen.at for seen in asked if not seen.ok), None)
        base = Part(Verdict.SUPPORTED, "", None, "s", None, str(Phase.FAULT), len(asked), (), replica)
        if unasked and self._undecided(span, no, lied, unasked):
            because = f"{_nobody_asked('readiness', replica, unasked)}: it may have told {fault.says} or lied"
            part = base._replace(verdict=Verdict.INCONCLUSIVE, because=because, evidence=tuple(unasked))
            return [part, *self._return(history, replica, fault, all_of_them, stretches)]
        if no is None and end - start < self.within:
            because = f"{fault.says} lasted {amount(end - start, 's')}: too short for readiness of {replica} to flip"
            return [base._replace(verdict=Verdict.INCONCLUSIVE, because=because, evidence=(span,))]
        lie = f"it lied for {amount(lied, 's')}"
        if no is None:
            times = f"each of the {len(asked)} times it was asked in the" if unasked else "for all"
            because = (
                f"readiness of {replica} said yes {times} {amount(end - start, 's')} of {fault.says} from"
                f" {seconds_text(start)} on{_failing(history, span)}: {lie}"
            )
            return [base._replace(verdict=Verdict.REFUTED, because=because, measured=lied, evidence=tuple(lies))]
        told = no - start
        said = f"readiness of {replica} said no {amount(told, 's')} after {fault.says} began at {seconds_text(start)}"
        if told > self.within + 1e-9:
            because = f"{said}, later than {duration_text(self.within)}{_failing(history, (start, no))}: {lie}"
            part = base._replace(verdict=Verdict.REFUTED, because=because, measured=told, evidence=((start, no),))
        elif lied - told > self.within:
            because = f"{said}, but went back to yes before it ended: {lie}"
            part = base._replace(verdict=Verdict.REFUTED, because=because, measured=lied, evidence=tuple(lies))
        else:
            because = f"{said}, within {duration_text(self.within)}"
            part = base._replace(because=because, measured=told, evidence=((no, end),))
        return [part, *self._return(history, replica, fault, all_of_them, stretches)]

    def _undecided(self, trouble: Span, no: float | None, lied: float, unasked: Sequence[Span]) -> bool:
        """Whether what was said while nobody asked may be what decides: `no` is when it was heard to say no."""
        start, end = trouble
        in_time = no is not None and no - start <= self.within + 1e-9
        soonest = no if no is not None and in_time else min(end if no is None else no, unasked[0][0])
        if soonest - start > self.within + 1e-9 or lied - (soonest - start) > self.within:
            return False  # it was heard to lie too long, whatever else it said
        return not in_time or sum(b - a for a, b in unasked) > self.within

    def _return(
        self,
        history: History,
        replica: str,
        fault: Trouble,
        all_of_them: Sequence[Trouble],
        stretches: Sequence[Stretch],
    ) -> list[Part]:
        if fault.end is None or any(one.start < fault.end < one.until(end_of(history)) for one in all_of_them):
            return []  # it has not ended, or another one goes on
        end = fault.end
        allowed = self.within if self.returns is None else self.returns
        last = min([end_of(history), *(one.start for one in all_of_them if one.start > end)])
        yes = next((max(s.start, end) for s in stretches if s.ok and s.end > end and s.start < last), None)
        lane = replica
        unasked = _unasked(stretches, [(end, last if yes is None else yes)])
        still_no = any(not s.ok and s.start < last and s.end > end + allowed for s in stretches)
        if unasked and not still_no and (yes is None or yes - end > allowed):
            because = f"{_nobody_asked('readiness', replica, unasked)}: it may have returned in time"
            return [Part(Verdict.INCONCLUSIVE, because, phase=Phase.RECOVERY, evidence=tuple(unasked), lane=lane)]
        if yes is None and last - end < allowed:
            because = (
                f"only {amount(last - end, 's')} were watched after {fault.says}: too short to see readiness return"
            )
            return [Part(Verdict.INCONCLUSIVE, because, phase=Phase.RECOVERY, lane=lane)]
        if yes is None:
            because = (
                f"readiness of {replica} had not returned {amount(last - end, 's')} after the end of {fault.says}"
                f" at {seconds_text(end)}"
            )
            return [Part(Verdict.REFUTED, because, last - end, "s", None, Phase.RECOVERY, 0, ((end, last),), lane)]
        took = yes - end
        held = took <= allowed + 1e-9
        its = "its end" if held else f"the end of {fault.says} at {seconds_text(end)}"
        because = (
            f"readiness of {replica} said yes again {amount(took, 's')} after {its},"
            f" {'within' if held else 'later than'} {duration_text(allowed)}"
        )
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return [Part(verdict, because, took, "s", None, Phase.RECOVERY, 0, ((end, yes),) if took else (), lane)]


def _unasked(stretches: Sequence[Stretch], spans: Sequence[Span]) -> list[Span]:
    """Where in the spans no answer stands."""
    found: list[Span] = []
    for start, end in spans:
        inside = [(max(s.start, start), min(s.end, end)) for s in stretches if s.start < end and s.end > start]
        for (_, known), (again, _) in pairwise([(start, start), *inside, (end, end)]):
            found += [(known, again)] if again - known > SLOT else []
    return found


def _nobody_asked(what: str, replica: str, unasked: Sequence[Span]) -> str:
    return f"{what} of {replica} was not asked from {joined([f'{a:.1f} to {seconds_text(b)}' for a, b in unasked])}"


def _false_alarms(history: History, replica: str, what: str, stretches: Sequence[Stretch]) -> list[Part]:
    """It said no in baseline, with nothing broken."""
    spans = history.windows.get(Phase.BASELINE, [])
    noes = tuple((s.start, s.end) for s in stretches if not s.ok and any(s.start < b and s.end > a for a, b in spans))
    if not noes:
        return []
    because = f"{what} of {replica} raised a false alarm: it said no in baseline at {seconds_text(noes[0][0])}"
    return [Part(Verdict.REFUTED, because, phase=Phase.BASELINE, evidence=noes, lane=replica)]


def _phase_of(history: History, at: float) -> Phase | None:
    """The phase that an instant is of: what ends or begins within a slot of a phase's start belongs to that."""
    begun = [(span[0], phase) for phase, spans in history.windows.items() for span in spans if span[0] <= at + SLOT]
    return max(begun)[1] if begun else None


def _stays(
    history: History,
    replica: str,
    what: str,
    stretches: Sequence[Stretch],
    results: Sequence[ProbeResult],
    asked_for: Sequence[Phase],
) -> Part:
    """It says yes all through the phases."""
    phases = [phase for phase in asked_for if history.windows.get(phase)]
    judged = [span for phase in phases for span in history.windows[phase]]
    asked = sum(within(seen.at, judged) for seen in results)
    where = joined([str(phase) for phase in phases])
    if not judged:
        return Part(
            Verdict.INCONCLUSIVE, f"{what} of {replica}: the run never reached {' or '.join(asked_for)}", lane=replica
        )
    noes = tuple((s.start, s.end) for s in stretches if not s.ok and any(s.start < b and s.end > a for a, b in judged))
    if noes:
        down = sum(end - start for start, end in noes)
        because = f"{what} of {replica} said no for {amount(down, 's')}, first at {seconds_text(noes[0][0])}"
        return Part(Verdict.REFUTED, because, down, "s", None, Phase.FAULT, asked, noes, replica)
    unasked = _unasked(stretches, judged)
    if asked >= _ENOUGH and unasked:
        because = f"{_nobody_asked(what, replica, unasked)}: whether it stayed was not seen"
        return Part(Verdict.INCONCLUSIVE, because, None, "", None, Phase.FAULT, asked, tuple(unasked), replica)
    if asked < _ENOUGH:
        because = f"{what} of {replica} was asked {asked} times in {where}: it takes {_ENOUGH} to tell that it stays"
        return Part(Verdict.INCONCLUSIVE, because, None, "", None, Phase.FAULT, asked, tuple(judged), replica)
    because = f"{what} of {replica} said yes each of the {asked} times it was asked in {where}"
    return Part(Verdict.SUPPORTED, because, 0.0, "s", None, Phase.FAULT, asked, (), replica)


def _failing(history: History, span: Span) -> str:
    """What users met meanwhile: the reason why a yes was a lie."""
    load = history.between([span]).load()
    return f", while {load.error_rate:.0%} of the requests failed" if load.requests and load.failures else ""
