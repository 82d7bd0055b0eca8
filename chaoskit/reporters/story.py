"""What a run says in numbers, phase by phase: the tiles, tables and the state of every edge."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from chaoskit.model.history import History, Phase
from chaoskit.model.observation import Event, ProbeResult, TapSlot
from chaoskit.model.run import Run
from chaoskit.model.spans import within
from chaoskit.model.topology import LOAD
from chaoskit.model.units import duration_text
from chaoskit.model.verdict import Finding
from chaoskit.reporters.answer import measure_text
from chaoskit.reporters.chart import Tick, line_path, ticks
from chaoskit.reporters.columns import Ints, LoadColumns, Records, bucket_values, quantiles
from chaoskit.reporters.graph import EdgeState

__all__ = [
    "GATES",
    "Distribution",
    "EdgeRow",
    "Gauge",
    "PhaseNumbers",
    "Seen",
    "Tile",
    "causes_text",
    "distribution_of",
    "distributions",
    "edge_rows",
    "gauge",
    "hurt_replicas",
    "phase_numbers",
    "phases_of",
    "seen_of",
    "tiles",
]

JUDGED = (Phase.BASELINE, Phase.FAULT, Phase.RECOVERY, Phase.LOAD)

GATES = {
    "steady state": "Was the target well before anything was broken?",
    "generator": "Did the load generator keep up, so that what was measured is the target's doing?",
    "host": "Had the run a core whenever it had something to do, whatever else the machine did?",
    "trace": "Is there proof that the fault bit?",
    "parts alive": "Did everything stay up that was not meant to break?",
    "samples": "Was there enough load in every window to judge?",
    "clock": "Do all stamps lie on one clock?",
    "judge": "Did every hypothesis come to an answer without crashing?",
    "interrupted": "Was the run carried through to its end?",
}
"""What each gate asks."""

MOST_ROWS = 50
"""Request names in the table; the others are in `result.json`."""


@dataclass(frozen=True)
class Seen:
    """The observations of a run by kind."""

    health: dict[str, list[ProbeResult]] = field(default_factory=dict)
    taps: dict[str, list[TapSlot]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


def seen_of(history: History) -> Seen:
    found = Seen(events=history.events())
    for edge in history.topology.edges:
        found.taps[edge.name] = history.tap(edge.name).slots
    for seen in history.observations:
        if isinstance(seen, ProbeResult):
            found.health.setdefault(seen.name, []).append(seen)
    return found


def phases_of(run: Run) -> list[Phase]:
    """The judged phases that the run had, in their order."""
    return [phase for phase in JUDGED if any(end > start for start, end in run.windows.get(phase.value, []))]


# ------------------------------------------------------------------------------------------------ requests


@dataclass(frozen=True)
class PhaseNumbers:
    """Requests of one name (empty for all) in one phase."""

    name: str
    phase: str
    requests: int
    failures: int
    rate: float
    """Answered per second."""
    p50: float
    p95: float
    p99: float

    @property
    def error_rate(self) -> float:
        return self.failures / self.requests if self.requests else math.nan


def phase_numbers(run: Run, columns: LoadColumns, names: Sequence[str]) -> dict[str, list[PhaseNumbers]]:
    """By request name (empty: all together), the numbers of each judged phase."""
    phases = phases_of(run)
    phase = columns.phase_index([run.windows[phase.value] for phase in phases])
    found = {"": _numbers(run, columns, phases, phase, [""])[""]} if phases else {"": []}
    if phases:
        found.update(_numbers(run, columns, phases, phase, list(names)))
    return found


def _numbers(
    run: Run, columns: LoadColumns, phases: Sequence[Phase], phase: Ints, names: list[str]
) -> dict[str, list[PhaseNumbers]]:
    count = len(phases)
    if names == [""]:
        group = phase
    else:
        place = np.full(len(columns.names) + 1, -1, dtype=np.int64)
        for row, name in enumerate(names):
            place[columns.names.index(name)] = row
        which = place[columns.name]
        group = np.where((phase < 0) | (which < 0), -1, which * count + phase)
    groups = len(names) * count
    used = group >= 0

    def total(values: Ints) -> Ints:
        return np.bincount(group[used], weights=values[used], minlength=groups).astype(np.int64)

    requests, failures = total(columns.requests), total(columns.failures)
    answered = total(columns.ok + columns.failed)
    matrix, first = columns.response.matrix(group, groups)
    p50, p95, p99 = quantiles(matrix, first, (0.5, 0.95, 0.99), failures)
    seconds = [sum(end - start for start, end in run.windows[one.value]) for one in phases]
    return {
        name: [
            PhaseNumbers(
                name, one.value, int(requests[i]), int(failures[i]), float(answered[i] / seconds[number]),
                float(p50[i]), float(p95[i]), float(p99[i]),
            )
            for number, one in enumerate(phases)
            for i in [row * count + number]
        ]
        for row, name in enumerate(names)
    }  # fmt: skip


@dataclass(frozen=True)
class Tile:
    """One number of the first screen, in the phase that matters most, beside the others."""

    title: str
    value: str
    phase: str
    change: str
    others: tuple[tuple[str, str], ...]
    """(phase, value) of the other phases."""


def tiles(numbers: Sequence[PhaseNumbers]) -> list[Tile]:
    """What users saw: the typical and the slow request, failures, and answers per second."""
    by_phase = {one.phase: one for one in numbers}
    main = next((by_phase[name] for name in ("fault", "load", "recovery", "baseline") if name in by_phase), None)
    if main is None:
        return []
    base = by_phase.get("baseline") if main.phase != "baseline" else None
    measures: tuple[tuple[str, str, Callable[[PhaseNumbers], float]], ...] = (
        ("Typical response (p50)", "s", lambda one: one.p50),
        ("Slow response (p95)", "s", lambda one: one.p95),
        ("Did not succeed", "share", lambda one: one.error_rate),
        ("Answered", "1/s", lambda one: one.rate),
    )
    found = []
    for title, unit, read in measures:
        others = tuple((one.phase, _tile_text(read(one), unit)) for one in numbers if one is not main)
        change = _change(read(base), read(main), unit) if base is not None else ""
        found.append(Tile(title, _tile_text(read(main), unit), main.phase, change, others))
    return found


def _tile_text(value: float, unit: str) -> str:
    return "never" if unit == "s" and math.isinf(value) else measure_text(value, unit)


def _change(before: float, after: float, unit: str) -> str:
    if unit == "s" and math.isinf(after) and not math.isinf(before):
        return "too many did not succeed"
    if not (math.isfinite(before) and math.isfinite(after)):
        return ""
    if unit == "share":
        points = (after - before) * 100
        return f"{points:+.1f} points" if abs(points) >= 0.05 else "as before"
    if before <= 0:
        return ""
    ratio = after / before
    if 0.95 <= ratio <= 1.05:
        return "as before"
    return f"×{ratio:.2g}" if ratio >= 2 else f"{(ratio - 1) * 100:+.0f}%"


@dataclass(frozen=True)
class Gauge:
    """Where a measured value and its interval lie beside the bound, on a scale of 200."""

    low: float
    high: float
    value: float
    bound: float


def gauge(finding: Finding) -> Gauge | None:
    """The gauge of a finding that held one finite number against another; None for the others."""
    if finding.measured is None or finding.bound is None or not math.isfinite(finding.measured):
        return None
    low, high = finding.interval or (finding.measured, finding.measured)
    top = max(finding.measured, finding.bound, high if math.isfinite(high) else 0.0) * 1.1
    if top <= 0 or min(low, finding.measured, finding.bound) < 0:
        return None
    return Gauge(*(min(value / top, 1.0) * 200 for value in (low, high, finding.measured, finding.bound)))


# ------------------------------------------------------------------------------------------------ distributions


@dataclass(frozen=True)
class Distribution:
    """Response times of one request name (empty for all) by phase. x is 100·log10 of milliseconds."""

    of: str
    start: float
    end: float
    x_ticks: tuple[Tick, ...]
    top: float
    """Of the density, in percent of the planned requests by step of 1.1×."""
    density: tuple[tuple[str, str], ...]
    """(phase, path)."""
    cumulated: tuple[tuple[str, str], ...]
    says: str

    @property
    def y_ticks(self) -> list[Tick]:
        """Of the density."""
        return [Tick(share / self.top * 100, f"{share:g}%") for share in ticks(0.0, self.top, 4)]


WIDE, NARROW = 12.5, 18.0
"""Percent of an axis that a label takes, on a desk and on a phone."""
_STEP = 10
"""Buckets of 1% that make one step of the picture."""


def distributions(run: Run, columns: LoadColumns, names: Sequence[str]) -> list[Distribution]:
    """One for all requests together and, where there are several, one for each of `names`."""
    phases = phases_of(run)
    index = columns.phase_index([run.windows[phase.value] for phase in phases])
    found = []
    for name in ["", *(names if len(columns.names) > 1 else ())]:
        mine = index if not name else np.where(columns.name == columns.names.index(name), index, -1)
        made = distribution_of(name, [phase.value for phase in phases], columns, mine)
        if made is not None:
            found.append(made)
    return found


def distribution_of(name: str, labels: Sequence[str], columns: LoadColumns, index: Ints) -> Distribution | None:
    """Curves laid over each other: `index` says which of `labels` each row belongs to (−1: none). None without any
    success."""
    matrix, first = columns.response.matrix(index, max(len(labels), 1))
    if not matrix.sum():
        return None
    lead = first % _STEP
    padded = np.pad(matrix, ((0, 0), (lead + _STEP, (-matrix.shape[1] - lead) % _STEP + _STEP)))
    steps = padded.reshape(len(labels), -1, _STEP).sum(axis=2)
    middle = bucket_values(first - lead - _STEP + _STEP // 2, padded.shape[1])[::_STEP]
    ends = bucket_values(first - lead - _STEP + _STEP - 1, padded.shape[1])[::_STEP]
    middle, ends = np.maximum(middle, 1e-6), np.maximum(ends, 1e-6)
    x, x_end = 100 * np.log10(middle * 1e3), 100 * np.log10(ends * 1e3)
    density, cumulated, says, top = [], [], [], 0.0
    for number, label in enumerate(labels):
        mine = index == number
        planned = int(columns.requests[mine].sum())
        if not planned:
            continue
        share = steps[number] / planned * 100
        top = max(top, float(share.max()))
        density.append((label, line_path(x, share)))
        cumulated.append((label, line_path(x_end, np.cumsum(share))))
        never = columns.failures[mine].sum() / planned
        says.append(f"{label}: {planned:,} requests" + (f", {never:.1%} never succeeded" if never else ""))
    start, end = float(x[0]), float(x[-1])
    if end - start < 100:  # at least one power of ten, so that noise does not look like news
        start, end = start - (100 - end + start) / 2, end + (100 - end + start) / 2
    return Distribution(
        name, start, end, tuple(_log_ticks(start, end)), top * 1.1, tuple(density), tuple(cumulated), "; ".join(says)
    )


def _log_ticks(start: float, end: float) -> list[Tick]:
    decades = (end - start) / 100
    marks = (1, 1.5, 2, 3, 5, 7) if decades < 1.4 else (1, 2, 5) if decades < 2.6 else (1,)
    values = [mark * 10.0**power for power in range(-4, 9) for mark in marks]
    placed = [(value, (100 * math.log10(value) - start) / (end - start) * 100) for value in values]
    placed = [(value, place) for value, place in placed if 0 <= place <= 100]
    wide = _spread(placed, WIDE)
    narrow = _spread(wide, NARROW)
    return [Tick(place, duration_text(value / 1e3), (value, place) not in narrow) for value, place in wide]


def _spread(placed: Sequence[tuple[float, float]], room: float) -> list[tuple[float, float]]:
    """Of (value, place) the last, so that the slowest can be read, and what has room beside it, powers of ten first."""
    kept: list[tuple[float, float]] = []
    for one in [*placed[-1:], *sorted(placed, key=lambda one: f"{one[0]:e}"[0] != "1")]:
        if all(abs(one[1] - other[1]) >= room for other in kept):
            kept.append(one)
    return sorted(kept)


# ------------------------------------------------------------------------------------------------ edges


@dataclass(frozen=True)
class EdgeRow:
    """One edge in the table: (phase, calls a second, p95, share that failed) and what became of it."""

    caller: str
    callee: str
    protocol: str
    state: EdgeState
    phases: tuple[tuple[str, str, str, str], ...]


@dataclass
class _Calls:
    """What crossed an edge in a phase: calls by when they ended."""

    seconds: float
    started: int = 0
    ended: int = 0
    bad: int = 0
    closed: bool = False
    took: list[bytes] = field(default_factory=list)
    p95: float = math.nan
    told: float = math.nan
    """Share that failed as who called says; NaN where nobody does. A tap cannot know which answer was expected."""

    def add(self, slots: Sequence[TapSlot]) -> None:
        self.started += sum([slot.started for slot in slots])
        self.ended += sum([slot.ended for slot in slots])
        self.closed = self.closed or not all(slot.listening for slot in slots)
        self.took += [slot.took for slot in slots if slot.took]
        for slot in slots:
            if len(slot.statuses) > 1 or "200" not in slot.statuses:
                self.bad += sum(count for status, count in slot.statuses.items() if status[:1] == "5")
            if len(slot.outcomes) > 1 or "answered" not in slot.outcomes:
                self.bad += slot.outcomes.get("cut", 0) + slot.outcomes.get("abandoned", 0)

    def measure(self) -> None:
        records = Records([b"".join(self.took)])
        matrix, first = records.matrix(np.zeros(1, dtype=np.int64), 1)
        self.p95 = float(quantiles(matrix, first, (0.95,))[0, 0])

    @property
    def bad_share(self) -> float:
        if not math.isnan(self.told):
            return self.told
        total = max(self.ended, self.bad)
        return self.bad / total if total else math.nan


def edge_rows(run: Run, taps: Mapping[str, Sequence[TapSlot]], load: Sequence[PhaseNumbers]) -> list[EdgeRow]:
    """Every edge of the target with what crossed it in each phase. What failed on the users' edge, the `load` says."""
    phases = phases_of(run)
    spans = [(phase, run.windows[phase.value]) for phase in phases]
    broken = {edge for fault in run.faults if fault.injected is not None for edge in fault.edges}
    told = {one.phase: one.error_rate for one in load}
    rows = []
    for edge in run.topology.edges:
        calls = {phase: _Calls(sum(end - start for start, end in cut)) for phase, cut in spans}
        slots = taps.get(edge.name, ())
        for phase, cut in spans:
            for start, end in cut:
                # In order of time, as every history is: each window is one slice.
                first, last = (bisect_left(slots, at - 1e-6, key=_at) for at in (start, end))
                calls[phase].add(slots[first:last])
            calls[phase].measure()
            if edge.caller == LOAD:
                calls[phase].told = told.get(phase.value, math.nan)
        cells = tuple(
            (phase.value, measure_text(one.started / one.seconds, "1/s"), measure_text(one.p95, "s"), _bad_text(one))
            for phase, one in calls.items()
        )
        rows.append(EdgeRow(edge.caller, edge.callee, edge.protocol, _state(edge.name in broken, calls), cells))
    return rows


def _at(slot: TapSlot) -> float:
    return slot.at


def _bad_text(calls: _Calls) -> str:
    if calls.closed and math.isnan(calls.told):
        return "unknown"
    return measure_text(calls.bad_share, "share")


def _state(broken: bool, calls: Mapping[Phase, _Calls]) -> EdgeState:
    before, after = calls.get(Phase.BASELINE), calls.get(Phase.FAULT)
    note = ""
    slower = worse = False
    if before is not None and after is not None:
        slower = after.p95 > before.p95 * 1.25 and after.p95 > before.p95 + 0.005
        worse = after.bad_share > (0.0 if math.isnan(before.bad_share) else before.bad_share) + 0.01
        if after.closed:
            note = "closed"
        elif worse:
            note = f"{measure_text(after.bad_share, 'share')} failed"
        elif slower:
            note = f"p95 {_change(before.p95, after.p95, 's') or 'longer'}"
    if broken:
        return EdgeState("broken", note)
    if slower or worse:
        return EdgeState("hurt", note)
    if any(one.closed for one in calls.values()):
        return EdgeState("unknown", note)
    if calls and not any(one.started or one.took for one in calls.values()):
        return EdgeState("unused")
    return EdgeState("fine")


def hurt_replicas(run: Run, health: Mapping[str, Iterable[ProbeResult]], events: Sequence[Event]) -> dict[str, str]:
    """How replicas fared: broken by a fault, or hurt (a health check said no, or it died)."""
    warm = run.windows.get(Phase.WARMUP.value, [])
    found = {
        name.partition("/")[0]: "hurt"
        for name, answers in health.items()
        if any(not answer.ok and not within(answer.at, warm) for answer in answers)
    }
    found.update(
        {event.about["replica"]: "hurt" for event in events if event.kind == "died" and "replica" in event.about}
    )
    found.update({name: "broken" for fault in run.faults if fault.injected is not None for name in fault.replicas})
    return found


def causes_text(columns: LoadColumns, most: int = 4) -> str:
    """`timeout 120 · status 503 14`; empty where nothing failed."""
    counted = Counter({cause: sum(count for _, count in rows) for cause, rows in columns.cause_rows().items()})
    parts = [f"{cause}: {count:,}" for cause, count in counted.most_common(most)]
    left = len(counted) - most
    return " · ".join(parts) + (f" · {left} other causes" if left > 0 else "")
