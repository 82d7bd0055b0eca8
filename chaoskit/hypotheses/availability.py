"""Nearly every request succeeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from chaoskit.hypotheses.bounds import Bound, LoadClaim
from chaoskit.hypotheses.measures import Share as ShareOf
from chaoskit.hypotheses.measures import planned, succeeded
from chaoskit.hypotheses.words import share_text
from chaoskit.model.history import SteadyBound
from chaoskit.model.units import Share

__all__ = ["Availability"]


class Availability(LoadClaim):
    """At least a share of the requests succeeds.

    What it measures: successes ÷ all requests that were planned in the window; what was dropped or never finished did
    not succeed.

    Formula:
        availability = ok ÷ (ok + failed + dropped + unfinished)  ≥ min

    Example:
        {kind: availability, of: checkout, min: 99%}

    Limits: as for error_rate, "at least 99%" needs 300 requests in each phase (n ≥ 3 ÷ what may fail); fewer, less than
    4 s, or a bound inside the interval are inconclusive. It counts requests, not minutes: an outage at a quiet time
    costs little.
    """

    kind: ClassVar[str] = "availability"

    min: Share
    """Smallest share of the requests that must succeed."""

    def bounds(self) -> Sequence[Bound]:
        measure = ShareOf("availability", succeeded, planned)
        return [Bound(measure=measure, upper=False, text=share_text(self.min), value=self.min)]

    def as_bounds(self) -> Sequence[SteadyBound]:
        return [SteadyBound(measure="availability", of=self.of, least=self.min)]
