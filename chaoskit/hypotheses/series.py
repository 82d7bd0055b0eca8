"""Samples of metrics as series: counters made into rates across resets, what is no number left out, gaps noticed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Literal, NamedTuple

from chaoskit.model.history import History, Phase, Span
from chaoskit.model.observation import PAGE_READ, MetricPoint

__all__ = ["FEWEST", "Across", "Reads", "Sample", "Series", "combined", "gaps", "series_in", "silences", "taken"]

Reads = Literal["value", "rate", "increase"]
Across = Literal["each", "sum", "max", "min"]

FEWEST = 3
"""Samples of a series in a phase below which it tells nothing."""
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
    known: bool = False
    """Whether it was there before the phase."""
    meant: bool = False
    """Whether a fault acts on its replica, and may be why it is gone."""


def series_in(
    history: History, name: str, phase: Phase, *, source: str = "", labels: Mapping[str, str], reads: Reads = "value",
    born_at_zero: bool = True,
) -> list[Series]:  # fmt: skip
    """The series of a metric in a phase. Of counters a rate needs the sample before, which may lie before the phase.

    A counter is exported from its first event on: on a page with other series of its name it was 0 until then
    (`born_at_zero`), also where that event never came.
    """
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[MetricPoint]] = {}
    sources = set(history.topology.select_replicas(source)) if _is_service(history, source) else {source}
    for point in history.metric(name):
        if (not source or point.source in sources) and labels.items() <= point.labels.items():
            groups.setdefault((point.source, tuple(sorted(point.labels.items()))), []).append(point)
    pages = _pages(history, name, sources if source else None, labels) if born_at_zero and reads != "value" else {}
    for replica in pages.keys() - {replica for replica, _ in groups}:
        groups[replica, ()] = []
    found = []
    spans = history.windows.get(phase, [])
    meant = {name for fault in history.faults for name in fault.replicas}
    for (replica, own), points in groups.items():
        numbers = [Sample(point.at, point.value) for point in points if math.isfinite(point.value)]
        first = points[0].at if points else math.inf
        numbers = [Sample(at, 0.0) for at in pages.get(replica, ()) if at < first] + numbers
        usual = median([b.at - a.at for a, b in pairwise(numbers)]) if len(numbers) > 1 else 1.0
        known = bool(numbers) and bool(spans) and numbers[0].at < spans[0][0]
        numbers = _changes(numbers, reads) if reads != "value" else numbers
        inside = [one for one in numbers if _inside(one.at, spans)]
        text = ", ".join(f'{key}="{value}"' for key, value in own if key not in labels)
        found.append(Series(f"{replica}{{{text}}}" if text else replica, inside, usual, known, replica in meant))
    return found


def _pages(
    history: History, name: str, sources: Collection[str] | None, labels: Mapping[str, str]
) -> dict[str, list[float]]:
    """When each replica's page was read that has series of this name with these labels, whatever their values (without
    one a slip in a name would read as 0)."""
    found: dict[str, dict[float, None]] = {}
    for point in history.metric(name):
        if (sources is None or point.source in sources) and labels.keys() <= point.labels.keys():
            found.setdefault(point.source, {})[point.at] = None
    for point in history.metric(PAGE_READ):
        if point.source in found:
            found[point.source][point.at] = None
    return {replica: sorted(times) for replica, times in found.items()}


def combined(series: Sequence[Series], across: Across) -> list[Series]:
    """Several series as one: at each instant of the one with most samples, of the last value of each. Nothing at an
    instant at which one that was there is gone, unless a fault may be why."""
    if across == "each" or not series:
        return list(series)
    longest = max(series, key=lambda one: len(one.samples))
    combine: Callable[[Sequence[float]], float] = math.fsum if across == "sum" else max if across == "max" else min
    samples = []
    for at, _ in longest.samples:
        last = [(one, _last_value(one, at)) for one in series]
        if not any(value is None and _was_there(one, at) and not one.meant for one, value in last):
            samples.append(Sample(at, combine([value for _, value in last if value is not None])))
    return [Series(f"{across} of {len(series)}", samples, longest.usual, known=any(one.known for one in series))]


def gaps(one: Series, spans: Sequence[Span]) -> list[Span]:
    """Where the series was gone: no sample for over three times the usual distance."""
    allowed = _STALE * max(one.usual, 0.1)
    return [gap for span in spans for gap in silences([sample.at for sample in one.samples], span, allowed)]


def silences(times: Iterable[float], span: Span, longest: float) -> list[Span]:
    """Where nothing was told within a span for longer than `longest` seconds. `times` ascend."""
    start, end = span
    told = [start, *(at for at in times if start <= at < end), end]
    return [(a, b) for a, b in pairwise(told) if b - a > longest]


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


def _was_there(one: Series, at: float) -> bool:
    return one.known or bool(one.samples and one.samples[0].at <= at)


def _inside(at: float, spans: Sequence[Span]) -> bool:
    return any(start <= at < end for start, end in spans)


def _is_service(history: History, source: str) -> bool:
    names = {service.name for service in history.topology.services} | set(history.topology.replica_names())
    return source in names
