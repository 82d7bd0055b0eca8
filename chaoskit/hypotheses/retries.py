"""Retries help and do not storm."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field, model_validator

from chaoskit.hypotheses import attempts as of_attempts
from chaoskit.hypotheses.attempts import Attempts
from chaoskit.hypotheses.attempts import attempts as attempts_of
from chaoskit.hypotheses.claim import Claim, Part, compared, finding, unknown_edge
from chaoskit.hypotheses.words import amount, between, moment, share_text
from chaoskit.model.crossings import Crossings, crossings, demand_on
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.statistics import MINIMUM_BLOCKS, block_width, draws, interval_of
from chaoskit.model.topology import Edge, Topology
from chaoskit.model.units import Duration, Share, duration_text
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Retries"]

_ENOUGH = 50
"""Calls into the caller, in baseline and in each phase, below which a ratio says nothing."""
_IN_A_BLOCK = 5
"""Calls into the caller below which the ratio of one second says nothing."""
_SIDE = {
    Verdict.SUPPORTED: ", at most",
    Verdict.REFUTED: ", above",
    Verdict.INCONCLUSIVE: ": too close to call against",
}
_SINGLE = frozenset({"attempts", "waits", "grows", "jitter", "only_safe", "budget"})
"""Bounds on single requests."""


class Retries(Claim):
    """Retries do not multiply the load on what is in trouble, are spaced, and repeat only what may be repeated.

    What it measures: amplification = calls that cross the edge ÷ calls that come into the caller, as a multiple of the
    same ratio in baseline; over each phase (with an interval over blocks of a second) and in its worst second. Where
    the caller passes `traceparent` on (or its requests do not overlap), also single requests: how often each is
    attempted, the waits between the end of an attempt and the start of the next, and what is repeated.

    Formula:
        amplification = (calls ÷ requests) in the phase ÷ (calls ÷ requests) in baseline   ≤ most, ≤ worst_second
        attempts      = calls of one request with one method and path
        waits         = median of (start of the second attempt − end of the first)         ≥ waits
        grows         = median of the second waits ÷ median of the first                   ≥ 1.5
        jitter        = (p50 − p10) ÷ p50 of the first waits                               ≥ 12%
        budget        = (calls − requests) ÷ requests                                      ≤ budget

    Example:
        {kind: retries, edge: orders->payments, most: 1.5}
        {kind: retries, edge: orders->payments, most: 1.5, worst_second: 3, attempts: 3, waits: 50ms, jitter: true}

    Limits: it counts every call that crosses, whoever sends it: a client library that repeats a call by itself
    (aiohttp repeats a GET whose reused connection was reset) counts too. Calls of health checks do not. The spacing
    takes 20 retries; growth takes 20 requests with three attempts. Inconclusive: fewer than 50 requests in baseline or
    phase, a closed listener, and for single requests a caller that passes no trace on while its requests overlap, or
    most of whose requests call the same more than once in baseline (a price for each line of a cart): such calls look
    like retries, and only `most` and `worst_second` are against the baseline.
    """

    kind: ClassVar[str] = "retries"

    edge: str
    """The edge that is called again: `orders->payments`."""
    most: float | None = Field(default=None, gt=0)
    """Largest amplification over the phase: 1 is no more calls than in baseline."""
    worst_second: float | None = Field(default=None, gt=0)
    """Largest amplification in any one second."""
    attempts: int | None = Field(default=None, ge=1)
    """Most times that one request may be tried, the first time included."""
    waits: Duration | None = None
    """Least wait before a retry (the median)."""
    grows: bool = False
    """The second wait must be longer than the first."""
    jitter: bool = False
    """Waits must differ from each other."""
    only_safe: bool = False
    """Only what may be repeated is: no POST or PATCH without an Idempotency-Key."""
    budget: Share | None = None
    """Most retries as a share of the requests."""

    @model_validator(mode="after")
    def _something(self) -> Retries:
        if not self.model_fields_set & {"most", "worst_second", *_SINGLE}:
            raise ValueError("expected a bound, such as most: 1.5")
        return self

    def check(self, topology: Topology, request_names: Sequence[str]) -> Sequence[tuple[str, str]]:
        return unknown_edge(self.edge, topology)

    def expected(self) -> str:
        parts = [f"calls ≤ {amount(self.most, '×')} of baseline's"] if self.most is not None else []
        parts += [f"≤ {amount(self.worst_second, '×')} in any second"] if self.worst_second is not None else []
        parts += [f"≤ {self.attempts} attempts"] if self.attempts is not None else []
        parts += [f"waits ≥ {duration_text(self.waits)}"] if self.waits is not None else []
        parts += ["waits grow"] if self.grows else []
        parts += ["waits have jitter"] if self.jitter else []
        parts += ["only safe ones repeated"] if self.only_safe else []
        parts += [f"retries ≤ {share_text(self.budget)} of requests"] if self.budget is not None else []
        return f"{self.edge}: {', '.join(parts)}"

    def samples_needed(self) -> int:
        return _ENOUGH

    def seconds_needed(self) -> float:
        return 0.0 if self.by_point else float(MINIMUM_BLOCKS)

    def judge(self, history: History) -> Finding:
        edges = history.topology.select_edges(self.edge)
        parts: list[Part] = []
        for caller in dict.fromkeys(edge.caller for edge in edges):
            ours = [edge for edge in edges if edge.caller == caller]
            if self.most is not None or self.worst_second is not None:
                parts += self._amplified(history, ours, caller)
            if self.model_fields_set & _SINGLE:
                usual = attempts_of(history.during(Phase.BASELINE), ours, caller)
                parts += [part for phase in self.phases for part in self._single(history, phase, ours, caller, usual)]
        return finding(self, [part._replace(lane=self.edge) for part in parts])

    def _single(
        self, history: History, phase: Phase, edges: Sequence[Edge], caller: str, usual: Attempts
    ) -> list[Part]:
        view = history.during(phase)
        seen = attempts_of(view, edges, caller)._replace(where=f" in {phase}")
        if 2 * usual.repeated > len(usual.requests):
            because = (
                f"retries over {self.edge} cannot be told from calls: {usual.repeated} of {len(usual.requests)}"
                " requests in baseline called the same more than once"
            )
            return [Part(Verdict.INCONCLUSIVE, because, phase=str(phase), samples=len(usual.requests))]
        if not seen.requests:
            because = f"single requests over {self.edge} cannot be told in {phase}: {seen.because}"
            return [Part(Verdict.INCONCLUSIVE, because, phase=str(phase), evidence=view.view_spans)]
        parts = [of_attempts.at_most(seen, self.attempts, history)] if self.attempts is not None else []
        parts += [of_attempts.waits(seen, self.waits, history)] if self.waits is not None else []
        parts += [of_attempts.grows(seen, history)] if self.grows else []
        parts += [of_attempts.jitters(seen, history)] if self.jitter else []
        parts += [of_attempts.only_safe(seen, history)] if self.only_safe else []
        parts += [self._budgeted(seen, view)] if self.budget is not None else []
        return [part._replace(phase=str(phase), evidence=part.evidence or view.view_spans) for part in parts]

    def _budgeted(self, seen: Attempts, view: History) -> Part:
        assert self.budget is not None
        pairs = [(0, 0)] * len(blocks := _blocks(view.view_spans))
        starts = [start for start, _ in blocks]
        for calls in seen.requests:
            place = max(bisect_right(starts, calls[0].start) - 1, 0)
            pairs[place] = (pairs[place][0] + len(calls) - 1, pairs[place][1] + 1)
        share = seen.retries / len(seen.requests)
        interval = None if self.by_point else _interval(pairs, 1.0)
        verdict = compared(share, interval, most=self.budget)
        detail = "; ".join(filter(None, [between(interval, "share"), f"{len(seen.requests)} requests"]))
        because = (
            f"retries were {share_text(share)} of the requests{seen.where} ({detail}){_SIDE[verdict]}"
            f" {share_text(self.budget)}{of_attempts.silent(seen)}"
            f"{seen.first(view) if verdict is Verdict.REFUTED else ''}"
        )
        return Part(verdict, because, share, "share", interval, samples=len(seen.requests))

    def _amplified(self, history: History, edges: Sequence[Edge], caller: str) -> list[Part]:
        crossing, demand = crossings(history, edges), demand_on(history, caller)
        baseline = history.windows.get(Phase.BASELINE, [])
        asked, called = _counted(demand, baseline), _counted(crossing, baseline)
        if asked < _ENOUGH or not called:
            because = (
                f"in baseline {caller} was called {asked} times and called {called} times itself: too little to compare"
            )
            return [Part(Verdict.INCONCLUSIVE, because, phase=str(Phase.BASELINE), samples=asked)]
        usual = called / asked
        found: list[Part] = []
        for phase in self.phases:
            parts = self._phase(history, phase, crossing, demand, usual)
            worst = [part for part in parts if part.verdict is Verdict.REFUTED] or [
                part for part in parts if part.verdict is Verdict.INCONCLUSIVE and part.measured is not None
            ]
            if worst:
                silent = of_attempts.silent(attempts_of(history.during(phase), edges, caller))
                place = parts.index(worst[0])
                parts[place] = worst[0]._replace(because=f"{worst[0].because}{silent}")
            found += parts
        return found

    def _phase(
        self, history: History, phase: Phase, crossing: Crossings, demand: Crossings, usual: float
    ) -> list[Part]:
        spans = history.windows.get(phase, [])
        asked, called = _counted(demand, spans), _counted(crossing, spans)
        if asked < _ENOUGH:
            because = f"only {asked} calls came into the caller of {self.edge} in {phase}: it takes {_ENOUGH}"
            return [Part(Verdict.INCONCLUSIVE, because, phase=str(phase), samples=asked, evidence=tuple(spans))]
        hidden = [closed for closed in crossing.closed if any(closed[0] < end and closed[1] > a for a, end in spans)]
        if hidden:
            because = f"the listener of {self.edge} was closed in {phase}: what was tried then is not known"
            return [Part(Verdict.INCONCLUSIVE, because, phase=str(phase), samples=asked, evidence=tuple(spans))]
        blocks = _blocks(spans)
        pairs = [(crossing.started.between(*block), demand.started.between(*block)) for block in blocks]
        interval = None if self.by_point else _interval(pairs, usual)
        if interval is None and not self.by_point:
            because = f"{len(blocks)} seconds of {phase} are too few for an interval: it takes {MINIMUM_BLOCKS}"
            return [Part(Verdict.INCONCLUSIVE, because, phase=str(phase), samples=asked, evidence=tuple(spans))]
        times = called / asked / usual
        most = self.most if self.most is not None else math.inf
        verdict = compared(times, interval, most=most)
        detail = "; ".join(filter(None, [between(interval, "×"), f"{called} calls for {asked} requests"]))
        over = [block for block, value in _by_block(crossing, demand, blocks, usual) if value > most]
        since = f"; it broke first {moment(history, over[0][0])}" if over and verdict is Verdict.REFUTED else ""
        because = (
            f"calls over {self.edge} were {amount(times, '×')} of baseline's in {phase} ({detail})"
            f"{_SIDE[verdict]} {amount(most, '×')}{since}"
        )
        evidence = tuple(over) if over and verdict is Verdict.REFUTED else tuple(spans)
        part = Part(verdict, because, times, "×", interval, str(phase), called, evidence)
        seconds = _by_block(crossing, demand, _blocks(spans, 1.0), usual) if self.worst_second is not None else []
        return [
            *([part] if self.most is not None else []),
            *([self._worst(history, phase, seconds)] if self.worst_second is not None else []),
        ]

    def _worst(self, history: History, phase: Phase, seconds: Sequence[tuple[Span, float]]) -> Part:
        assert self.worst_second is not None
        span, times = max(seconds, key=lambda second: second[1], default=((0.0, 0.0), math.nan))
        if times != times:
            return Part(Verdict.INCONCLUSIVE, f"no second of {phase} had calls enough to judge it", phase=str(phase))
        held = times <= self.worst_second
        because = (
            f"in the worst second ({moment(history, span[0])}) calls over {self.edge} were {amount(times, '×')} of"
            f" baseline's, {'at most' if held else 'above'} {amount(self.worst_second, '×')}"
        )
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return Part(verdict, because, times, "×", None, str(phase), len(seconds), (span,))


def _counted(seen: Crossings, spans: Sequence[Span]) -> int:
    return sum(seen.started.between(start, end) for start, end in spans)


def _by_block(crossing: Crossings, demand: Crossings, blocks: Sequence[Span], usual: float) -> list[tuple[Span, float]]:
    """The amplification in each block that had a few requests."""
    counted = [(block, crossing.started.between(*block), demand.started.between(*block)) for block in blocks]
    return [(block, crossed / due / usual) for block, crossed, due in counted if due >= _IN_A_BLOCK]


def _blocks(spans: Sequence[Span], width: float = 0.0) -> list[Span]:
    """Blocks of `width` that fill the spans; by default those of an interval: a second, more in very long windows."""
    width = width or block_width(sum(end - start for start, end in spans))
    return [
        (start + step * width, min(start + (step + 1) * width, end))
        for start, end in spans
        for step in range(math.ceil((end - start) / width - 1e-6))
    ]


def _interval(pairs: Sequence[tuple[int, int]], usual: float) -> tuple[float, float] | None:
    """Interval of the amplification over blocks of a second."""
    import numpy as np

    counts = np.array(pairs, dtype=np.float64)
    if len(counts) < MINIMUM_BLOCKS:
        return None
    sums = draws(len(counts)) @ counts
    with np.errstate(divide="ignore", invalid="ignore"):
        return interval_of(sums[:, 0] / sums[:, 1] / usual, len(counts))
