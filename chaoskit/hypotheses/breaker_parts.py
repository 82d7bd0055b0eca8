"""What a circuit breaker is judged by, one function for each question; their sentences follow on "the breaker on …"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from chaoskit.hypotheses.claim import Part
from chaoskit.hypotheses.words import amount, seconds_text
from chaoskit.model.breaker_lane import BreakerLane, BreakerSpan
from chaoskit.model.crossings import Counted
from chaoskit.model.histogram import Histogram
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.observation import TapCall
from chaoskit.model.spans import within
from chaoskit.model.units import duration_text
from chaoskit.model.verdict import Verdict

__all__ = ["Frame", "closes", "fails_fast", "metric", "openings", "opens", "stays", "trials", "tries_every"]

_SCRAPING = 2.5
"""Seconds within which a metric that is read once a second may differ from the tap."""
_CALLS = 20
"""Calls while it is open below which nothing shows how fast it fails."""
_EARLY = 0.5
"""Seconds by which the last call before an opening may have been before the injection."""
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

    @property
    def crossed(self) -> int:
        """Calls that crossed in the judged phases."""
        return sum(self.calls.between(start, end) for start, end in self.spans)

    def states(self, state: str) -> list[BreakerSpan]:
        """The lane's spans of one state that touch the judged phases."""
        return [s for s in self.lane.in_state(state) if any(s.start < b and s.end > a for a, b in self.spans)]


def stays(frame: Frame) -> Part:
    """It does not open."""
    opened = frame.states("open")
    calls = frame.crossed
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
        crossed = frame.calls.between(frame.injected, until)
        because = (
            f"did not open in the {amount(lasted, 's')} of the fault (allowed: {duration_text(allowed)}): {crossed}"
            " calls crossed in that time"
        )
        return Part(Verdict.REFUTED, because, math.inf, "s", evidence=((frame.injected, until),))
    if opened.start < frame.injected - _EARLY:
        because = f"was open before the fault went in, from {seconds_text(opened.start)} on: it had nothing to open at"
        return Part(Verdict.INCONCLUSIVE, because, evidence=((opened.start, frame.injected),))
    took = max(opened.start - frame.injected, 0.0)
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
    waited = [span for span in frame.states("open") if span.end in tried]
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
        return Part(Verdict.INCONCLUSIVE, "never opened, so it could not close", phase=phase)
    if frame.undone is None:
        return Part(Verdict.INCONCLUSIVE, "was not seen after a fault's end", phase=phase)
    late = [s for s in frame.lane.spans if s.state in ("open", "half_open") and s.end > frame.undone]
    closed = max((span.end for span in late), default=frame.undone)
    watched = frame.end - frame.undone
    ended = f"after the fault's end at {seconds_text(frame.undone)}"
    if closed >= frame.end - 1e-6:
        if watched < allowed:
            because = f"was watched for {amount(watched, 's')} after the fault: too short to see it close"
            return Part(Verdict.INCONCLUSIVE, because, phase=phase)
        because = f"had not closed {amount(watched, 's')} {ended} (allowed: {duration_text(allowed)})"
        return Part(Verdict.REFUTED, because, math.inf, "s", phase=phase, evidence=_spans(late))
    took = closed - frame.undone
    because = f"closed {amount(took, 's')} {ended}, {_within(took <= allowed)} {duration_text(allowed)}"
    return Part(_verdict(took <= allowed), because, took, "s", phase=phase, evidence=_spans(late))


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
    because = (
        f"went from closed to open {times} in {frame.where},"
        f" {'at most' if held else 'above'} {most}{'' if held else ': it flaps'}"
    )
    return Part(_verdict(held), because, float(len(opened)), "times", evidence=_spans(opened))


def metric(frame: Frame, *, must_agree: bool) -> list[Part]:
    """What the caller's metric says of it is what crosses the edge, but for the delay of reading a metric."""
    told = [span for span in frame.lane.said if span.state != "unknown"]
    known = sum(max(0.0, min(s.end, b) - max(s.start, a)) for s in told for a, b in frame.spans)
    total = sum(end - start for start, end in frame.spans)
    if not told or known < total / 2:
        missing = f"is told by no metric of {frame.lane.caller}"
        missing += f" for {amount(total - known, 's')} of {amount(total, 's')}" if told else ""
        return [Part(Verdict.INCONCLUSIVE, missing)] if must_agree else []
    apart = _apart(frame.lane)
    if not apart:
        agrees = f"is told truly by the metric of {frame.lane.caller}"
        return [Part(Verdict.SUPPORTED, agrees)] if must_agree else []
    start, end = apart[0]
    shut = frame.lane.seen_at(start) == "closed"
    because = (
        f"was {'closed' if shut else 'open'}, by the calls that crossed, for {amount(end - start, 's')} from"
        f" {seconds_text(start)} on, while the metric of {frame.lane.caller} said {'open' if shut else 'closed'}"
    )
    return [Part(_verdict(not must_agree), because, end - start, "s", evidence=tuple(apart))]


def _apart(lane: BreakerLane) -> list[Span]:
    """Where tap and metric tell different stories for longer than reading a metric now and then explains. A trial is
    over before most metrics are read: half-open counts as open here."""
    edges = sorted({edge for span in (*lane.seen, *lane.said) for edge in (span.start, span.end)})
    found: list[Span] = []
    for start, end in pairwise(edges):
        seen, said = lane.seen_at(start), lane.said_at(start)
        if "unknown" in (seen, said) or (seen == "closed") == (said == "closed"):
            continue
        if found and found[-1][1] == start and (lane.seen_at(found[-1][0]) == "closed") == (seen == "closed"):
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return [(start, end) for start, end in found if end - start > _SCRAPING]


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
