"""What happened when: response times, rates, errors, requests in flight and send lag as charts on one clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chaoskit.model.history import History, Phase, Span
from chaoskit.model.observation import SLOT, TapSlot
from chaoskit.model.run import Run
from chaoskit.model.units import duration_text
from chaoskit.reporters.chart import Chart, Line, line_path, mark_path, nice_top, step_path
from chaoskit.reporters.columns import Floats, Ints, LoadColumns, Records, in_spans, quantiles

__all__ = ["Timeline", "bin_edges", "charts", "extent", "make_timeline", "shown_names"]

MOST_BINS = 700
FINE_BINS = 400
"""Beyond the even bins: finer ones around the instants at which faults came and went."""
MOST_NAMES = 8
MOST_CAUSES = 6

_WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


@dataclass(frozen=True)
class Timeline:
    """The run's load in bins."""

    edges: Floats
    columns: LoadColumns

    @property
    def widths(self) -> Floats:
        return np.diff(self.edges)

    @property
    def centres(self) -> Floats:
        return (self.edges[:-1] + self.edges[1:]) / 2

    @property
    def bins(self) -> int:
        return len(self.edges) - 1

    def group(self, only: str = "") -> Ints:
        """The bin in which each row was planned; −1 for what lies outside, or is of another request than `only`.

        (Phases are judged by when a request counts; a picture that moved requests in time would show a jump where
        the fault goes in that nobody sent.)
        """
        index: Ints = np.searchsorted(self.edges, self.columns.planned + 1e-6, side="right").astype(np.int64) - 1
        outside = (index < 0) | (index >= self.bins)
        if only:
            outside |= self.columns.name != self.columns.names.index(only)
        found: Ints = np.where(outside, -1, index)
        return found

    def summed(self, values: Ints, group: Ints) -> Floats:
        """Sum of a column by bin."""
        used = group >= 0
        found: Floats = np.bincount(group[used], weights=values[used], minlength=self.bins).astype(np.float64)
        return found


def extent(run: Run, history: History) -> Span:
    """First and last second to draw: all windows; without any, from 0 to the last observation."""
    spans = [span for spans in run.windows.values() for span in spans]
    if spans:
        return min(start for start, _ in spans), max(end for _, end in spans)
    return 0.0, max((seen.at for seen in history.observations), default=0.0)


def bin_edges(span: Span, requests: int, focus: Sequence[float] = (), borders: Sequence[float] = ()) -> Floats:
    """Edges of the bins: wide enough to hold some 20 requests each and at most MOST_BINS of them; in a long run
    narrower ones around the instants of `focus`. No bin lies across one of the `borders`: the edge next to it moves
    there."""
    start, end = span
    length = max(end - start, SLOT)
    wanted = max(length / MOST_BINS, min(20.0 * length / max(requests, 1), length / 40, 1.0))
    width = next((one for one in _WIDTHS if one >= wanted * (1 - 1e-9)), wanted)
    even = start + np.arange(0, int(np.ceil(length / width - 1e-9)) + 1) * width
    even[-1] = end
    fine = max(1.0, width / 10)
    if width <= fine * 2 or not len(focus):
        return _moved(np.unique(np.round(even, 3)), borders)
    reach = FINE_BINS * fine / len(focus) / 2
    near = [centre + np.arange(-reach, reach + fine, fine) for centre in sorted(set(focus)) if start <= centre <= end]
    first = [(float(one[0]), float(one[-1])) for one in near]
    kept = [edge for edge in even if not any(low - fine < edge < high + fine for low, high in first)]
    edges = np.unique(np.round(np.concatenate([np.array(kept), *near]), 1))
    edges = edges[(edges > start) & (edges < end)]
    return _moved(np.concatenate([[start], edges, [end]]), borders)


def _moved(edges: Floats, borders: Sequence[float]) -> Floats:
    """The edges with the nearest one to each border moved onto it (onto its slot: slots are not cut). The ends stay."""
    slots = np.unique(np.round(np.floor(np.array(borders) / SLOT + 1e-6) * SLOT, 3))
    slots = slots[(slots > edges[0]) & (slots < edges[-1])]
    inner = edges[1:-1]
    near = [int(np.argmin(abs(inner - slot))) for slot in slots if len(inner)]
    return np.unique(np.concatenate([edges[:1], np.delete(inner, near), slots, edges[-1:]]))


def shown_names(columns: LoadColumns, lanes: Sequence[str], most: int = MOST_NAMES) -> list[str]:
    """Requests that get lines of their own: those that findings are about, then the most frequent."""
    counts = np.bincount(columns.name, weights=columns.requests, minlength=len(columns.names))
    frequent = [columns.names[i] for i in np.argsort(-counts, kind="stable")]
    chosen = [name for name in dict.fromkeys([*lanes, *frequent]) if name in columns.names]
    return chosen[:most]


def make_timeline(run: Run, history: History, columns: LoadColumns) -> Timeline:
    """The bins of one run, finer where faults came and went and where findings point."""
    span = extent(run, history)
    faults = [at for fault in run.faults for at in (fault.active or fault.planned)]
    focus = faults + [evidence[0] for finding in run.findings for evidence in finding.evidence[:2]]
    return Timeline(bin_edges(span, int(columns.requests.sum()), focus[:12], faults[:12]), columns)


def charts(
    run: Run, timeline: Timeline, names: Sequence[str], taps: Sequence[tuple[str, Sequence[TapSlot]]]
) -> list[Chart]:
    """All pictures over time, in the order in which they are read. `taps` are the broken edges with their slots."""
    found = [_response(run, timeline, names), _rate(timeline, names)]
    found += _errors(timeline)
    found += [_edge_chart(timeline, title, slots) for title, slots in taps]
    found += [_in_flight(timeline), _send_lag(timeline)]
    return found


def _response(run: Run, timeline: Timeline, names: Sequence[str]) -> Chart:
    lines: list[Line] = []
    top = 0.0
    for name in ["", *(names if len(timeline.columns.names) > 1 else ())]:
        group = timeline.group(name)
        matrix, first = timeline.columns.response.matrix(group, timeline.bins)
        above = timeline.summed(timeline.columns.failures, group).astype(np.int64)
        found = quantiles(matrix, first, (0.5, 0.95, 0.99), above) * 1e3
        for label, values in zip(("p50", "p95", "p99"), found, strict=True):
            over = mark_path(timeline.edges, [bool(value) for value in np.isposinf(values)])
            lines.append(Line(label, label, line_path(timeline.centres, values), of=name, over=over))
            top = max(top, float(np.max(values[np.isfinite(values)], initial=0.0)))
    says = "; ".join(
        f"in {phase}: p50 {duration_text(low)}, p95 {duration_text(high)}"
        for phase, low, high in _by_phase(run, timeline)
    )
    return Chart(
        "response", "Response time", "From the planned send to the last byte, over all planned requests",
        "ms", "line", nice_top(top), tuple(lines), f"Response time over the run. {says}.", height=220,
    )  # fmt: skip


def _by_phase(run: Run, timeline: Timeline) -> list[tuple[str, float, float]]:
    found = []
    columns = timeline.columns
    for phase in (Phase.BASELINE, Phase.FAULT, Phase.RECOVERY, Phase.LOAD):
        inside = in_spans(columns.at, run.windows.get(phase.value, []))
        if inside.any():
            matrix, first = columns.response.matrix(np.where(inside, 0, -1), 1)
            above = np.array([columns.failures[inside].sum()])
            low, high = quantiles(matrix, first, (0.5, 0.95), above)[:, 0]
            found.append((phase.value, float(low), float(high)))
    return found


def _rate(timeline: Timeline, names: Sequence[str]) -> Chart:
    columns = timeline.columns
    lines: list[Line] = []
    top = 0.0
    for name in ["", *(names if len(columns.names) > 1 else ())]:
        group = timeline.group(name)
        planned = timeline.summed(columns.requests, group) / timeline.widths
        good = timeline.summed(columns.ok, group) / timeline.widths
        empty = planned == 0
        planned, good = np.where(empty, np.nan, planned), np.where(empty, np.nan, good)
        # What is laid on the successes is all that was planned and did not succeed.
        lines += [
            Line("succeeded", "ok", step_path(timeline.edges, good, closed=True), of=name),
            Line("failed", "failed", step_path(timeline.edges, planned, closed=True), of=name),
        ]
        top = max(top, float(np.nanmax(planned, initial=0.0)))
    total, bad = int(columns.requests.sum()), int(columns.failures.sum())
    return Chart(
        "rate", "Requests", "By the second in which they were planned: succeeded, and failed on top",
        "/s", "stack", nice_top(top), tuple(lines),
        f"{total:,} requests were planned; {bad:,} did not succeed.", height=120,
    )  # fmt: skip


def _errors(timeline: Timeline) -> list[Chart]:
    columns = timeline.columns
    causes = columns.cause_rows()
    if not causes:
        return []
    group = timeline.group()
    shown = list(causes)[:MOST_CAUSES]
    rest = list(causes)[MOST_CAUSES:]
    layers: list[tuple[str, str, Floats]] = []
    for number, cause in enumerate(shown, 1):
        layers.append((cause, f"cause-{number}", _cause_rate(timeline, group, causes[cause])))
    if rest:
        rows = [row for cause in rest for row in causes[cause]]
        layers.append((f"{len(rest)} other causes", "cause-other", _cause_rate(timeline, group, rows)))
    empty = timeline.summed(columns.requests, group) == 0
    level = np.zeros(timeline.bins)
    lines = []
    for label, look, rate in layers:
        level = level + rate
        lines.append(Line(label, look, step_path(timeline.edges, np.where(empty, np.nan, level), closed=True)))
    counts = ", ".join(f"{cause}: {sum(count for _, count in rows):,}" for cause, rows in list(causes.items())[:10])
    top = nice_top(float(np.max(level, initial=0.0)))
    return [
        Chart(
            "errors",
            "Failures by cause",
            "Requests that did not succeed, laid on one another",
            "/s",
            "stack",
            top,
            tuple(lines),
            f"Failures: {counts}.",
            height=120,
        )
    ]


def _cause_rate(timeline: Timeline, group: Ints, rows: Sequence[tuple[int, int]]) -> Floats:
    index = np.array([row for row, _ in rows], dtype=np.int64)
    counts = np.array([count for _, count in rows], dtype=np.float64)
    bins = group[index]
    found: Floats = np.bincount(bins[bins >= 0], weights=counts[bins >= 0], minlength=timeline.bins) / timeline.widths
    return found


def _in_flight(timeline: Timeline) -> Chart:
    start, end = float(timeline.edges[0]), float(timeline.edges[-1])
    slots = max(1, int(np.ceil((end - start) / SLOT - 1e-6)))
    level = timeline.columns.in_flight(start, slots)
    first = np.clip(np.floor((timeline.edges[:-1] - start) / SLOT + 1e-3), 0, slots - 1).astype(np.int64)
    highest = np.maximum.reduceat(level, first)
    empty = timeline.summed(timeline.columns.requests, timeline.group()) == 0
    values = np.where(empty & (highest == 0), np.nan, highest)
    most = float(np.nanmax(values, initial=0.0))
    return Chart(
        "in-flight", "In flight", "Requests sent and not yet answered; the highest 0.1 s of each bin",
        "n", "step", nice_top(most), (Line("in flight", "flight", step_path(timeline.edges, values)),),
        f"At most {most:.0f} requests were in flight.", height=100,
    )  # fmt: skip


def _send_lag(timeline: Timeline) -> Chart:
    group = timeline.group()
    matrix, first = timeline.columns.send_lag.matrix(group, timeline.bins)
    half, most = quantiles(matrix, first, (0.5, 0.99)) * 1e3
    top = nice_top(max(1.0, float(np.max(most[np.isfinite(most)], initial=0.0))))
    return Chart(
        "send-lag", "Send lag", "How late the generator sent: what it, not the target, adds to response times",
        "ms", "line", top,
        (Line("p50", "p50", line_path(timeline.centres, half)), Line("p99", "p99", line_path(timeline.centres, most))),
        f"p99 of the send lag was at most {duration_text(top / 1e3)}.", height=100,
    )  # fmt: skip


def _edge_chart(timeline: Timeline, title: str, slots: Sequence[TapSlot]) -> Chart:
    at = np.array([slot.at for slot in slots])
    index = np.searchsorted(timeline.edges, at + 1e-6, side="right") - 1
    group = np.where((index < 0) | (index >= timeline.bins), -1, index).astype(np.int64)
    matrix, first = Records([slot.took for slot in slots]).matrix(group, timeline.bins)
    half, most = quantiles(matrix, first, (0.5, 0.95)) * 1e3
    top = nice_top(float(np.max(most[np.isfinite(most)], initial=0.0)))
    number = title.replace("->", "-")
    return Chart(
        f"edge-{number}", f"Calls on {title}", "How long the callee took to answer, as the caller saw it",
        "ms", "line", top,
        (Line("p50", "p50", line_path(timeline.centres, half)), Line("p95", "p95", line_path(timeline.centres, most))),
        f"Duration of the calls on {title}, which was broken.", height=120,
    )  # fmt: skip
