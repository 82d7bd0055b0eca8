"""A metric of a service stays within its bounds."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import field_validator, model_validator

from chaoskit.hypotheses.claim import Part, finding, unknown_service
from chaoskit.hypotheses.series import FEWEST, Across, Reads, Sample, Series, combined, gaps, series_in, taken
from chaoskit.hypotheses.words import amount, moment
from chaoskit.interfaces import Hypothesis
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.topology import Topology
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Metric", "MetricClaim", "why_none"]

_SEEN = 0.5
"""Share of the phase in which a series must be there."""
_TAKE = re.compile(r"max|min|mean|last|p[0-9]{1,2}(\.[0-9]+)?")


class MetricClaim(Hypothesis):
    """A claim over samples of metrics, whoever read them."""

    max: float | None = None
    """Largest value that is allowed."""
    min: float | None = None
    """Smallest value that is allowed."""
    reads: Reads = "value"
    """What is bounded: the `value` itself, or of a counter its `rate` per second or its `increase` between two
    samples. A counter that falls was reset and counts from 0."""
    take: str = ""
    """What stands for the phase: `max`, `min`, `mean`, `last` or a quantile such as `p95` (default: the extreme that
    the bound is about)."""
    across: Across = "each"
    """With several series: `each` must hold, or their `sum`, `max` or `min`."""

    @field_validator("take")
    @classmethod
    def _take(cls, value: str) -> str:
        if value and not _TAKE.fullmatch(value):
            raise ValueError(f"expected max, min, mean, last or a quantile such as p95, not {value!r}")
        return value

    @model_validator(mode="after")
    def _bounded(self) -> MetricClaim:
        if self.max is None and self.min is None:
            raise ValueError("expected a bound: max or min")
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"nothing is at least {self.min:g} and at most {self.max:g}")
        return self

    @property
    @abstractmethod
    def subject(self) -> str:
        """What the samples are of, for people."""

    @abstractmethod
    def series(self, history: History, phase: Phase) -> list[Series]:
        """Its series in a phase."""

    def expected(self) -> str:
        parts = [f"≤ {amount(self.max, '')}"] if self.max is not None else []
        parts += [f"≥ {amount(self.min, '')}"] if self.min is not None else []
        taken_ = f"{self.take} of " if self.take else ""
        return f"{taken_}{self._what()} {' and '.join(parts)}"

    def judge(self, history: History) -> Finding:
        phases = (Phase.LOAD,) if Phase.LOAD in history.windows else self.phases
        return finding(self, [part for phase in phases for part in self._judged(history, phase)])

    def _what(self) -> str:
        return {"value": "", "rate": "rate of ", "increase": "increase of "}[self.reads] + self.subject

    def _judged(self, history: History, phase: Phase) -> list[Part]:
        spans = history.windows.get(phase, [])
        if not spans:
            return [Part(Verdict.INCONCLUSIVE, f"{self._what()}: the run never reached {phase}", phase=str(phase))]
        series = combined(self.series(history, phase), self.across)
        there = [one for one in series if one.samples or (one.known and not one.meant)]
        if not there:
            because = f"{self._what()} had no sample in {phase}{why_none(history)}"
            return [Part(Verdict.INCONCLUSIVE, because, phase=str(phase), evidence=tuple(spans))]
        return [self._bound(history, phase, one, spans) for one in there]

    def _bound(self, history: History, phase: Phase, one: Series, spans: Sequence[Span]) -> Part:
        what = f"{self._what()} of {one.name}" if one.name else self._what()
        missing = gaps(one, spans)
        total = sum(end - start for start, end in spans)
        gone = sum(end - start for start, end in missing)
        if gone > (1.0 - _SEEN) * total:
            lost = f"{amount(gone, 's')} of {amount(total, 's')} in {phase}"
            because = f"{what} was gone for {lost}{why_none(history)}"
            return Part(Verdict.INCONCLUSIVE, because, None, "", None, str(phase), len(one.samples), tuple(missing))
        if len(one.samples) < FEWEST:
            because = f"{what} has {len(one.samples)} samples in {phase}: it takes {FEWEST}"
            return Part(Verdict.INCONCLUSIVE, because, None, "", None, str(phase), len(one.samples), tuple(spans))
        upper = self.max is not None
        seen = taken(one.samples, self.take or ("max" if upper else "min"))
        if self.max is not None and self.min is not None and not self.take and seen.value <= self.max:
            seen = taken(one.samples, "min")  # both bounds hold only if the extremes on both sides do
        above = self.max is not None and seen.value > self.max
        below = self.min is not None and seen.value < self.min
        taken_ = f"{self.take} of " if self.take else ""
        said = f"{taken_}{what} was {amount(seen.value, '')} in {phase} ({len(one.samples)} samples)"
        broken = [sample for sample in one.samples if self._breaks(sample)]
        if above or below:
            side = f"above {amount(self.max or 0.0, '')}" if above else f"below {amount(self.min or 0.0, '')}"
            since = f"; it broke first {moment(history, broken[0].at)}" if broken else ""
            evidence = tuple((sample.at, sample.at + one.usual) for sample in broken) or tuple(spans)
            return Part(
                Verdict.REFUTED, f"{said}, {side}{since}", seen.value, "", None, str(phase), len(one.samples), evidence
            )
        sides = [f"at most {amount(self.max, '')}"] if self.max is not None else []
        sides += [f"at least {amount(self.min, '')}"] if self.min is not None else []
        within = " and ".join(sides)
        return Part(
            Verdict.SUPPORTED, f"{said}, {within}", seen.value, "", None, str(phase), len(one.samples), tuple(spans)
        )

    def _breaks(self, sample: Sample) -> bool:
        return (self.max is not None and sample.value > self.max) or (self.min is not None and sample.value < self.min)


def why_none(history: History) -> str:
    """What is known about why there is nothing: `: Prometheus at … did not answer`."""
    warned = [event.text for event in history.events("warning") if event.source.startswith("probe")]
    return f": {warned[-1]}" if warned else ""


class Metric(MetricClaim):
    """A metric that a service exports stays within its bounds.

    What it measures: samples that were scraped from the service's own `/metrics` (once a second), each series by
    itself unless `across` says otherwise. Samples that are no number are left out. A counter that is not on a page yet
    that has others of its name is 0 there.

    Formula:
        rate     = (value − value before) ÷ seconds between them; after a fall: value ÷ seconds
        increase = value − value before; after a fall: value
        max, min, mean, last or pq of these over the phase's samples  ≤ max, ≥ min

    Example:
        {kind: metric, metric: bulkhead_slots_used, service: orders, max: 40}
        {kind: metric, metric: retries_denied_total, service: orders, reads: rate, max: 5}
        {kind: metric, metric: shop_requests_total, labels: {status: "500"}, reads: increase, across: sum, max: 0}

    Limits: what happens between two scrapes is not seen. A series that is gone for more than half of the phase tells
    nothing (where it was there before, and no fault acts on its replica), nor do fewer than 3 samples. For PromQL
    there is the kind `prometheus`.
    """

    kind: ClassVar[str] = "metric"

    metric: str
    """Name of the metric, as on the service's page."""
    service: str = ""
    """Service or replica that exports it (default: all that do)."""
    labels: Mapping[str, str] = {}
    """Labels that its samples must have."""

    @property
    def subject(self) -> str:
        return self.metric

    def check(self, topology: Topology, request_names: Sequence[str]) -> Sequence[tuple[str, str]]:
        return unknown_service(self.service, topology) if self.service else ()

    def series(self, history: History, phase: Phase) -> list[Series]:
        return series_in(history, self.metric, phase, source=self.service, labels=self.labels, reads=self.reads)
