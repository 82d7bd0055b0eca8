"""A breaker that tells its state in a metric of its own kind: which one, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import model_validator

from chaoskit.interfaces import Setting
from chaoskit.model.breaker_lane import BreakerSpan
from chaoskit.model.history import History
from chaoskit.model.undo import JSON

__all__ = ["ToldBy"]


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
        source = "prometheus" if self.query else caller
        points = [
            point
            for point in history.metric(self.query or self.metric)
            if point.source == source and self.labels.items() <= point.labels.items()
        ]
        end = max((end for _, end in history.view_spans), default=0.0)
        found: list[BreakerSpan] = []
        for point in points:
            state = self._state(point.value)
            if found and found[-1].state == state:
                continue
            if found:
                found[-1] = BreakerSpan(found[-1].start, point.at, found[-1].state)
            found.append(BreakerSpan(point.at, end, state))
        return tuple(found)

    def _state(self, value: float) -> str:
        if value != value:
            return "unknown"
        return "open" if value == self.open else "half_open" if value == self.half_open else "closed"
