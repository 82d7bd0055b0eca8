"""What a circuit breaker is judged by, one function for each question; their sentences follow on "the breaker on …"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from chaoskit.hypotheses.claim import Part
from chaoskit.hypotheses.words import amount, joined, seconds_text
from chaoskit.model.breaker_lane import BreakerLane, BreakerSpan
from chaoskit.model.crossings import Counted
from chaoskit.model.histogram import Histogram
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.observation import TapCall
from chaoskit.model.spans import within
from chaoskit.model.units import duration_text
from chaoskit.model.verdict import Verdict

__all__ = ["Frame", "closes", "fails_fast", "openings", "opens", "stays", "trials", "tries_every"]

_CALLS = 20
"""Calls while it is open below which nothing shows how fast it fails."""
_EARLY = 0.5
"""Seconds by which the last call before an opening may have been before the injection."""
_NAMED = 3
"""Openings that are named by their instants."""
_INTERVAL = 0.25
"""Share by which the time between trials may differ from the one that is claimed."""


class Frame(NamedTuple):
    """What one caller's breaker is judged by."""

    lane: BreakerLane
    calls: Counted
    """The calls that crossed, over the whole run."""
    spans: tuple[Span, ...]
    """The judged phases."""
    injected: float | None
    undone: float | None
    end: float
    """End of what was watched."""
    where: str
    """The judged phases, for people: `fault and recovery`."""
    hidden: tuple[Span, ...] = ()
    """Times in which it may have opened and closed again without being seen."""

    @property
    def crossed(self) -> int:
        """Calls that crossed in the judged phases."""
        return sum(self.calls.between(start, end) for start, end in self.spans)

    def states(self, state: str) -> list[BreakerSpan]:
        """The lane's spans of one state that touch the judged phases."""
        return [s for s in self.lane.in_state(state) if any(s.start < b and s.end > a for a, b in self.spans)]

    def unseen(self, start: float, end: float) -> tuple[Span, ...]:
        """What was hidden of a time."""
        return tuple((max(start, a), min(end, b)) for a, b in self.hidden if a < end and b > start)


def stays(frame: Frame) -> Part:
    """It does not open."""
    opened = frame.states("open")
    calls = frame.crossed
    if not opened and (unseen := _unseen(frame)):
        return _unknown("was not seen to open", unseen, samples=calls)
    if not opened:
        because = f"stayed closed in {frame.where}: {calls} calls crossed"
        return Part(Verdict.SUPPORTED, because, 0.0, "s", samples=calls)
    total = sum(min(s.end, b) - max(s.start, a) for s in opened for a, b in frame.spans if s.start < b and s.end > a)
    because = (
        f"opened at {seconds_text(opened[0].start)} and was open for {amount(total, 's')} of {frame.where}, where it"
        " should have stayed closed"
    )
    return Part(Verdict.REFUTED, because, total, "s", samples=calls, evidence=_spans(opened))


def opens(frame: Frame, allowed: float) -> Part:
    """It opens soon after the injection."""
    if frame.injected is None:
        return Part(Verdict.INCONCLUSIVE, "had no reason to open: no fault was in")
    opened = next((span for span in frame.lane.in_state("open") if span.end > frame.injected), None)
    until = frame.undone if frame.undone is not None else frame.end
    lasted = until - frame.injected
    if opened is None or opened.start >= until:
        if lasted < allowed:
            return Part(Verdict.INCONCLUSIVE, f"had only {amount(lasted, 's')} of a fault to open in")
        if unseen := frame.unseen(frame.injected, frame.injected + allowed):
            return _unknown("was not seen to open in the fault", unseen)
        crossed = frame.calls.between(frame.injected, until)
        because = (
            f"did not open in the {amount(lasted, 's')} of the fault from {seconds_text(frame.injected)} on (allowed:"
            f" {duration_text(allowed)}): {crossed} calls crossed in that time"
        )
        return Part(Verdict.REFUTED, because, math.inf, "s", evidence=((frame.injected, until),))
    if opened.start < frame.injected - _EARLY:
        because = f"was open before the fault went in, from {seconds_text(opened.start)} on: it had nothing to open at"
        return Part(Verdict.INCONCLUSIVE, because, evidence=((opened.start, frame.injected),))
    took = max(opened.start - frame.injected, 0.0)
    if took > allowed and (unseen := frame.unseen(frame.injected, frame.injected + allowed)):
        return _unknown(f"was seen open {amount(took, 's')} after the fault went in", unseen)
    because = f"opened {amount(took, 's')} after the fault went in, {_within(took <= allowed)} {duration_text(allowed)}"
    evidence = ((frame.injected, opened.start),) if took else ()
    return Part(_verdict(took <= allowed), because, took, "s", evidence=evidence)


def fails_fast(history: History, frame: Frame, allowed: float) -> Part:
    """While it is open, whoever calls the caller is answered at once."""
    opened = _spans(frame.states("open"))
    caller = frame.lane.caller
    if not opened:
        return Part(Verdict.INCONCLUSIVE, "was never open: nothing shows how fast it fails")
    calls, p95 = _answers_of(history, caller, opened)
    if calls < _CALLS:
        because = f"was open for {calls} calls to {caller} alone: it takes {_CALLS} to tell how fast it fails"
        return Part(Verdict.INCONCLUSIVE, because, samples=calls, evidence=opened)
    held = p95 <= allowed
    answered = f"within {amount(p95, 's')}" if math.isfinite(p95) else "too late or never"
    because = (
        f"had {caller} answer 95% of {calls} calls {answered} while it was open (first at"
        f" {seconds_text(opened[0][0])}), {'at most' if held else 'above'} {duration_text(allowed)}"
    )
    return Part(_verdict(held), because, p95, "s", samples=calls, evidence=opened)


def trials(frame: Frame, most: int) -> Part:
    """When it tries again, few calls cross before the first of them has ended."""
    tried = [span for span in frame.states("half_open") if span.calls]
    if not tried:
        return Part(Verdict.INCONCLUSIVE, "never tried again in the time that was watched")
    worst = max(tried, key=lambda span: span.calls)
    evidence = _spans([worst])
    if worst.calls <= most:
        times = f"{len(tried)} times" if len(tried) != 1 else "once"
        because = f"let {_calls(worst.calls)} cross at a trial ({times} in {frame.where}), at most {most}"
        return Part(Verdict.SUPPORTED, because, float(worst.calls), "calls", samples=len(tried), evidence=evidence)
    because = (
        f"let {worst.calls} calls cross when it tried again at {seconds_text(worst.start)}, before the first of them"
        f" had ended: a herd, where a trial is {most}"
    )
    if not frame.lane.exact:
        because = (
            f"let up to {worst.calls} calls cross at the trial at {seconds_text(worst.start)}: too many calls crossed"
            " in all for the tap to keep each"
        )
        return Part(Verdict.INCONCLUSIVE, because, float(worst.calls), "calls", samples=len(tried), evidence=evidence)
    return Part(Verdict.REFUTED, because, float(worst.calls), "calls", samples=len(tried), evidence=evidence)


def tries_every(frame: Frame, claimed: float) -> Part:
    """It tries again as often as it claims."""
    tried = {span.start for span in frame.lane.in_state("half_open")}
    unseen = {span.end for span in frame.lane.in_state("unknown")}  # nobody knows since when it was open after those
    waited = [span for span in frame.states("open") if span.end in tried and span.start not in unseen]
    if not waited:
        return Part(Verdict.INCONCLUSIVE, "never tried again in the time that was watched")
    worst = max(waited, key=lambda span: abs(span.end - span.start - claimed))
    took = worst.end - worst.start
    held = abs(took - claimed) <= max(_INTERVAL * claimed, 0.2)
    because = (
        f"waited {amount(took, 's')} before it tried again at {seconds_text(worst.end)},"
        f" {'about' if held else 'not'} the {duration_text(claimed)} that are claimed"
    )
    return Part(_verdict(held), because, took, "s", samples=len(waited), evidence=_spans([worst]))


def closes(frame: Frame, allowed: float) -> Part:
    """It closes soon after the fault's end, and stays closed."""
    phase = str(Phase.RECOVERY)
    opened = [span for span in frame.states("open") if frame.injected is None or span.end > frame.injected]
    if not opened:
        return Part(Verdict.INCONCLUSIVE, "was never seen open, so nothing shows that it closed", phase=phase)
    if frame.undone is None:
        return Part(Verdict.INCONCLUSIVE, "was not seen after a fault's end", phase=phase)
    late = [s for s in frame.lane.spans if s.state in ("open", "half_open") and s.end > frame.undone]
    closed = latest = max((span.end for span in late), default=frame.undone)
    unseen = [(max(s.start, closed), s.end) for s in frame.lane.in_state("unknown") if s.start <= closed + 1e-6 < s.end]
    if unseen:
        latest = unseen[0][1] if unseen[0][1] < frame.end - 1e-6 else math.inf
    if closed - frame.undone <= allowed < latest - frame.undone:
        return _unknown("was not seen to close in time", unseen, phase=phase)
    watched = frame.end - frame.undone
    ended = f"after the fault's end at {seconds_text(frame.undone)}"
    if closed >= frame.end - 1e-6:
        if watched < allowed:
            because = f"was watched for {amount(watched, 's')} after the fault: too short to see it close"
            return Part(Verdict.INCONCLUSIVE, because, phase=phase)
        because = f"had not closed {amount(watched, 's')} {ended} (allowed: {duration_text(allowed)})"
        return Part(Verdict.REFUTED, because, math.inf, "s", phase=phase, evidence=_spans(late))
    held = latest - frame.undone <= allowed
    took = (latest if held else closed) - frame.undone
    bound = "" if not unseen else "at most " if held else "not before "
    because = f"closed {bound}{amount(took, 's')} {ended}, {_within(held)} {duration_text(allowed)}"
    return Part(_verdict(held), because, took, "s", phase=phase, evidence=_spans(late))


def openings(frame: Frame, most: int) -> Part:
    """It goes from closed to open only so often."""
    known = [span for span in frame.lane.spans if span.state != "unknown"]
    judged = frame.states("open")
    opened = [
        span
        for before, span in zip([None, *known], known, strict=False)
        if span.state == "open" and (before is None or before.state == "closed") and span in judged
    ]
    held = len(opened) <= most
    times = f"{len(opened)} time{'s' if len(opened) != 1 else ''}"
    if held and (unseen := _unseen(frame)):
        return _unknown(f"was seen to go from closed to open {times}", unseen)
    because = f"went from closed to open {times} in {frame.where}, at most {most}"
    if not held:
        instants = [seconds_text(span.start) for span in opened[:_NAMED]]
        more = f" and {len(opened) - _NAMED} more times" if len(opened) > _NAMED else ""
        because = f"went from closed to open {times} (at {joined(instants)}{more}), above {most}: it flaps"
    return Part(_verdict(held), because, float(len(opened)), "times", evidence=_spans(opened))


def _unseen(frame: Frame) -> list[Span]:
    return [unseen for span in frame.spans for unseen in frame.unseen(*span)]


def _unknown(saw: str, unseen: Sequence[Span], *, samples: int = 0, phase: str = "") -> Part:
    """What was seen decides nothing, for what was not."""
    length = sum(end - start for start, end in unseen)
    because = (
        f"{saw}, but could not be seen for {amount(length, 's')} from {seconds_text(unseen[0][0])} on: its listener was"
        " closed, or no call was due, and no metric tells its state"
    )
    return Part(Verdict.INCONCLUSIVE, because, phase=phase, samples=samples, evidence=tuple(unseen))


def _verdict(held: bool) -> Verdict:
    return Verdict.SUPPORTED if held else Verdict.REFUTED


def _within(held: bool) -> str:
    return "within" if held else "later than"


def _calls(number: int) -> str:
    return f"{number} call{'s' if number != 1 else ''}"


def _spans(found: Sequence[BreakerSpan]) -> tuple[Span, ...]:
    return tuple((span.start, span.end) for span in found)


def _answers_of(history: History, caller: str, spans: Sequence[Span]) -> tuple[int, float]:
    """How many calls came into the caller in these spans, and the p95 of its answers (inf for none)."""
    views = [history.tap(edge.name) for edge in history.topology.edges if edge.callee == caller]
    if not any(view.left_out for view in views):
        took = sorted(_taken(call) for view in views for call in view.calls if within(call.start, spans))
        return len(took), took[math.ceil(0.95 * len(took)) - 1] if took else math.nan
    ended = [history.between(spans).tap(edge.name) for edge in history.topology.edges if edge.callee == caller]
    histogram = Histogram.merged(view.took.to_bytes() for view in ended)
    unanswered = sum(sum(view.outcomes.values()) - view.outcomes["answered"] for view in ended)
    return histogram.total + unanswered, histogram.quantile(0.95, above=unanswered)


def _taken(call: TapCall) -> float:
    """How long the caller of the caller waited; for ever where it was not answered."""
    return call.end - call.start if call.end is not None and call.outcome == "answered" else math.inf
