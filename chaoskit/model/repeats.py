"""The same claim, judged in several runs of one experiment: merged with the run as the unit, and flips told.

every run that could tell agrees, and most could   → their verdict
some supported, some refuted                       → a flip: inconclusive, and said so
most could not tell, but the runs together can     → by the interval of their values against the bound
else                                               → inconclusive
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

import msgspec

from chaoskit.model.statistics import CONFIDENCE, student_t
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Repeated", "merge_repeats"]


class Repeated(msgspec.Struct, frozen=True, kw_only=True):
    """One claim over several runs."""

    hypothesis: str
    verdict: Verdict
    flips: bool
    """Whether it was supported in one run and refuted in another."""
    verdicts: dict[str, int]
    """How often each verdict came."""
    measured: float | None = None
    """Mean over the runs."""
    interval: tuple[float, float] | None = None
    """Of that mean (Student's t over runs); None for fewer than three of them."""
    unit: str = ""
    because: str


def merge_repeats(runs: Sequence[Sequence[Finding]]) -> list[Repeated]:
    """One entry for each hypothesis, in the order of the first run. `runs` are the findings of each. Claims without a
    name share that of their kind: they are told apart by their place among them, and by what they claim."""
    groups: dict[tuple[str, int], list[Finding]] = {}
    for findings in runs:
        seen: Counter[str] = Counter()
        for found in findings:
            groups.setdefault((found.hypothesis, seen[found.hypothesis]), []).append(found)
            seen[found.hypothesis] += 1
    shared = Counter(name for name, _ in groups)
    return [
        msgspec.structs.replace(one, hypothesis=f"{name} ({found[0].expected})") if shared[name] > 1 else one
        for (name, _), found in groups.items()
        for one in [_merged(found)]
    ]


def _merged(found: Sequence[Finding]) -> Repeated:
    counted = Counter(str(finding.verdict) for finding in found)
    supported, refuted = counted[Verdict.SUPPORTED], counted[Verdict.REFUTED]
    values = [f.measured for f in found if f.measured is not None and math.isfinite(f.measured)]
    interval = _interval(values) if len(values) == len(found) else None
    flips = bool(supported and refuted)
    verdict = Verdict.INCONCLUSIVE
    if not flips and 2 * (supported + refuted) > len(found):
        verdict = Verdict.SUPPORTED if supported else Verdict.REFUTED
    elif not flips and interval is not None:
        verdict = _against_bound(found, interval)
    tally = ", ".join(f"{count} {name}" for name, count in counted.most_common())
    because = f"{len(found)} runs: {tally}{'; it flips' if flips else ''}"
    return Repeated(
        hypothesis=found[0].hypothesis,
        verdict=verdict,
        flips=flips,
        verdicts=dict(counted),
        measured=fmean(values) if values and len(values) == len(found) else None,
        interval=interval,
        unit=found[0].unit,
        because=because,
    )


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    if len(values) < 3:
        return None
    middle = fmean(values)
    spread = math.sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1) / len(values))
    reach = student_t(1.0 - (1.0 - CONFIDENCE) / 2.0, len(values) - 1) * spread
    return middle - reach, middle + reach


def _against_bound(found: Sequence[Finding], interval: tuple[float, float]) -> Verdict:
    """The side that is allowed is known from a run that could tell: without one, nothing is."""
    bounds = {finding.bound for finding in found}
    told = [
        f for f in found if f.verdict is not Verdict.INCONCLUSIVE and f.measured is not None and f.bound is not None
    ]
    if len(bounds) != 1 or not told or told[0].measured is None or told[0].bound is None:
        return Verdict.INCONCLUSIVE
    bound = told[0].bound
    below_is_good = (told[0].measured <= bound) == (told[0].verdict is Verdict.SUPPORTED)
    low, high = interval
    if low <= bound <= high:
        return Verdict.INCONCLUSIVE
    return Verdict.SUPPORTED if (high < bound) == below_is_good else Verdict.REFUTED
