"""Whether the baseline stood still: a warm-up that was too short makes everything that is relative to it wrong."""

from __future__ import annotations

from chaoskit.model.history import History, Phase
from chaoskit.model.statistics import trend

__all__ = ["baseline_drift"]

_BLOCKS = 12
_SURE = 0.01
_MATTERS = 0.2
"""Share by which the middle of the response times must have moved: less is of no consequence."""


def baseline_drift(history: History) -> str:
    """A sentence that says how the baseline's response times drifted; empty where they did not (Mann–Kendall over a
    dozen blocks, p below 1%, and a change of at least a fifth)."""
    view = history.during(Phase.BASELINE).load()
    if not view.ok or view.seconds < 2.0:
        return ""
    medians = [block.percentile(0.5, over="successes") for block in view.blocks(view.seconds / _BLOCKS)]
    found = trend([median for median in medians if median == median])
    if found is None or found.p_value > _SURE or abs(found.change) < _MATTERS:
        return ""
    went = "rose" if found.change > 0 else "fell"
    return (
        f"the baseline drifted: the median response time {went} by {abs(found.change):.0%} over {view.seconds:.1f} s"
        f" (p = {found.p_value:.1g}); a longer warmup would let it settle"
    )
