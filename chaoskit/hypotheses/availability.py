"""Nearly every request succeeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from chaoskit.hypotheses.bounds import Bound, LoadClaim
from chaoskit.hypotheses.limits import ShareFloor
from chaoskit.hypotheses.measures import Share as ShareOf
from chaoskit.hypotheses.measures import planned, succeeded
from chaoskit.model.history import SteadyBound

__all__ = ["Availability"]


class Availability(LoadClaim):
    """At least a share of the requests succeeds.

    What it measures: successes ÷ all requests that were planned in the window; what was dropped or never finished did
    not succeed.

    Formula:
        availability = ok ÷ (ok + failed + dropped + unfinished)  ≥ min, or ≥ the baseline's − so much

    Example:
        {kind: availability, of: checkout, min: 99%}
        {kind: availability, of: checkout, min: -1%}      # at most 1% of the requests less than in baseline

    Limits: as for error_rate, "at least 99%" needs 300 requests in each phase (n ≥ 3 ÷ what may fail); fewer, less than
    4 s, or a bound inside the interval are inconclusive. It counts requests, not minutes: an outage at a quiet time
    costs little.
    """

    kind: ClassVar[str] = "availability"

    min: ShareFloor
    """Smallest share of the requests that must succeed; `-1%`: so much less than in baseline."""

    def bounds(self) -> Sequence[Bound]:
        measure = ShareOf("availability", succeeded, planned)
        value = 1.0 - self.min.share if self.min.under else self.min.share
        against = self.min.against if self.min.under else None
        return [Bound(measure=measure, upper=False, text=str(self.min), value=value, against=against)]

    def as_bounds(self) -> Sequence[SteadyBound]:
        return [] if self.min.under else [SteadyBound(measure="availability", of=self.of, least=self.min.share)]
