"""A slow dependency does not take everything else down with it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import ClassVar

from pydantic import Field

from chaoskit.hypotheses.bounds import Bound, LoadClaim
from chaoskit.hypotheses.bystanders_hold import steady_parts, steady_samples
from chaoskit.hypotheses.claim import Part, finding, unknown_edge
from chaoskit.hypotheses.words import moment
from chaoskit.model.crossings import crossings
from chaoskit.model.history import History, Phase, SteadyBound
from chaoskit.model.statistics import requests_for_quantile
from chaoskit.model.topology import Edge, Topology
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Bulkhead", "in_flight"]

_ENOUGH = 20
"""Calls below which nothing shows how many could be in flight."""


class Bulkhead(LoadClaim):
    """A caller keeps at most so many calls to one dependency in flight, and its other requests do not feel it.

    What it measures: the most calls of each caller's replica that were open on the edge at once (from the tap), and
    every bound of the experiment's `steady_state` over the requests named in `of`.

    Formula:
        in flight = calls started − calls ended, at every instant of the phase  ≤ slots

    Example:
        {kind: bulkhead, edge: orders->payments, slots: 40, of: catalogue}

    Limits: a dependency that answers quickly never fills its slots: break it first. Where the tap kept only some
    calls, what was open is counted by slots of 100 ms. A call that its caller has given up without hanging up still
    counts. Fewer than 20 calls in a phase are inconclusive.
    """

    kind: ClassVar[str] = "bulkhead"

    edge: str
    """The edge to the dependency."""
    slots: int = Field(ge=1)
    """Most calls in flight at once, for each of the caller's replicas."""
    of: str = ""
    """Requests that must stay within the steady state (default: none is judged)."""

    def bounds(self) -> Sequence[Bound]:
        return ()

    def expected(self) -> str:
        kept = f", {self.of} keeps the steady state" if self.of else ""
        return f"≤ {self.slots} calls in flight on {self.edge}{kept}"

    def check(self, topology: Topology, request_names: Sequence[str]) -> Sequence[tuple[str, str]]:
        return [*unknown_edge(self.edge, topology), *super().check(topology, request_names)]

    def samples_needed(self) -> int:
        return requests_for_quantile(0.95) if self.of else 1

    def samples_under(self, steady_state: Sequence[SteadyBound]) -> int:
        return (steady_samples(steady_state, self.of) if self.of else 0) or self.samples_needed()

    def seconds_needed(self) -> float:
        return super().seconds_needed() if self.of else 0.0

    def judge(self, history: History) -> Finding:
        edges = history.topology.select_edges(self.edge)
        parts = []
        for caller in dict.fromkeys(edge.caller for edge in edges):
            ours = [edge for edge in edges if edge.caller == caller]
            parts += [self._slots(history, phase, ours) for phase in self.judged_phases(history)]
        return finding(self, [*parts, *(steady_parts(self, history) if self.of else [])])

    def _slots(self, history: History, phase: Phase, edges: Sequence[Edge]) -> Part:
        spans = tuple(history.windows.get(phase, []))
        during = [(at, count) for at, count in in_flight(history, edges) if any(a <= at < b for a, b in spans)]
        if not during:
            because = f"no call crossed {self.edge} in {phase}: nothing shows how many could be in flight"
            return Part(Verdict.INCONCLUSIVE, because, phase=str(phase), lane=self.edge)
        at, most = max(during, key=lambda entry: entry[1])
        held = most <= self.slots
        crossed = sum(crossings(history, edges).started.between(start, end) for start, end in spans)
        if held and crossed < _ENOUGH:
            because = f"only {crossed} calls crossed {self.edge} in {phase}: it takes {_ENOUGH} to tell how many may"
            return Part(Verdict.INCONCLUSIVE, because, phase=str(phase), samples=crossed, lane=self.edge)
        because = (
            f"at most {most} calls were in flight on {self.edge} in {phase}, within {self.slots} slots"
            if held
            else f"{most} calls were in flight on {self.edge} ({moment(history, at)}), above {self.slots} slots"
        )
        over = [instant for instant, count in during if count > self.slots]
        evidence = spans if held else ((over[0], over[-1] + 0.1),)
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        return Part(verdict, because, float(most), "calls", None, str(phase), len(during), evidence, self.edge)


def in_flight(history: History, edges: Sequence[Edge]) -> list[tuple[float, int]]:
    """(instant, calls open from then on), at every change."""
    seen = crossings(history, edges)
    if seen.exact:
        changes = [(start, 1) for start, _ in seen.calls] + [(end, -1) for _, end in seen.calls if end < float("inf")]
    else:
        started = [b - a for a, b in zip(seen.started.before, seen.started.before[1:], strict=False)]
        ended = [b - a for a, b in zip(seen.ended.before, seen.ended.before[1:], strict=False)]
        changes = list(zip(seen.started.at, started, strict=True))
        changes += [(at, -count) for at, count in zip(seen.ended.at, ended, strict=True)]
    changes.sort()
    return list(zip((at for at, _ in changes), accumulate(change for _, change in changes), strict=True))
