"""Claims that a measure over requests stays on one side of a bound: judged phase by phase, second by second."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaoskit.hypotheses.claim import Claim, Part, compared, finding, unknown_request
from chaoskit.hypotheses.measures import Measure, Measured
from chaoskit.hypotheses.words import amount, between, moment, of_text, share_text
from chaoskit.model.history import History, Phase, Span, SteadyBound
from chaoskit.model.load_view import LoadView
from chaoskit.model.spans import merged
from chaoskit.model.statistics import MINIMUM_BLOCKS
from chaoskit.model.topology import Topology
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Bound", "LoadClaim"]


_ENOUGH_TO_REFUTE = 20
"""Requests whose whole interval must be beyond a bound for it to be broken, where more are needed for it to hold."""


@dataclass(frozen=True)
class Bound:
    """A measure and the value that it must not be above (`upper`) or below; `against` gives the value from what the
    baseline measured where it is relative."""

    measure: Measure
    upper: bool
    text: str
    value: float | None = None
    against: Callable[[float], float] | None = None

    def formula(self, of: str) -> str:
        return f"{self.measure.label}{of_text(of)} {'≤' if self.upper else '≥'} {self.text}"

    def broken_by(self, value: float, limit: float) -> bool:
        return value > limit if self.upper else value < limit


class LoadClaim(Claim):
    """A claim over requests: every bound holds in every phase."""

    of: str = ""
    """Name of the requests, or a glob such as `cart*` (default: all of them)."""

    @abstractmethod
    def bounds(self) -> Sequence[Bound]:
        """What must hold."""

    def expected(self) -> str:
        return " and ".join(bound.formula(self.of if place == 0 else "") for place, bound in enumerate(self.bounds()))

    def check(self, topology: Topology, request_names: Sequence[str]) -> Sequence[tuple[str, str]]:
        return unknown_request(self.of, request_names)

    def samples_needed(self) -> int:
        return max(bound.measure.needed(bound.value) for bound in self.bounds())

    def seconds_needed(self) -> float:
        return 0.0 if self.by_point else float(MINIMUM_BLOCKS)

    def as_bound(self) -> SteadyBound | None:
        found = self.as_bounds()
        return found[0] if found else None

    def as_bounds(self) -> Sequence[SteadyBound]:
        """Each of its bounds as a line of a steady state; none where one is relative to the baseline."""
        return ()

    def judge(self, history: History) -> Finding:
        parts = [self.part(history, phase, bound) for phase in self.judged_phases(history) for bound in self.bounds()]
        return finding(self, parts)

    def part(self, history: History, phase: Phase, bound: Bound) -> Part:
        """One bound in one phase."""
        view = history.during(phase).load(self.of)
        what = f"{bound.measure.label}{of_text(self.of)}"
        if not history.windows.get(phase):
            return Part(Verdict.INCONCLUSIVE, f"{what} was not measured: the run never reached {phase}", phase=phase)
        samples, needed = bound.measure.samples(view), bound.measure.needed(bound.value)
        if samples < needed and not self._broken_beyond_doubt(bound, view, samples):
            because = f"{what} cannot be told from {samples} requests in {phase}: it takes at least {needed}"
            return Part(Verdict.INCONCLUSIVE, because, phase=phase, samples=samples, evidence=view.spans)
        seen = bound.measure.measured(view)
        if bound.against is None:
            assert bound.value is not None
            return self._against(history, phase, bound, view, seen, bound.value, what)._replace(bound=bound.value)
        return self._against_baseline(history, phase, bound, view, seen, what)

    def _broken_beyond_doubt(self, bound: Bound, view: LoadView, samples: int) -> bool:
        """Too few requests to say that a bound holds may well say that it does not: all of them failed."""
        if bound.value is None or samples < _ENOUGH_TO_REFUTE:
            return False
        interval = bound.measure.measured(view).interval
        if interval is None:
            return False
        return interval[0] > bound.value if bound.upper else interval[1] < bound.value

    def _against_baseline(
        self, history: History, phase: Phase, bound: Bound, view: LoadView, seen: Measured, what: str
    ) -> Part:
        """The bound is an uncertain number too: both are resampled, and what is left over it must be on one side."""
        assert bound.against is not None
        base_view = history.during(Phase.BASELINE).load(self.of)
        base = bound.measure.measured(base_view, seed=2)
        samples = bound.measure.samples(base_view)
        if samples < bound.measure.needed(bound.value) or not math.isfinite(base.value):
            because = f"{what} in {phase} cannot be held against the baseline: {samples} requests there say too little"
            return Part(Verdict.INCONCLUSIVE, because, phase=phase, samples=samples, evidence=base_view.spans)
        limit = bound.against(base.value)
        uncertain = seen
        if base.interval is not None and seen.interval is not None and math.isfinite(seen.value):
            # The baseline's uncertainty is added to the value's own (as independent errors add), about the limit.
            reach = [abs(bound.against(end) - limit) for end in base.interval]
            low = seen.value - math.hypot(seen.value - seen.interval[0], reach[1])
            high = seen.value + math.hypot(seen.interval[1] - seen.value, reach[0])
            uncertain = seen._replace(interval=(low, high))
        part = self._against(history, phase, bound, view, uncertain, limit, what)
        said = f"{part.because} ({amount(base.value, bound.measure.unit)} in baseline)"
        return part._replace(because=said, interval=seen.interval, bound=limit)

    def _against(
        self, history: History, phase: Phase, bound: Bound, view: LoadView, seen: Measured, limit: float, what: str
    ) -> Part:
        unit = bound.measure.unit
        samples = bound.measure.samples(view)
        # "None" and "all" leave no room for an error of measurement: a single one that is otherwise refutes.
        by_point = self.by_point or (unit == "share" and limit in (0.0, 1.0))
        if not by_point and seen.interval is None:
            because = (
                f"{what} in {phase} has no interval: {seen.blocks} blocks of a second are too few"
                f" (it takes {MINIMUM_BLOCKS}; `judge: point` does without)"
            )
            return Part(Verdict.INCONCLUSIVE, because, seen.value, unit, None, phase, samples, view.spans)
        most, least = (limit, None) if bound.upper else (None, limit)
        verdict = compared(seen.value, None if by_point else seen.interval, most=most, least=least)
        detail = "; ".join(filter(None, [between(seen.interval, unit), f"{samples} requests"]))
        measured = f"{what} was {_value_text(seen.value, unit, view)} in {phase} ({detail})"
        bound_text = amount(limit, unit)
        side = "above" if bound.upper else "below"
        if verdict is Verdict.SUPPORTED:
            because = f"{measured}, {'at most' if bound.upper else 'at least'} {bound_text}"
            return Part(verdict, because, seen.value, unit, seen.interval, phase, samples, view.spans)
        if verdict is Verdict.INCONCLUSIVE:
            because = f"{measured}: too close to call against {bound_text}"
            return Part(verdict, because, seen.value, unit, seen.interval, phase, samples, view.spans)
        broken = [span for span, value in seen.by_block if bound.broken_by(value, limit)]
        because = f"{measured}, {side} {bound_text}" + _since(history, broken)
        evidence = tuple(merged(broken)) or view.spans
        return Part(verdict, because, seen.value, unit, seen.interval, phase, samples, evidence)


def _since(history: History, broken: Sequence[Span]) -> str:
    return f"; it broke first {moment(history, broken[0][0])}" if broken else ""


def _value_text(value: float, unit: str, view: LoadView) -> str:
    """The value; for what lies beyond every success, why."""
    if unit != "s" or not math.isinf(value):
        return amount(value, unit)
    share = "more than half" if view.failures * 2 > view.requests else share_text(view.error_rate)
    return f"without end, as {share} of the requests never succeeded,"
