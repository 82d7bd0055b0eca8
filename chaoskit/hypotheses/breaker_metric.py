"""What a breaker's own metric says of it, against what crosses its edge."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from chaoskit.hypotheses.breaker_parts import Frame
from chaoskit.hypotheses.claim import Part
from chaoskit.hypotheses.words import amount, seconds_text
from chaoskit.model.breaker_lane import BreakerLane, BreakerSpan
from chaoskit.model.history import Span
from chaoskit.model.verdict import Verdict

__all__ = ["agrees"]

_SCRAPING = 2.5
"""Seconds within which a metric that is read once a second may differ from the tap."""


def agrees(frame: Frame, *, must_agree: bool) -> list[Part]:
    """What the caller's metric says of it is what crosses the edge, but for the delay of reading a metric."""
    told = [span for span in frame.lane.said if span.state != "unknown"]
    known = sum(_overlap(span, frame.spans) for span in told)
    total = sum(end - start for start, end in frame.spans)
    if not told or known < total / 2:
        missing = f"is told by no metric of {frame.lane.caller}"
        missing += (
            f" for {amount(total - known, 's')} of {amount(total, 's')}"
            if told
            else " (told_by says which one it is, where no label of it names the callee)"
        )
        return [Part(Verdict.INCONCLUSIVE, missing)] if must_agree else []
    apart = _apart(frame.lane)
    if not apart:
        return [_true(frame)] if must_agree else []
    start, end = apart[0]
    shut = frame.lane.seen_at(start) == "closed"
    because = (
        f"was {'closed' if shut else 'open'}, by the calls that crossed, for {amount(end - start, 's')} from"
        f" {seconds_text(start)} on, while the metric of {frame.lane.caller} said {'open' if shut else 'closed'}"
    )
    return [
        Part(Verdict.REFUTED if must_agree else Verdict.SUPPORTED, because, end - start, "s", evidence=tuple(apart))
    ]


def _true(frame: Frame) -> Part:
    """Nothing speaks against it; but half of each phase must have been seen."""
    dark = [span for span in frame.lane.seen if span.state == "unknown"]
    for start, end in frame.spans:
        blind = sum(_overlap(span, [(start, end)]) for span in dark)
        if blind > (end - start) / 2:
            because = (
                f"could not be compared with its metric for {amount(blind, 's')} from {seconds_text(start)} on: no call"
                " could be seen then"
            )
            return Part(Verdict.INCONCLUSIVE, because, evidence=((start, end),))
    return Part(Verdict.SUPPORTED, f"is told truly by the metric of {frame.lane.caller}")


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


def _overlap(span: BreakerSpan, spans: Sequence[Span]) -> float:
    return sum(max(0.0, min(span.end, end) - max(span.start, start)) for start, end in spans)
