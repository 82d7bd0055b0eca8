"""Users get as many answers per second as promised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from chaoskit.hypotheses.bounds import Bound, LoadClaim
from chaoskit.hypotheses.limits import Floor
from chaoskit.hypotheses.measures import success_rate
from chaoskit.model.history import SteadyBound

__all__ = ["Throughput"]


class Throughput(LoadClaim):
    """Successful answers come at a rate, absolute or as a share of the baseline's.

    What it measures: successes ÷ seconds of the window. A request belongs to the window in which it was planned.

    Formula:
        throughput = ok ÷ seconds of the window  ≥ min, or ≥ share × baseline's

    Example:
        {kind: throughput, of: checkout, min: 50/s}
        {kind: throughput, min: 90%}                    # of what was answered per second in baseline

    Limits: an open load never yields more than its rate: ask for less than that, or it is too close to call. With a
    closed load the rate falls as soon as answers are slow: there it is a claim about response times too. Less than 4 s
    is inconclusive.
    """

    kind: ClassVar[str] = "throughput"

    min: Floor
    """Smallest rate of successes (`50/s`), or share of the baseline's (`90%`)."""

    def bounds(self) -> Sequence[Bound]:
        against = self.min.over if self.min.relative else None
        return [Bound(measure=success_rate(), upper=False, text=str(self.min), value=self.min.rate, against=against)]

    def as_bounds(self) -> Sequence[SteadyBound]:
        return () if self.min.relative else [SteadyBound(measure="throughput", of=self.of, least=self.min.rate)]
