"""How many false alarms a suite's many bounds make likely, and which refutations stand when that is corrected for.

A bound is refuted when the whole 95% interval lies beyond it: in one of forty cases that happens to a bound that holds
exactly. With m bounds, m ÷ 40 such alarms are due. Holm's procedure asks more of each the more there are; a refutation
that does not survive it is worth another run before it is worth a ticket.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from chaoskit.model.run import Run
from chaoskit.model.statistics import CONFIDENCE, holm
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Chances", "Doubt", "chances_of", "p_value"]

_NORMAL = NormalDist()
_HALF_WIDTH = _NORMAL.inv_cdf(1.0 - (1.0 - CONFIDENCE) / 2.0)
SIGNIFICANT = (1.0 - CONFIDENCE) / 2.0
"""One-sided: what one bound alone is judged by."""


@dataclass(frozen=True)
class Doubt:
    """A refutation by interval, with its p value before and after the correction."""

    run: Run
    finding: Finding
    p_value: float
    corrected: float

    @property
    def stands(self) -> bool:
        return self.corrected <= SIGNIFICANT


@dataclass(frozen=True)
class Chances:
    """Of all findings that held an interval against a bound."""

    bounds: int
    refuted: tuple[Doubt, ...]

    @property
    def expected_alarms(self) -> float:
        """False alarms to expect where every bound holds exactly."""
        return self.bounds * SIGNIFICANT

    @property
    def any_alarm(self) -> float:
        """Chance of at least one, if the bounds were independent."""
        return 1.0 - (1.0 - SIGNIFICANT) ** self.bounds

    @property
    def fallen(self) -> list[Doubt]:
        """Refutations that do not survive the correction."""
        return [doubt for doubt in self.refuted if not doubt.stands]


def chances_of(runs: Sequence[Run]) -> Chances:
    """Over the findings of several runs; a twin that must break is left out of the family where it broke as expected
    (nobody takes that for an alarm)."""
    asked = [
        (run, finding, p)
        for run in runs
        for finding in run.findings
        if not (run.expected is Verdict.REFUTED and run.as_expected)
        if (p := p_value(finding)) is not None
    ]
    corrected = holm([p for _, _, p in asked])
    doubts = [
        Doubt(run, finding, p, better)
        for (run, finding, p), better in zip(asked, corrected, strict=True)
        if finding.verdict is Verdict.REFUTED
    ]
    return Chances(len(asked), tuple(doubts))


def p_value(finding: Finding) -> float | None:
    """How likely a measurement this far beyond its bound is if the bound holds exactly (one-sided, normal, with the
    error that the interval tells); None for a finding that held no interval against a bound."""
    if finding.interval is None or finding.bound is None or finding.measured is None:
        return None
    low, high = finding.interval
    value, bound = finding.measured, finding.bound
    if not all(math.isfinite(one) for one in (low, high, value)):
        # A rank among requests that never succeeded: beyond every bound, as far as the interval's other end.
        return 0.0 if math.isfinite(low) and low > bound else None if finding.verdict is Verdict.INCONCLUSIVE else 1.0
    below = finding.verdict is Verdict.REFUTED and value < bound
    above = finding.verdict is Verdict.REFUTED and value > bound
    if not below and not above:
        return 1.0
    error = (high - value if below else value - low) / _HALF_WIDTH
    distance = abs(value - bound)
    return 0.0 if error <= 0 else 1.0 - _NORMAL.cdf(distance / error)
