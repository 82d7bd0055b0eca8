"""Samples of metrics as series: counters made into rates across resets, what is no number left out, gaps noticed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Literal, NamedTuple

from chaoskit.model.history import History, Phase, Span
from chaoskit.model.observation import MetricPoint

__all__ = ["Across", "Reads", "Sample", "Series", "combined", "gaps", "series_in", "taken"]

Reads = Literal["value", "rate", "increase"]
Across = Literal["each", "sum", "max", "min"]

_STALE = 3.0
"""A sample stands for this many of its usual distances; after that the series is gone."""


class Sample(NamedTuple):
    at: float
    value: float


class Series(NamedTuple):
    """One metric of one replica with one set of labels."""

    name: str
    """Replica and labels, for people."""
    samples: list[Sample]
    usual: float
    """Usual distance of two samples in the whole run, in seconds."""


def series_in(
    history: History, name: str, phase: Phase, *, source: str = "", labels: Mapping[str, str], reads: Reads = "value"
) -> list[Series]:
    """The series of a metric in a phase. Of counters a rate needs the sample before, which may lie before the phase."""
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[MetricPoint]] = {}
    sources = set(history.topology.select_replicas(source)) if _is_service(history, source) else {source}
    for point in history.metric(name):
        if (not source or point.source in sources) and labels.items() <= point.labels.items():
            groups.setdefault((point.source, tuple(sorted(point.labels.items()))), []).append(point)
    found = []
    for (replica, own), points in groups.items():
        numbers = [Sample(point.at, point.value) for point in points if math.isfinite(point.value)]
        usual = median([b.at - a.at for a, b in pairwise(numbers)]) if len(numbers) > 1 else 1.0
        numbers = _changes(numbers, reads) if reads != "value" else numbers
        inside = [one for one in numbers if _inside(one.at, history.windows.get(phase, []))]
        text = ", ".join(f'{key}="{value}"' for key, value in own if key not in labels)
        found.append(Series(f"{replica}{{{text}}}" if text else replica, inside, usual))
    return found


def combined(series: Sequence[Series], across: Across) -> list[Series]:
    """Several series as one: at each instant of the one with most samples, of the last value of each."""
    if across == "each" or not series:
        return list(series)
    longest = max(series, key=lambda one: len(one.samples))
    combine: Callable[[Sequence[float]], float] = math.fsum if across == "sum" else max if across == "max" else min
    samples = []
    for at, _ in longest.samples:
        values = [value for one in series if (value := _last_value(one, at)) is not None]
        samples.append(Sample(at, combine(values)))
    return [Series(f"{across} of {len(series)}", samples, longest.usual)]


def gaps(one: Series, spans: Sequence[Span]) -> list[Span]:
    """Where the series was gone: no sample for over three times the usual distance."""
    found = []
    allowed = _STALE * max(one.usual, 0.1)
    for start, end in spans:
        times = [start, *(sample.at for sample in one.samples if start <= sample.at < end), end]
        found += [(a, b) for a, b in pairwise(times) if b - a > allowed]
    return found


def taken(samples: Sequence[Sample], take: str) -> Sample:
    """One sample for all: max, min, mean, last, or a quantile such as p95. There is at least one."""
    if take == "max":
        return max(samples, key=lambda sample: sample.value)
    if take == "min":
        return min(samples, key=lambda sample: sample.value)
    if take == "mean":
        return Sample(samples[0].at, math.fsum(sample.value for sample in samples) / len(samples))
    if take == "last":
        return samples[-1]
    ascending = sorted(samples, key=lambda sample: sample.value)
    return ascending[max(0, math.ceil(float(take.removeprefix("p")) / 100 * len(ascending)) - 1)]


def _changes(samples: Sequence[Sample], reads: Reads) -> list[Sample]:
    """What a counter grew by between two samples (per second for a rate). One that fell began again at 0."""
    found = []
    for before, after in pairwise(samples):
        grown = after.value - before.value if after.value >= before.value else after.value
        seconds = after.at - before.at
        if seconds > 0:
            found.append(Sample(after.at, grown / seconds if reads == "rate" else grown))
    return found


def _last_value(one: Series, at: float) -> float | None:
    known = [sample for sample in one.samples if sample.at <= at + one.usual / 2]
    last = known[-1] if known else None
    return last.value if last is not None and at - last.at <= _STALE * max(one.usual, 0.1) else None


def _inside(at: float, spans: Sequence[Span]) -> bool:
    return any(start <= at < end for start, end in spans)


def _is_service(history: History, source: str) -> bool:
    names = {service.name for service in history.topology.services} | set(history.topology.replica_names())
    return source in names
