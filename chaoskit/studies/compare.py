"""Two sides of runs, measure by measure: differences with intervals, and a gate for regressions that does not cry wolf.

The unit is the run, not the request: what makes two identical runs differ (a busy machine, a cold cache, the order)
is not seen within one run. One run a side proves nothing: a gate of +10% on the p95 fired for a third of all pairs of
identical short runs. So the gate wants at least five a side, carried out alternately, and cannot tell with less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from chaoskit.hypotheses.measures import Quantile
from chaoskit.model.statistics import CONFIDENCE, difference_interval, interval_of, permutation_p
from chaoskit.model.verdict import Verdict
from chaoskit.reporters.answer import measure_text
from chaoskit.studies.fail_if import PHASES, FailIf
from chaoskit.studies.sides import MEASURES, Key, Side

__all__ = ["ENOUGH", "Comparison", "Difference", "Judged", "compare", "interleaved", "unit_of"]

ENOUGH = 5
"""Runs a side below which the gate cannot tell."""
SIGNIFICANT = 1.0 - CONFIDENCE


def unit_of(measure: str) -> str:
    """Unit of a measure's values, as `answer.measure_text` takes it."""
    return {"error_rate": "share", "throughput": "1/s"}.get(measure, "s")


@dataclass(frozen=True)
class Difference:
    """One measure on both sides. `interval` is of B − A; None where there are too few runs to have one."""

    key: Key
    a: tuple[float, ...]
    b: tuple[float, ...]
    interval: tuple[float, float] | None
    p_value: float | None
    """Of the hypothesis that nothing differs, by permuting runs; None with one run a side."""
    within: bool = False
    """Whether the interval comes from within one run a side: it does not know what differs from run to run."""

    @property
    def mean_a(self) -> float:
        return fmean(self.a)

    @property
    def mean_b(self) -> float:
        return fmean(self.b)

    @property
    def change(self) -> float:
        """B − A; inf or nan where one has no value."""
        return self.mean_b - self.mean_a

    def relative(self, value: float) -> float:
        """A difference as a share of A; nan where A is 0 or has no value."""
        return value / self.mean_a if self.mean_a and math.isfinite(self.mean_a) else math.nan

    @property
    def worse(self) -> bool | None:
        """Whether B is worse (True) or better (False) beyond chance; None where that cannot be told."""
        if self.within or self.interval is None or self.p_value is None or self.p_value > SIGNIFICANT:
            return None
        low, high = self.interval
        if low <= 0 <= high:
            return None
        return (low > 0) != (self.key.measure == "throughput")

    def text(self, value: float) -> str:
        return measure_text(value, unit_of(self.key.measure))

    @property
    def change_text(self) -> str:
        """`+12%`, `+1.5 points`."""
        if not math.isfinite(self.change):
            return "–" if self.change != self.change else "never succeeds" if self.change > 0 else "succeeds again"
        if self.key.measure == "error_rate":
            return f"{self.change * 100:+.2f} points"
        share = self.relative(self.change)
        return f"{share:+.1%}" if share == share else "–"

    @property
    def interval_text(self) -> str:
        """The interval in the terms of `change_text`."""
        if self.interval is None:
            return ""
        if self.key.measure == "error_rate":
            return " … ".join(f"{end * 100:+.2f}" for end in self.interval) + " points"
        ends = [self.relative(end) for end in self.interval]
        return " … ".join(f"{end:+.1%}" for end in ends) if all(end == end for end in ends) else ""


@dataclass(frozen=True)
class Judged:
    """One gate, judged: supported (no such regression), refuted (there is one) or inconclusive."""

    gate: FailIf
    verdict: Verdict
    because: str


@dataclass(frozen=True)
class Comparison:
    """Both sides, what differs, and what came of the gates."""

    a: Side
    b: Side
    differences: tuple[Difference, ...]
    judged: tuple[Judged, ...]

    @property
    def verdict(self) -> Verdict:
        """Of all gates together; supported where none was asked for."""
        verdicts = {one.verdict for one in self.judged}
        worst = (Verdict.REFUTED, Verdict.INCONCLUSIVE)
        return next((verdict for verdict in worst if verdict in verdicts), Verdict.SUPPORTED)

    @property
    def phases(self) -> list[str]:
        return list(dict.fromkeys(one.key.phase for one in self.differences))

    @property
    def answer(self) -> str:
        """In one sentence."""
        if self.judged:
            return next(one.because for one in self.judged if one.verdict is self.verdict)
        told = [one for one in self.differences if one.worse is not None]
        if min(len(self.a.samples), len(self.b.samples)) < 2:
            return "One run a side shows what differed between these two runs; it does not tell what differs."
        if not told:
            return "Nothing differs beyond what runs of the same kind differ by."
        first = max(
            told,
            key=lambda one: (
                abs(one.relative(one.change)) if one.relative(one.change) == one.relative(one.change) else 0.0
            ),
        )
        name = f"{first.key.measure} of {first.key.of} in {first.key.phase}"
        return f"{len(told)} of {len(self.differences)} measures differ; the most: {name}, {first.change_text}."


def compare(
    a: Side, b: Side, gates: Sequence[FailIf] = (), *, accept_order: bool = False, within: bool = True
) -> Comparison:
    """Compare B with A. `accept_order` lets gates judge sides that were not run alternately; `within` reads histories
    for intervals where there is only one run a side."""
    keys = sorted(
        {key for sample in b.samples for key in sample.values} & {k for s in a.samples for k in s.values}, key=_order
    )
    phases = list(dict.fromkeys(key.phase for key in keys))
    asked = {key: sum(gate.meant(key, phases) for gate in gates) for key in keys}
    family = max(1, sum(asked.values()))  # so many questions at once: each is asked more strictly
    single = within and len(a.samples) == 1 and len(b.samples) == 1
    inside = _within(a, b, keys) if single else {}
    differences = []
    for key in keys:
        one, other = a.values(key), b.values(key)
        finite = all(math.isfinite(value) for value in [*one, *other])
        several = min(len(one), len(other)) >= 2
        confidence = 1.0 - SIGNIFICANT / family if asked[key] else CONFIDENCE
        interval = difference_interval(one, other, confidence=confidence) if finite and several else inside.get(key)
        p_value = permutation_p(one, other) if finite and several else None
        differences.append(Difference(key, tuple(one), tuple(other), interval, p_value, within=key in inside))
    found = Comparison(a, b, tuple(differences), ())
    judged = tuple(_judge(gate, found, accept_order=accept_order) for gate in gates)
    return Comparison(a, b, found.differences, judged)


def _order(key: Key) -> tuple[str, int, int]:
    return key.of, PHASES.index(key.phase) if key.phase in PHASES else 9, MEASURES.index(key.measure)


def _within(a: Side, b: Side, keys: Sequence[Key]) -> dict[Key, tuple[float, float]]:
    """Intervals of differences between two single runs, from blocks of a second within them."""
    pairs = [side.histories() for side in (a, b)]
    if not all(pairs):
        return {}
    (_, one), (_, other) = pairs[0][0], pairs[1][0]
    found: dict[Key, tuple[float, float]] = {}
    for key in keys:
        if key.measure.startswith("p"):
            measure = Quantile(float(key.measure[1:]) / 100.0)
            before = measure.measured(one.during(key.phase).load(key.of), seed=1)
            after = measure.measured(other.during(key.phase).load(key.of), seed=2)
            interval = interval_of(after.resampled - before.resampled, min(before.blocks, after.blocks))
            if interval is not None and all(math.isfinite(end) for end in interval):
                found[key] = interval
    return found


def interleaved(a: Side, b: Side) -> bool:
    """Whether the sides took turns: a change from one to the other at least in every third run."""
    order = sorted([(sample.started, 0) for sample in a.samples] + [(sample.started, 1) for sample in b.samples])
    turns = sum(one[1] != other[1] for one, other in pairwise(order))
    return turns >= (len(order) - 1) / 3


def _judge(gate: FailIf, found: Comparison, *, accept_order: bool) -> Judged:
    mine = [one for one in found.differences if gate.meant(one.key, found.phases)]
    if not mine:
        return Judged(gate, Verdict.INCONCLUSIVE, f"{gate.text}: both sides have nothing that this is about")
    few = min(min(len(one.a), len(one.b)) for one in mine)
    if few < ENOUGH:
        runs = "1 run" if few == 1 else f"{few} runs"
        because = f"{gate.text}: {runs} a side cannot tell; it takes at least {ENOUGH} (--repeat {ENOUGH})"
        return Judged(gate, Verdict.INCONCLUSIVE, because)
    if not accept_order and not interleaved(found.a, found.b):
        because = (
            f"{gate.text}: the sides were not run alternately, so what changed meanwhile would look like a difference"
        )
        return Judged(gate, Verdict.INCONCLUSIVE, because)
    answers = [_judge_one(gate, one) for one in mine]
    for verdict in (Verdict.REFUTED, Verdict.INCONCLUSIVE, Verdict.SUPPORTED):
        told = [because for one, because in answers if one is verdict]
        if told:
            return Judged(gate, verdict, f"{gate.text}: {'; '.join(told[:3])}")
    raise AssertionError("every difference was judged")


def _judge_one(gate: FailIf, one: Difference) -> tuple[Verdict, str]:
    name = f"{one.key.measure} of {one.key.of} in {one.key.phase}"
    if one.interval is None:
        never = [sum(math.isinf(value) for value in side) for side in (one.a, one.b)]
        flags = [[float(math.isinf(value)) for value in side] for side in (one.a, one.b)]
        if never[1] > never[0] and permutation_p(*flags) <= SIGNIFICANT:
            return Verdict.REFUTED, f"{name} has no value in {never[1]} of {len(one.b)} runs: too many requests failed"
        return Verdict.INCONCLUSIVE, f"{name} has no value in {never[0]} and {never[1]} runs: too many requests failed"
    low, high = one.interval
    limit = gate.most * one.mean_a if gate.relative else gate.most
    moved = (
        f"{name} went from {one.text(one.mean_a)} to {one.text(one.mean_b)}, {one.change_text} ({one.interval_text})"
    )
    if (low > limit) if gate.most >= 0 else (high < limit):
        return Verdict.REFUTED, moved
    if (high < limit) if gate.most >= 0 else (low > limit):
        return Verdict.SUPPORTED, moved
    return Verdict.INCONCLUSIVE, f"{moved}: too close to call"
