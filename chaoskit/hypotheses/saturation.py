"""What can fill up does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field, model_validator

from chaoskit.hypotheses.bulkhead import in_flight
from chaoskit.hypotheses.claim import Part, finding, unknown_edge, unknown_service
from chaoskit.hypotheses.limits import ShareLimit
from chaoskit.hypotheses.series import FEWEST, Sample, gaps, series_in, taken
from chaoskit.hypotheses.words import amount, joined, moment, share_text
from chaoskit.interfaces import Hypothesis
from chaoskit.model.history import History, Phase
from chaoskit.model.topology import Topology
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Saturation"]


class Saturation(Hypothesis):
    """A pool, a queue or a set of slots is not used up.

    What it measures: what is used ÷ `capacity`, at its 95th percentile over the phase: samples of a metric (a gauge
    that the service exports), or the calls in flight on an edge (from the tap).

    Formula:
        share = p95 of what is used ÷ capacity  ≤ max, or ≤ the baseline's + so much

    Example:
        {kind: saturation, metric: bulkhead_slots_used, service: orders, capacity: 40, max: 80%}
        {kind: saturation, edge: orders->postgres, capacity: 16, max: 90%}
        {kind: saturation, edge: orders->postgres, capacity: 16, max: +20%}     # of the capacity, over the baseline's

    Limits: a metric is read once a second, and what is full for less may go unseen; an edge is seen at every call. A
    series that is gone for more than half of the phase (and no fault acts on its replica), one with fewer than 3
    samples, or an edge without a call, is inconclusive.
    """

    kind: ClassVar[str] = "saturation"

    metric: str = ""
    """Name of the gauge that says how much is used."""
    service: str = ""
    """Service or replica that exports it (default: all that do)."""
    labels: Mapping[str, str] = {}
    """Labels that its samples must have."""
    edge: str = ""
    """Instead of a metric: the edge whose calls in flight are what is used."""
    capacity: float = Field(gt=0)
    """How much there is."""
    max: ShareLimit
    """Largest share of it that may be used; `+20%`: so much of it more than in baseline."""

    @model_validator(mode="after")
    def _one(self) -> Saturation:
        if bool(self.metric) == bool(self.edge):
            raise ValueError("expected metric or edge: what is used")
        return self

    def check(self, topology: Topology, request_names: Sequence[str]) -> Sequence[tuple[str, str]]:
        found = unknown_edge(self.edge, topology) if self.edge else []
        return found + (unknown_service(self.service, topology) if self.service else [])

    def expected(self) -> str:
        return f"{self.metric or self.edge} ≤ {self.max} of {amount(self.capacity, '')}"

    def judge(self, history: History) -> Finding:
        phases = (Phase.LOAD,) if Phase.LOAD in history.windows else self.phases
        return finding(self, [part for phase in phases for part in self._parts(history, phase)])

    def _parts(self, history: History, phase: Phase) -> list[Part]:
        used = self._used(history, phase)
        if isinstance(used, Part):
            return [used]
        base = self._used(history, Phase.BASELINE) if self.max.over else {}
        return [
            self._part(history, phase, what, samples, base.get(what) if isinstance(base, dict) else None)
            for what, samples in used.items()
        ]

    def _used(self, history: History, phase: Phase) -> dict[str, list[Sample]] | Part:
        """What was used in a phase, by what it is of; why that cannot be told."""
        spans = history.windows.get(phase, [])
        used: list[tuple[str, list[Sample]]]
        if self.edge:
            edges = history.topology.select_edges(self.edge)
            used = [(self.edge, _each_slot(in_flight(history, edges), spans))]
        else:
            found = series_in(history, self.metric, phase, source=self.service, labels=self.labels)
            total = sum(end - start for start, end in spans)
            gone = [one for one in found if sum(b - a for a, b in gaps(one, spans)) > total / 2]
            if missing := [one.name for one in gone if one.known and not one.meant]:
                because = f"{self.metric} of {joined(missing)} was gone for most of {phase}"
                return Part(Verdict.INCONCLUSIVE, because, phase=str(phase), evidence=tuple(spans))
            there = [one for one in found if one not in gone and len(one.samples) >= FEWEST]
            used = [(f"{self.metric} of {one.name}", one.samples) for one in there]
        told = {what: samples for what, samples in used if samples}
        if told:
            return told
        because = f"nothing tells how much of {self.metric or self.edge} was used in {phase}"
        return Part(Verdict.INCONCLUSIVE, because, phase=str(phase), evidence=tuple(spans))

    def _part(
        self, history: History, phase: Phase, what: str, samples: Sequence[Sample], base: Sequence[Sample] | None
    ) -> Part:
        seen = taken(samples, "p95")
        share, most, against = seen.value / self.capacity, self.max.share, ""
        if self.max.over:
            if not base:
                because = f"{what} cannot be held against the baseline: nothing tells how much was used there"
                return Part(Verdict.INCONCLUSIVE, because, share, "share", None, str(phase), len(samples))
            before = taken(base, "p95").value / self.capacity
            most, against = self.max.against(before), f" ({share_text(before)} in baseline)"
        held = share <= most
        over = [sample.at for sample in samples if sample.value > most * self.capacity]
        since = "" if held else f"; it broke first {moment(history, over[0])}"
        side = "at most" if held else "above"
        because = (
            f"p95 of {what} was {amount(seen.value, '')} of {amount(self.capacity, '')} in {phase}"
            f" ({share_text(share)}, {len(samples)} samples), {side} {share_text(most)}{against}{since}"
        )
        verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
        evidence = ((over[0], over[-1] + 0.1),) if over and not held else tuple(history.windows.get(phase, []))
        return Part(verdict, because, share, "share", None, str(phase), len(samples), evidence, self.edge)


def _each_slot(changes: Sequence[tuple[float, int]], spans: Sequence[tuple[float, float]]) -> list[Sample]:
    """The most that was in flight in each slot of 100 ms; nothing where no call was ever seen."""
    if not changes:
        return []
    found = []
    place = level = 0
    for start, end in spans:
        for step in range(round((end - start) * 10)):
            slot_end = start + (step + 1) / 10
            most = level
            while place < len(changes) and changes[place][0] < slot_end:
                level = changes[place][1]
                most = max(most, level) if changes[place][0] >= start + step / 10 else level
                place += 1
            found.append(Sample(start + step / 10, float(most)))
    return found
