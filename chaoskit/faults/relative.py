"""What `+50%` comes to in seconds: the share of what an edge's calls took in baseline, if their spread allows it."""

from __future__ import annotations

import math

from chaoskit.errors import CouldNotTell
from chaoskit.faults.evidence import middle, quantile
from chaoskit.model.histogram import bucket_value
from chaoskit.model.history import History, Phase
from chaoskit.model.topology import Edge
from chaoskit.model.units import duration_text

__all__ = ["FEWEST_CALLS", "baseline_durations", "share_of_baseline"]

FEWEST_CALLS = 20
"""Below this many calls p5 and p95 are the extremes, and say nothing of the spread."""


def baseline_durations(baseline: History, edges: list[Edge]) -> list[float]:
    """Durations of the calls that these edges answered in baseline, ascending (to 0.5%)."""
    view = baseline.during(Phase.BASELINE) if baseline.spans is None else baseline
    counts: dict[int, int] = {}
    for edge in edges:
        for bucket, count in view.tap(edge.name).took.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
    return [bucket_value(bucket) for bucket in sorted(counts) for _ in range(counts[bucket])]


def share_of_baseline(baseline: History, edges: list[Edge], share: float, says: str) -> dict[str, float]:
    """Seconds to add on each edge (by name): `share` of its own median, rounded to Toxiproxy's milliseconds.

    An edge with too few calls of its own takes its median and spread from all of `edges` together. Raises CouldNotTell
    where there are too few even so, or where an edge's p95 − p5 is larger than what would be added.
    """
    pooled = baseline_durations(baseline, edges)
    found = {}
    for edge in edges:
        took = baseline_durations(baseline, [edge])
        if len(took) < FEWEST_CALLS:
            took = pooled
        found[edge.name] = _added(took, share, edge.name, says)
    return found


def _added(took: list[float], share: float, edge: str, says: str) -> float:
    if len(took) < FEWEST_CALLS:
        raise CouldNotTell(
            f"{says} of what {edge} took: only {len(took)} of its calls ended in baseline, and it takes {FEWEST_CALLS}"
            " to know their spread",
            hint="make the baseline longer, send more load that crosses this edge, or add an absolute duration",
        )
    median, low, high = middle(took), quantile(took, 0.05), quantile(took, 0.95)
    added = round(median * share, 3)
    if added < high - low:
        needed = (high - low) / median
        raise CouldNotTell(
            f"{says} of what {edge} took in baseline ({duration_text(median)}) is {duration_text(median * share)},"
            f" less than the spread of its calls (p5 {duration_text(low)} to p95 {duration_text(high)}): nobody could"
            f" tell it from chance. It would take +{math.ceil(needed * 100)}% or more, or a steadier baseline",
        )
    if added <= 0.0:
        raise CouldNotTell(
            f"{says} of what {edge} took in baseline ({duration_text(median)}) is {duration_text(median * share)}, and"
            " latency comes in whole milliseconds",
            hint="add an absolute duration of 1ms or more",
        )
    return added
