"""Intervals, trends and corrections: what separates a difference from noise. Pure; numpy is loaded when first used.

Neighbouring requests are not independent, so the unit that is drawn is a block of a second (or a whole run), never a
request. The intervals are the bootstrap's "expanded percentile" ones (Hesterberg, "What Teachers Should Know About
the Bootstrap", The American Statistician 69, 2015, §4.3): with few blocks the plain percentiles are too narrow by the
factor √(n/(n−1)) and by Student's t against the normal, so the tails that are cut off are made thinner by both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from statistics import NormalDist, fmean, median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CONFIDENCE",
    "MINIMUM_BLOCKS",
    "RESAMPLES",
    "Trend",
    "block_width",
    "difference_interval",
    "draws",
    "holm",
    "interval_of",
    "none_seen_at_most",
    "permutation_p",
    "requests_for_quantile",
    "requests_for_share",
    "student_t",
    "trend",
]

CONFIDENCE = 0.95
RESAMPLES = 1000
MINIMUM_BLOCKS = 4
"""Fewer blocks than this give no interval worth its name."""
MOST_BLOCKS = 600

_NORMAL = NormalDist()


def block_width(seconds: float) -> float:
    """Width of the blocks for a window: a second, more where there would be over 600 of them (costs stay bounded, and
    longer blocks only make the interval more honest)."""
    return float(max(1, math.ceil(seconds / MOST_BLOCKS)))


@lru_cache(maxsize=16)
def draws(blocks: int, *, resamples: int = RESAMPLES, seed: int = 1) -> NDArray[np.float64]:
    """How often each block is drawn in each resample, shape (resamples, blocks); rows sum to `blocks`. Read-only."""
    import numpy as np

    picked = np.random.default_rng(seed).integers(0, blocks, size=(resamples, blocks))
    flat = (picked + np.arange(resamples)[:, None] * blocks).ravel()
    counted = np.bincount(flat, minlength=resamples * blocks)
    drawn: NDArray[np.float64] = counted.reshape(resamples, blocks).astype(np.float64)
    drawn.flags.writeable = False
    return drawn


def interval_of(
    values: NDArray[np.float64], units: int, *, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Interval from resampled values of a measure over `units` blocks or runs; None where there are too few units, or
    where a resample had nothing to measure. Order statistics, never interpolated: inf stays inf."""
    import numpy as np

    if units < MINIMUM_BLOCKS or np.isnan(values).any():
        return None
    t = student_t(1.0 - (1.0 - confidence) / 2.0, units - 1)
    tail = _NORMAL.cdf(-t * math.sqrt(units / (units - 1)))
    ordered = np.sort(values)
    low = math.floor(tail * (len(ordered) - 1))
    return float(ordered[low]), float(ordered[len(ordered) - 1 - low])


def student_t(probability: float, freedom: int) -> float:
    """Quantile of Student's t: exact for 1 and 2, then the expansion in 1/freedom (Abramowitz & Stegun 26.7.5)."""
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        return (2.0 * probability - 1.0) / math.sqrt(2.0 * probability * (1.0 - probability))
    z: float = _NORMAL.inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / float(freedom) ** (power + 1) for power, term in enumerate(terms))


def requests_for_quantile(q: float, *, confidence: float = CONFIDENCE) -> int:
    """Samples below which even the largest and smallest of them do not enclose the q-quantile with this confidence:
    n ≥ ln((1−confidence)/2) ÷ ln(max(q, 1−q)). (Wilks 1941; Le Boudec, "Performance Evaluation", 2010, §2.2.2.)
    p50 6 · p90 36 · p95 72 · p99 368 · p99.9 3688."""
    return math.ceil(math.log((1.0 - confidence) / 2.0) / math.log(max(q, 1.0 - q)))


def requests_for_share(share: float) -> int:
    """Samples of which none may fail before one may say that at most `share` do: the rule of three, n ≥ 3 ÷ share
    (Hanley & Lippman-Hand, JAMA 249, 1983). For 0 and 1 a single one is enough: it can only refute."""
    rare = min(share, 1.0 - share)
    return math.ceil(3.0 / rare - 1e-9) if rare > 0 else 1


def none_seen_at_most(samples: int, *, confidence: float = CONFIDENCE) -> float:
    """Upper bound for the share of what was not seen once in `samples`: 1 − (1−confidence)^(1/n)."""
    return 1.0 - (1.0 - confidence) ** (1.0 / samples) if samples else 1.0


class Trend(NamedTuple):
    """A drift over equally spaced values. `slope` is per step (Theil–Sen); `p_value` is Mann–Kendall's."""

    slope: float
    p_value: float
    change: float
    """Slope × steps ÷ median: how far it went, as a share."""


def trend(values: Sequence[float]) -> Trend | None:
    """Whether values drift (Mann–Kendall with the correction for ties, two-sided); None for fewer than 5 of them, or
    where one is not finite."""
    n = len(values)
    if n < 5 or not all(math.isfinite(value) for value in values):
        return None
    pairs = [(values[j] - values[i], j - i) for i, j in combinations(range(n), 2)]
    score = sum((difference > 0) - (difference < 0) for difference, _ in pairs)
    ties = [values.count(value) for value in set(values)]
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18.0
    slope = median(difference / steps for difference, steps in pairs)
    z = (score - math.copysign(1, score)) / math.sqrt(variance) if score and variance > 0 else 0.0
    middle = median(values)
    change = slope * (n - 1) / middle if middle else 0.0
    return Trend(slope, 2.0 * _NORMAL.cdf(-abs(z)), change)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for asking several questions at once, in their order (Holm, Scand. J. Stat. 6, 1979)."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def difference_interval(
    before: Sequence[float], after: Sequence[float], *, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Interval of mean(after) − mean(before) with runs as the unit (Welch); None with fewer than two runs a side."""
    if min(len(before), len(after)) < 2:
        return None
    squares = [_variance(side) / len(side) for side in (before, after)]
    error = math.sqrt(sum(squares))
    middle = fmean(after) - fmean(before)
    if not error:
        return middle, middle
    freedom = sum(squares) ** 2 / sum(
        square**2 / (len(side) - 1) for square, side in zip(squares, (before, after), strict=True)
    )
    reach = student_t(1.0 - (1.0 - confidence) / 2.0, max(1, int(freedom))) * error
    return middle - reach, middle + reach


def permutation_p(before: Sequence[float], after: Sequence[float], *, resamples: int = 10_000, seed: int = 1) -> float:
    """How often a random split of the same runs differs in its means at least as much (two-sided; exact where there
    are few enough splits, and never 0: the split that was seen counts too)."""
    import numpy as np

    values = np.asarray([*before, *after], dtype=np.float64)
    n, first = len(values), len(before)
    seen = abs(fmean(after) - fmean(before))
    if math.comb(n, first) <= resamples:
        chosen = np.zeros((math.comb(n, first), n), dtype=bool)
        for row, members in enumerate(combinations(range(n), first)):
            chosen[row, list(members)] = True
        extra = 0
    else:
        order = np.random.default_rng(seed).random((resamples, n)).argsort(axis=1)
        chosen = order < first
        extra = 1
    sums = chosen @ values
    differences = np.abs((values.sum() - sums) / (n - first) - sums / first)
    return float((np.count_nonzero(differences >= seen - 1e-12 * max(seen, 1.0)) + extra) / (len(chosen) + extra))


def _variance(values: Sequence[float]) -> float:
    middle = fmean(values)
    return sum((value - middle) ** 2 for value in values) / (len(values) - 1)
