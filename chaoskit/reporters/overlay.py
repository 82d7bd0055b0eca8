"""Two sides of runs in one picture: the same charts as a report's, with one line for each side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chaoskit.model.history import Phase, Span
from chaoskit.model.observation import LoadSlot
from chaoskit.reporters.chart import Chart, Line, line_path, mark_path, nice_top
from chaoskit.reporters.columns import Floats, LoadColumns, quantiles
from chaoskit.reporters.story import Distribution, distribution_of
from chaoskit.reporters.timeline import Timeline, bin_edges

__all__ = ["Entries", "overlay_charts", "overlay_distributions"]

Entries = Sequence[tuple[float, LoadSlot]]
"""Of all runs of a side together, as `LoadView.entries`."""

_LOOKS = ("a", "b")


def overlay_charts(sides: Sequence[tuple[str, Entries]], span: Span, names: Sequence[str]) -> list[Chart]:
    """Response times and failures over time of both sides; runs of a side are pooled."""
    columns = [LoadColumns(entries) for _, entries in sides]
    edges = bin_edges(span, min(int(one.requests.sum()) for one in columns))
    timelines = [Timeline(edges, one) for one in columns]
    labels = [label for label, _ in sides]
    shown = [name for name in names if all(name in one.names for one in columns)]
    return [
        _quantile(0.5, "Typical response time (p50)", timelines, labels, shown),
        _quantile(0.95, "Slow response time (p95)", timelines, labels, shown),
        _failures(timelines, labels, shown),
    ]


def _quantile(
    q: float, title: str, timelines: Sequence[Timeline], labels: Sequence[str], names: Sequence[str]
) -> Chart:
    lines: list[Line] = []
    top = 0.0
    for name in ["", *names]:
        for timeline, label, look in zip(timelines, labels, _LOOKS, strict=False):
            group = timeline.group(name)
            matrix, first = timeline.columns.response.matrix(group, timeline.bins)
            above = timeline.summed(timeline.columns.failures, group).astype(np.int64)
            values = quantiles(matrix, first, (q,), above)[0] * 1e3
            over = mark_path(timeline.edges, [bool(value) for value in np.isposinf(values)])
            lines.append(Line(label, look, line_path(timeline.centres, values), of=name, over=over))
            top = max(top, float(np.max(values[np.isfinite(values)], initial=0.0)))
    return Chart(
        f"p{q * 100:g}", title, "Over all planned requests, all runs of a side together", "ms", "line", nice_top(top),
        tuple(lines), f"{title} of both sides over time.", height=180,
    )  # fmt: skip


def _failures(timelines: Sequence[Timeline], labels: Sequence[str], names: Sequence[str]) -> Chart:
    lines: list[Line] = []
    top = 0.0
    for name in ["", *names]:
        for timeline, label, look in zip(timelines, labels, _LOOKS, strict=False):
            group = timeline.group(name)
            planned = timeline.summed(timeline.columns.requests, group)
            failed = timeline.summed(timeline.columns.failures, group)
            share: Floats = np.full(len(planned), np.nan)
            np.divide(failed * 100.0, planned, out=share, where=planned > 0)
            lines.append(Line(label, look, line_path(timeline.centres, share), of=name))
            top = max(top, float(np.nanmax(share, initial=0.0)))
    return Chart(
        "failures", "Did not succeed", "Share of the planned requests", "%", "line", nice_top(max(top, 1.0)),
        tuple(lines), "Share of requests that did not succeed, of both sides over time.", height=110,
    )  # fmt: skip


def overlay_distributions(
    sides: Sequence[tuple[str, Entries]], windows: Sequence[tuple[Phase, Sequence[Span]]], names: Sequence[str]
) -> list[tuple[str, list[Distribution]]]:
    """For each phase, the response times of both sides laid over each other (all requests, then each of `names`)."""
    entries = [entry for _, some in sides for entry in some]
    side = np.repeat(np.arange(len(sides)), [len(some) for _, some in sides])
    columns = LoadColumns(entries)
    found = []
    for phase, spans in windows:
        inside = columns.phase_index([spans]) >= 0
        made = []
        for name in ["", *(name for name in names if name in columns.names)]:
            mine = inside if not name else inside & (columns.name == columns.names.index(name))
            one = distribution_of(name, [label for label, _ in sides], columns, np.where(mine, side, -1))
            if one is not None:
                made.append(one)
        if made:
            found.append((phase.value, made))
    return found
