"""When an open load sends, and how many users a closed one has: pure functions of the plan's legs and its seed.

The k-th send of a constant load is where the integral of the rate reaches k, that of a Poisson process where it
reaches the k-th sum of exponential gaps of mean 1 (time rescaling). Nothing is added up from send to send, so
nothing drifts.
"""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["Arrival", "Leg", "arrivals", "level_at", "next_above", "times", "trace_base"]

Leg = tuple[float, float, float, float]
"""(start, end, level at start, level at end)."""


class Arrival(NamedTuple):
    number: int
    """Counts all of the load's sends from 0, whoever sends them."""
    at: float
    """Seconds from the start of the load."""
    which: int
    """Index of the request in the mix."""


def times(legs: Sequence[Leg], *, poisson: bool = False, seed: int = 0) -> Iterator[float]:
    """Instants of all sends, ascending, from the start of the load; without end where the last level is above 0."""
    gaps = random.Random(f"arrivals {seed}")  # noqa: S311 - repeats with the seed, guards nothing
    goals = _running_sum(gaps) if poisson else map(float, itertools.count())
    goal = next(goals)
    before = 0.0
    for start, end, first, last in legs:
        if first <= 0 and last <= 0:
            continue
        length = end - start
        area = (first + last) / 2 * length
        slope = 0.0 if first == last else (last - first) / length
        while goal < before + area:
            yield start + min(_reach(first, slope, goal - before), length)
            goal = next(goals)
        before += area


def arrivals(
    legs: Sequence[Leg],
    weights: Sequence[float],
    *,
    poisson: bool = False,
    seed: int = 0,
) -> Iterator[Arrival]:
    """All sends with what is sent, drawn by weight from the seed."""
    draw = random.Random(f"requests {seed}").random  # noqa: S311 - repeats with the seed, guards nothing
    bounds = list(itertools.accumulate(weights))
    last = len(bounds) - 1
    everything = bounds[-1]
    for number, at in enumerate(times(legs, poisson=poisson, seed=seed)):
        yield Arrival(number, at, min(bisect_right(bounds, draw() * everything), last) if last else 0)


def level_at(legs: Sequence[Leg], at: float) -> float:
    """The level at an instant; 0 before the first leg."""
    for start, end, first, last in legs:
        if start <= at < end:
            return last if first == last else first + (last - first) * (at - start) / (end - start)
    return 0.0


def next_above(legs: Sequence[Leg], level: float, at: float) -> float:
    """The first instant from `at` on at which the load's level is above `level`; inf where it never is again."""
    for start, end, first, last in legs:
        if end <= at or max(first, last) <= level:
            continue
        begin = max(start, at)
        if first == last or level_at(legs, begin) > level:
            return begin
        if last > level:
            crossing = start + (level - first) / (last - first) * (end - start)
            return max(begin, math.nextafter(crossing, math.inf))
    return math.inf


def trace_base(seed: int) -> int:
    """The first 64 bits of every trace id of a load."""
    return random.Random(f"traces {seed}").getrandbits(64) | 1  # noqa: S311 - an id, not a secret


def _running_sum(gaps: random.Random) -> Iterator[float]:
    total = 0.0
    while True:
        total += gaps.expovariate(1.0)
        yield total


def _reach(first: float, slope: float, goal: float) -> float:
    """Where first·x + slope·x²/2 = goal, x ≥ 0, in the form that loses no digits for small slopes."""
    if goal <= 0:
        return 0.0
    return 2 * goal / (first + math.sqrt(max(first * first + 2 * slope * goal, 0.0)))
