"""What a Prometheus says of the system stays within its bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from chaoskit.hypotheses.metric import MetricClaim
from chaoskit.hypotheses.series import Series, series_in
from chaoskit.model.history import History, Phase
from chaoskit.model.observation import prometheus_source
from chaoskit.model.topology import Topology
from chaoskit.model.undo import JSON

__all__ = ["Prometheus", "unknown_server"]


class Prometheus(MetricClaim):
    """A PromQL query stays within its bounds.

    What it measures: the query's answers, asked once a second while the run goes on. A scalar or a vector of one is
    one series; of a vector with several, `each` series must hold unless `across` says otherwise. Series are told apart
    by all of their labels but the name. Within the query PromQL's own rules match vectors: both sides of an operator
    need the same labels, or `on (…)`, `ignoring (…)` and `group_left` say which count; what has no partner falls out.

    Formula:
        max, min, mean, last or pq of the answers over the phase  ≤ max, ≥ min

    Example:
        {kind: prometheus, query: 'histogram_quantile(0.95, sum by (le) (rate(shop_seconds_bucket[5s])))', max: 0.4}
        {kind: prometheus, server: "http://127.0.0.1:9090", query: 'sum(up{job="services"})', min: 4}

    Limits: a Prometheus knows what it scraped (once a second from a `provides: prometheus`), and `rate(…[5s])` lags by
    as much as its window: give it a phase that is longer. One that is slow or down leaves gaps; more than half of a
    phase without an answer is inconclusive, and so is a series that was there before and is in the phase no more: a
    query with a filter (`… > 5`) wants `or vector(0)`.
    """

    kind: ClassVar[str] = "prometheus"

    query: str
    """PromQL, with a scalar or an instant vector as its value."""
    server: str = "prometheus"
    """The target's service that provides it, or the URL of one that runs already."""
    ask: Literal["instant", "range"] = "instant"
    """Asked for what it is now, or on whole seconds of the server's clock (what was missed is made up for)."""

    @property
    def subject(self) -> str:
        return self.query

    def check(self, topology: Topology, request_names: Sequence[str]) -> Sequence[tuple[str, str]]:
        return unknown_server(self.server, topology)

    def probes(self) -> Sequence[tuple[str, Mapping[str, JSON]]]:
        return [("prometheus", {"server": self.server, "queries": [self.query], "ask": self.ask})]

    def series(self, history: History, phase: Phase) -> list[Series]:
        source = prometheus_source(self.server, self.ask)
        found = series_in(history, self.query, phase, source=source, labels={}, reads=self.reads, born_at_zero=False)
        return [one._replace(name=one.name.removeprefix(source)) for one in found]


def unknown_server(server: str, topology: Topology) -> list[tuple[str, str]]:
    """Whether `server` is neither a URL nor a service of the target."""
    if "://" in server or any(service.name == server for service in topology.services):
        return []
    hint = "give the target a service with `provides: prometheus`, or name the URL of one that runs"
    return [("server", f"no service {server!r} in target {topology.target}; {hint}")]
