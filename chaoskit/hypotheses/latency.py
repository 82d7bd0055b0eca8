"""Response times stay below their bounds, as a user meets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from chaoskit.hypotheses.bounds import Bound, LoadClaim
from chaoskit.hypotheses.limits import Limit, LimitValue
from chaoskit.hypotheses.measures import Quantile
from chaoskit.model.history import SteadyBound

__all__ = ["Latency"]

_QUANTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}


class Latency(LoadClaim):
    """Response times stay below their bounds.

    What it measures: quantiles of the time from the *planned* send to the last byte, over all planned requests. Those
    that failed, were dropped or never finished rank above every success, so that a service that answers few requests
    quickly is not fast; `over: successes` leaves them out.

    Formula:
        response time = last byte − planned send; ∞ for what did not succeed
        pq = the ⌈q × n⌉-th smallest of n response times  ≤ bound, or ≤ baseline's pq × (1 + share), or + added

    Example:
        {kind: latency, of: checkout, p95: 400ms, p99: 1s}
        {kind: latency, of: checkout, p95: +50%}        # at most half more than in baseline; also +100ms

    Limits: a quantile needs enough requests beyond it (p95 72, p99 368, p99.9 3688 in each phase; `check` computes
    them), and its bucket is within 0.5% of the truth. An interval comes from a bootstrap over blocks of a second.
    """

    kind: ClassVar[str] = "latency"

    p50: Limit | None = None
    """Bound of the median: `200ms`, or over the baseline: `+50%`, `+100ms`."""
    p75: Limit | None = None
    p90: Limit | None = None
    p95: Limit | None = None
    p99: Limit | None = None
    p99_9: Limit | None = Field(default=None, alias="p99.9")
    over: Literal["all", "successes"] = "all"
    """Whose response times: those of all planned requests, or of successes alone."""

    @model_validator(mode="after")
    def _one(self) -> Latency:
        if not any(self._limits()):
            raise ValueError("expected a bound, such as p95: 400ms")
        return self

    def _limits(self) -> list[tuple[str, LimitValue]]:
        return [(name, limit) for name in _QUANTILES if (limit := getattr(self, name)) is not None]

    def bounds(self) -> Sequence[Bound]:
        return [
            Bound(
                measure=Quantile(_QUANTILES[name], self.over),
                upper=True,
                text=str(limit),
                value=limit.seconds,
                against=limit.over if limit.relative else None,
            )
            for name, limit in self._limits()
        ]

    def as_bounds(self) -> Sequence[SteadyBound]:
        if self.over == "successes" or any(limit.relative for _, limit in self._limits()):
            return ()
        return [
            SteadyBound(measure=name.replace("_", "."), of=self.of, most=limit.seconds)
            for name, limit in self._limits()
        ]
