"""A breaker that tells its state in a metric of its own kind: which one, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from pydantic import model_validator

from chaoskit.interfaces import Setting
from chaoskit.model.breaker_lane import BreakerSpan
from chaoskit.model.history import History
from chaoskit.model.observation import prometheus_source
from chaoskit.model.undo import JSON

__all__ = ["ToldBy"]

_STANDS = 3.0
"""Seconds for which one sample stands: metrics are read once a second, and one that is gone for longer says nothing."""


class ToldBy(Setting):
    """Where a breaker's state is read, for metrics that are not known by themselves."""

    metric: str = ""
    """Name of the gauge on the caller's own page."""
    labels: Mapping[str, str] = {}
    """Labels that its samples must have."""
    query: str = ""
    """Instead of a gauge: PromQL with one number as its value."""
    server: str = "prometheus"
    """The target's service that provides Prometheus, or the URL of one that runs already."""
    open: float = 1.0
    """Value that means open; any other that is not `half_open` means closed."""
    half_open: float | None = None
    """Value that means half-open."""

    @model_validator(mode="after")
    def _one(self) -> ToldBy:
        if bool(self.metric) == bool(self.query):
            raise ValueError("expected metric or query: what tells the breaker's state")
        if self.query and self.labels:
            raise ValueError("labels go with metric; a query has its own")
        return self

    def probes(self) -> Sequence[tuple[str, Mapping[str, JSON]]]:
        """The probe that asks the query."""
        return [("prometheus", {"server": self.server, "queries": [self.query]})] if self.query else []

    def said(self, history: History, caller: str) -> tuple[BreakerSpan, ...]:
        """The states that it told, each until it told another."""
        source = prometheus_source(self.server) if self.query else caller
        points = [
            point
            for point in history.metric(self.query or self.metric)
            if point.source == source and self.labels.items() <= point.labels.items()
        ]
        last = max((end for _, end in history.view_spans), default=0.0)
        found: list[BreakerSpan] = []
        for point, until in zip(points, [*(point.at for point in points[1:]), max(last, 0.0)], strict=False):
            told = min(until, point.at + _STANDS)
            found.append(BreakerSpan(point.at, told, self._state(point.value)))
            if until > told:
                found.append(BreakerSpan(told, until, "unknown"))
        return tuple(_joined(found))

    def _state(self, value: float) -> str:
        if not isfinite(value):
            return "unknown"
        return "open" if value == self.open else "half_open" if value == self.half_open else "closed"


def _joined(spans: Sequence[BreakerSpan]) -> list[BreakerSpan]:
    """Spans on end of the same state as one."""
    found: list[BreakerSpan] = []
    for span in spans:
        if found and found[-1].state == span.state:
            found[-1] = BreakerSpan(found[-1].start, span.end, span.state)
        else:
            found.append(span)
    return found
