"""Few requests fail."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar

from pydantic import field_validator

from chaoskit.hypotheses.bounds import Bound, LoadClaim
from chaoskit.hypotheses.limits import ShareLimit
from chaoskit.hypotheses.measures import Share as ShareOf
from chaoskit.hypotheses.measures import failed, planned
from chaoskit.model.history import SteadyBound
from chaoskit.model.load_view import LoadView
from chaoskit.model.observation import LoadSlot
from chaoskit.wording import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ErrorRate"]

_CAUSES = (
    "body too large", "closed early", "dropped", "redirected nowhere", "refused", "reset", "timeout",
    "timeout connecting", "timeout mid-answer", "unfinished", "unreachable",
)  # fmt: skip


class ErrorRate(LoadClaim):
    """At most a share of the requests fails.

    What it measures: requests that failed, were dropped or never finished ÷ all that were planned in the window.

    Formula:
        error rate = (failed + dropped + unfinished) ÷ (ok + failed + dropped + unfinished)  ≤ max
        with +1%: error rate − the baseline's                                                ≤ max

    Example:
        {kind: error_rate, of: checkout, max: 1%}
        {kind: error_rate, max: 0%, cause: timeout}     # this cause alone
        {kind: error_rate, of: checkout, max: +1%}      # at most one request in a hundred more than in baseline

    Limits: "at most 1%" needs 300 requests in each phase: with fewer, none failing would not show it (the rule of
    three, n ≥ 3 ÷ share). `max: 0%` is refuted by a single one. A bound inside the interval is inconclusive.
    """

    kind: ClassVar[str] = "error_rate"

    max: ShareLimit
    """Largest share of the requests that may fail; `+1%`: so much more than in baseline."""
    cause: str = ""
    """Count failures of this cause alone: `timeout`, `status 503`, a glob such as `status 5*` (default: all)."""

    @field_validator("cause")
    @classmethod
    def _known(cls, value: str) -> str:
        """A locustfile may call its causes what it likes; what is nearly one of ours is a slip."""
        if value in _CAUSES or value.startswith("status ") or any(sign in value for sign in "*?[:"):
            return value
        if hint := did_you_mean(value, _CAUSES, all_of_them=False):
            raise ValueError(f"no failure has the cause {value!r}; {hint}")
        return value

    def bounds(self) -> Sequence[Bound]:
        name = f"rate of {self.cause}" if self.cause else "error rate"
        measure = ShareOf(name, self._of_cause if self.cause else failed, planned)
        against = self.max.against if self.max.over else None
        return [Bound(measure=measure, upper=True, text=str(self.max), value=self.max.share, against=against)]

    def _of_cause(self, view: LoadView) -> NDArray[np.int64]:
        import numpy as np

        return np.array([_count(slot, self.cause) for _, slot in view.entries], dtype=np.int64)

    def as_bounds(self) -> Sequence[SteadyBound]:
        if self.cause or self.max.over:
            return ()
        return [SteadyBound(measure="error_rate", of=self.of, most=self.max.share)]


def _count(slot: LoadSlot, cause: str) -> int:
    causes = {**slot.causes, "dropped": slot.dropped, "unfinished": slot.unfinished}
    return sum(count for name, count in causes.items() if fnmatchcase(name, cause))
