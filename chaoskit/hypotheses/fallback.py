"""Users get a lesser answer instead of none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from chaoskit.hypotheses.bounds import Bound, LoadClaim
from chaoskit.hypotheses.claim import unknown_name
from chaoskit.hypotheses.measures import Share as ShareOf
from chaoskit.hypotheses.words import share_text
from chaoskit.interfaces import Named
from chaoskit.model.load_view import LoadView
from chaoskit.model.units import Share

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Fallback"]


class Fallback(LoadClaim):
    """While something is broken, a share of the answers is the fallback; otherwise hardly any is.

    What it measures: answers that bear a mark of the load ÷ all answers of the window. The mark is a condition under
    `load: marks:`, by header, status or body.

    Formula:
        share = answers with the mark ÷ answers of any status  ≥ min, ≤ max

    Example:
        load: {marks: {degraded: {header: "X-Degraded: true"}}, …}
        {kind: fallback, of: checkout, mark: degraded, min: 90%}
        {kind: fallback, of: checkout, mark: degraded, max: 1%, holds_in: [baseline, recovery]}

    Limits: it counts answers, not their worth: whether a fallback is quick is for `latency` to say. A request that was
    never answered is in neither number. "At least 90%" takes 30 answers, "at most 1%" 300.
    """

    kind: ClassVar[str] = "fallback"

    mark: str
    """Name of the mark."""
    min: Share | None = None
    """Smallest share of the answers that must bear it."""
    max: Share | None = None
    """Largest share of the answers that may bear it."""

    @model_validator(mode="after")
    def _bounded(self) -> Fallback:
        if self.min is None and self.max is None:
            raise ValueError("expected a bound: min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"no share is at least {share_text(self.min)} and at most {share_text(self.max)}")
        return self

    def check_names(self, named: Named) -> Sequence[tuple[str, str]]:
        return unknown_name("mark", self.mark, named.marks, "mark")

    def bounds(self) -> Sequence[Bound]:
        measure = ShareOf(f"share of {self.mark} answers", self._marked, _answered)
        found = []
        if self.min is not None:
            found.append(Bound(measure=measure, upper=False, text=share_text(self.min), value=self.min))
        if self.max is not None:
            found.append(Bound(measure=measure, upper=True, text=share_text(self.max), value=self.max))
        return found

    def _marked(self, view: LoadView) -> NDArray[np.int64]:
        import numpy as np

        return np.array([slot.marks.get(self.mark, 0) for _, slot in view.entries], dtype=np.int64)


def _answered(view: LoadView) -> NDArray[np.int64]:
    import numpy as np

    # A request that was never answered has no status: what counts is what came back, well or not.
    return np.array([sum(slot.statuses.values()) or slot.ok for _, slot in view.entries], dtype=np.int64)
