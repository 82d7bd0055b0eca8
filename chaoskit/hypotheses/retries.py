"""Retries help and do not storm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from chaoskit.hypotheses.claim import Claim, Part, compared, finding, unknown_edge
from chaoskit.hypotheses.words import amount, between, moment
from chaoskit.model.breaker_lane import Crossings, crossings, demand_on
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.statistics import MINIMUM_BLOCKS, block_width, draws, interval_of
from chaoskit.model.topology import Topology
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Retries"]

_ENOUGH = 50
"""Calls into the caller, in baseline and in each phase, below which a ratio says nothing."""


class Retries(Claim):
    """Retries do not multiply the load on what is in trouble.

    What it measures: amplification = calls that cross the edge ÷ calls that come into the caller, as a multiple of the
    same ratio in baseline; over each phase (with an interval over blocks of a second) and in its worst second.

    Example:
        {kind: retries, edge: orders->payments, most: 1.5}
        {kind: retries, edge: orders->payments, most: 1.5, worst_second: 3}

    Limits: it counts every call that crosses, whoever sends it: a client library that repeats a call by itself
    (aiohttp repeats a GET whose reused connection was reset) counts too. Calls of health checks do not.
    """

    kind: ClassVar[str] = "retries"

    edge: str
    """The edge that is called again: `orders->payments`."""
    most: float = Field(gt=0)
    """Largest amplification over the phase: 1 is no more calls than in baseline."""
    worst_second: float | None = Field(default=None, gt=0)
    """Largest amplification in any one second."""

    def check(self, topology: Topology, request_names: Sequence[str]) -> Sequence[tuple[str, str]]:
        return unknown_edge(self.edge, topology)

    def expected(self) -> str:
        text = f"calls over {self.edge} ≤ {amount(self.most, '×')} of baseline's"
        return text if self.worst_second is None else f"{text}, ≤ {amount(self.worst_second, '×')} in any second"

    def samples_needed(self) -> int:
        return _ENOUGH

    def seconds_needed(self) -> float:
        return 0.0 if self.by_point else float(MINIMUM_BLOCKS)

    def judge(self, history: History) -> Finding:
        edges = history.topology.select_edges(self.edge)
        parts = [
            part
            for caller in dict.fromkeys(edge.caller for edge in edges)
            for part in self._judged(
                history,
                crossings(history, [e for e in edges if e.caller == caller]),
                demand_on(history, caller),
                caller,
            )
        ]
        return finding(self, [part._replace(lane=self.edge) for part in parts])

    def _judged(self, history: History, crossing: Crossings, demand: Crossings, caller: str) -> list[Part]:
        baseline = history.windows.get(Phase.BASELINE, [])
        asked, called = _counted(demand, baseline), _counted(crossing, baseline)
        if asked < _ENOUGH or not called:
            because = (
                f"in baseline {caller} was called {asked} times and called {called} times itself: too little to compare"
            )
            return [Part(Verdict.INCONCLUSIVE, because, phase=str(Phase.BASELINE), samples=asked)]
        usual = called / asked
        return [part for phase in self.phases for part in self._phase(history, phase, crossing, demand, usual)]

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
        verdict = compared(times, interval, most=self.most)
        detail = "; ".join(filter(None, [between(interval, "×"), f"{called} calls for {asked} requests"]))
        words = {
            Verdict.SUPPORTED: ", at most",
            Verdict.REFUTED: ", above",
            Verdict.INCONCLUSIVE: ": too close to call against",
        }
        worst = [
            (block, crossed / due / usual) for block, (crossed, due) in zip(blocks, pairs, strict=True) if due >= 5
        ]
        over = [block for block, value in worst if value > self.most]
        since = f"; it broke first {moment(history, over[0][0])}" if over and verdict is Verdict.REFUTED else ""
        because = (
            f"calls over {self.edge} were {amount(times, '×')} of baseline's in {phase} ({detail})"
            f"{words[verdict]} {amount(self.most, '×')}{since}"
        )
        evidence = tuple(over) if over and verdict is Verdict.REFUTED else tuple(spans)
        part = Part(verdict, because, times, "×", interval, str(phase), called, evidence)
        return [part, *self._worst(history, phase, worst)]

    def _worst(self, history: History, phase: Phase, blocks: Sequence[tuple[Span, float]]) -> list[Part]:
        if self.worst_second is None:
            return []
        span, times = max(blocks, key=lambda block: block[1], default=((0.0, 0.0), math.nan))
        if times != times:
            return [Part(Verdict.INCONCLUSIVE, f"no second of {phase} had calls enough to judge it", phase=str(phase))]
        held = times <= self.worst_second
        because = (
            f"in the worst second ({moment(history, span[0])}) calls over {self.edge} were {amount(times, '×')} of"
            f" baseline's, {'at most' if held else 'above'} {amount(self.worst_second, '×')}"
        )
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return [Part(verdict, because, times, "×", None, str(phase), len(blocks), (span,))]


def _counted(seen: Crossings, spans: Sequence[Span]) -> int:
    return sum(seen.started.between(start, end) for start, end in spans)


def _blocks(spans: Sequence[Span]) -> list[Span]:
    """Blocks of a second (more for very long windows) that fill the spans."""
    width = block_width(sum(end - start for start, end in spans))
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
