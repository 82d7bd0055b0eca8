"""Nobody waits past a deadline, and nobody works for a caller who has gone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field, model_validator

from chaoskit.hypotheses.claim import Part, finding, unknown_edge
from chaoskit.hypotheses.words import amount, moment
from chaoskit.interfaces import Hypothesis
from chaoskit.model.crossings import checked_paths
from chaoskit.model.history import History, Phase
from chaoskit.model.observation import TapCall
from chaoskit.model.topology import Topology
from chaoskit.model.units import Duration, duration_text
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Timeout"]

_ENOUGH = 20


class Timeout(Hypothesis):
    """No caller waits past its deadline; with `orphans`, none goes on after its own caller has hung up.

    What it measures: how long each call over the edge was open, from its first byte to its answer or to the caller's
    hanging up (a call that is never ended waits to the end of the run). An orphan is a call that was still open
    `grace` after the call that it served had been given up; calls are matched by `traceparent`.

    Formula:
        longest = max over calls of (end, or the run's end) − start   ≤ within + grace
        orphans = calls open for over `grace` after the call that they served was given up  ≤ orphans

    Example:
        {kind: timeout, edge: orders->payments, within: 500ms}
        {kind: timeout, edge: orders->payments, within: 500ms, orphans: 0}

    Limits: the deadline is met where it is within `within` plus `grace` (timers are late on a busy machine). Where a
    tap kept only some calls, those are judged. Calls of health checks do not count. Orphans need a caller that passes
    `traceparent` on.
    """

    kind: ClassVar[str] = "timeout"

    edge: str
    """The edge whose callers have a deadline."""
    within: Duration | None = None
    """The deadline."""
    grace: Duration = 0.1
    """How late a timer may be."""
    orphans: int | None = Field(default=None, ge=0)
    """Most calls that may go on after their caller's caller hung up: a timeout that is longer than the caller's."""

    @model_validator(mode="after")
    def _something(self) -> Timeout:
        if self.within is None and self.orphans is None:
            raise ValueError("expected within, orphans or both")
        return self

    def check(self, topology: Topology, request_names: Sequence[str]) -> Sequence[tuple[str, str]]:
        return unknown_edge(self.edge, topology)

    def expected(self) -> str:
        parts = [f"calls over {self.edge} end ≤ {duration_text(self.within)}"] if self.within is not None else []
        parts += [f"≤ {self.orphans} orphans on {self.edge}"] if self.orphans is not None else []
        return ", ".join(parts)

    def judge(self, history: History) -> Finding:
        phases = (Phase.LOAD,) if Phase.LOAD in history.windows else self.phases
        parts = [part for phase in phases for part in self._parts(history, phase)]
        return finding(self, [part._replace(lane=self.edge) for part in parts])

    def _parts(self, history: History, phase: Phase) -> list[Part]:
        spans = tuple(history.windows.get(phase, []))
        checks = checked_paths(history, history.topology.select_edges(self.edge))
        calls = [  # by their start: one that began in the phase may end after it
            call
            for call in history.tap(self.edge).calls
            if any(start <= call.start < end for start, end in spans) and call.path.partition("?")[0] not in checks
        ]
        if len(calls) < _ENOUGH:
            because = f"only {len(calls)} calls crossed {self.edge} in {phase}: it takes {_ENOUGH}"
            return [Part(Verdict.INCONCLUSIVE, because, phase=str(phase), samples=len(calls), evidence=spans)]
        parts = [self._deadline(history, phase, calls)] if self.within is not None else []
        parts += [self._orphans(history, phase, calls)] if self.orphans is not None else []
        return [part._replace(samples=len(calls), evidence=part.evidence or spans) for part in parts]

    def _deadline(self, history: History, phase: Phase, calls: Sequence[TapCall]) -> Part:
        assert self.within is not None
        end_of_run = max(end for spans in history.windows.values() for _, end in spans)
        waited = [(_open_until(call, end_of_run) - call.start, call) for call in calls]
        longest, call = max(waited, key=lambda entry: entry[0])
        late = [one for took, one in waited if took > self.within + self.grace]
        if not late:
            because = (
                f"the longest of {len(calls)} calls over {self.edge} in {phase} took {amount(longest, 's')},"
                f" within {duration_text(self.within)}"
            )
            return Part(Verdict.SUPPORTED, because, longest, "s", None, str(phase))
        because = (
            f"{len(late)} of {len(calls)} calls over {self.edge} in {phase} waited past {duration_text(self.within)},"
            f" the longest {amount(longest, 's')} ({moment(history, call.start)})"
        )
        evidence = tuple((one.start, _open_until(one, end_of_run)) for one in late[:50])
        return Part(Verdict.REFUTED, because, longest, "s", None, str(phase), evidence=evidence)

    def _orphans(self, history: History, phase: Phase, calls: Sequence[TapCall]) -> Part:
        assert self.orphans is not None
        callers = {edge.caller for edge in history.topology.select_edges(self.edge)}
        served: dict[str, list[TapCall]] = {}
        for edge in history.topology.edges:
            if edge.callee in callers:
                for call in history.tap(edge.name).calls:
                    served.setdefault(call.trace_id, []).append(call)
        known = [call for call in calls if call.trace_id and call.trace_id in served]
        if len(known) < _ENOUGH:
            because = f"orphans on {self.edge} cannot be told: its caller passes no traceparent on"
            return Part(Verdict.INCONCLUSIVE, because, phase=str(phase))
        left = [(call, gone) for call in known if (gone := self._given_up(call, served[call.trace_id])) is not None]
        if len(left) <= self.orphans:
            because = (
                f"{len(left)} of {len(known)} calls over {self.edge} in {phase} went on after their caller had gone,"
                f" at most {self.orphans}"
            )
            return Part(Verdict.SUPPORTED, because, float(len(left)), "calls", None, str(phase))
        _, gone = left[0]
        because = (
            f"{len(left)} of {len(known)} calls over {self.edge} in {phase} went on after their caller had hung up (the"
            f" first at {amount(gone, 's')}), above {self.orphans}: its timeout is longer than its caller's"
        )
        evidence = tuple((gone, gone + self.grace) for _, gone in left[:50])
        return Part(Verdict.REFUTED, because, float(len(left)), "calls", None, str(phase), evidence=evidence)

    def _given_up(self, call: TapCall, served: Sequence[TapCall]) -> float | None:
        """When all that the call served had been given up, while it was still open; None where that did not happen."""
        if any(one.outcome != "abandoned" or one.end is None for one in served):
            return None
        gone = max(one.end for one in served if one.end is not None)
        return gone if _open_until(call, math.inf) > gone + self.grace else None


def _open_until(call: TapCall, otherwise: float) -> float:
    return call.end if call.end is not None else otherwise
