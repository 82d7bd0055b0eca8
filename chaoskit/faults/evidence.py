"""What the taps saw of one place before, during and after a fault, joined with what the load and the health checks saw:
pure arithmetic."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from chaoskit.model.histogram import Histogram, bucket_value
from chaoskit.model.history import History, Phase
from chaoskit.model.observation import SLOT, ProbeResult, TapCall, TapSlot
from chaoskit.model.spans import Span
from chaoskit.model.units import duration_text

__all__ = [
    "BY_CHANCE",
    "Bite",
    "Crossing",
    "Longer",
    "Seen",
    "above",
    "by_chance",
    "middle",
    "quantile",
    "share_text",
    "size_text",
]

BY_CHANCE = 0.01
"""What chance alone would do more often than this proves nothing."""

_EXACT = 500
_UNANSWERED = ("abandoned", "cut", "open")


class Bite(NamedTuple):
    """Whether a fault bit at one place, and the sentence that says how it is known."""

    bit: bool
    because: str


class Longer(NamedTuple):
    """How many calls lasted longer than they should, and how likely chance alone would give as many."""

    number: int
    total: int
    chance: float
    spread: float
    """p95 − p5 in baseline, in seconds."""


def by_chance(count: int, of: int, share: float) -> float:
    """How likely `count` or more of `of` are, where each happens with probability `share`.

    The tail of the binomial; above 500 its Chernoff bound exp(−n·KL(count/of ‖ share)). 1 where the count is not above
    what is expected.
    """
    if of == 0 or count <= of * share:
        return 1.0
    if share <= 0.0:
        return 0.0
    if of <= _EXACT:
        return sum(math.comb(of, n) * share**n * (1.0 - share) ** (of - n) for n in range(count, of + 1))
    p = count / of
    divergence = p * math.log(p / share)
    if p < 1.0:
        divergence += (1.0 - p) * math.log((1.0 - p) / (1.0 - share))
    return math.exp(-of * divergence)


def quantile(ordered: Sequence[float], q: float) -> float:
    """Nearest rank; nan where there is nothing."""
    return ordered[max(1, math.ceil(q * len(ordered) - 1e-9)) - 1] if ordered else math.nan


def middle(ordered: Sequence[float]) -> float:
    return quantile(ordered, 0.5)


def share_text(count: float, of: float) -> str:
    """`31%`, `0.2%`; a dash where there is nothing to have a share of."""
    if not of:
        return "–"
    share = 100.0 * count / of
    return f"{share:.0f}%" if share >= 10 or share == 0 else f"{share:.2g}%"


class Crossing:
    """The calls that crossed some edges in one window. Counts are exact; where the tap left single calls out, the
    window is cut to whole slots and durations come from their histograms."""

    def __init__(self, slots: Sequence[TapSlot], window: Span, which: str, prefix: str) -> None:
        """`which` calls belong to the window: `within` it, those that `overlap` it, or those that `began` in it."""
        self.window = window
        self.slots = [slot for slot in slots if slot.at + SLOT > window[0] + 1e-6 and slot.at < window[1] - 1e-6]
        self._prefix = prefix
        self.exact = not any(slot.left_out for slot in self.slots)
        self.kept = [call for slot in slots for call in slot.calls if _belongs(call, window, which)]

    def _whole(self) -> list[TapSlot]:
        start, end = self.window
        return [slot for slot in self.slots if slot.at >= start - 1e-6 and slot.at + SLOT <= end + 1e-6]

    @cached_property
    def answered(self) -> list[float]:
        """Durations of the calls that were answered, ascending."""
        if self.exact:
            return sorted(call.end - call.start for call in self.kept if call.end is not None and _answered(call))
        counts = Histogram.merged(slot.took for slot in self._whole()).counts
        return [bucket_value(bucket) for bucket in sorted(counts) for _ in range(counts[bucket])]

    @cached_property
    def answered_inside(self) -> int:
        """How many of the answered ones began in the window too."""
        if self.exact:
            return sum(_answered(call) and call.start >= self.window[0] for call in self.kept)
        return len(self.answered)

    @cached_property
    def waited(self) -> list[float]:
        """How long the calls that got no answer lasted, ascending, as far as they are known singly."""
        end = self.window[1]
        return sorted(_lasted(call, end) for call in self.kept if not _answered(call))

    @cached_property
    def outcomes(self) -> Counter[str]:
        if self.exact:
            return Counter(call.outcome for call in self.kept)
        return sum((Counter(slot.outcomes) for slot in self._whole()), Counter())

    @cached_property
    def statuses(self) -> Counter[str]:
        if self.exact:
            return Counter(str(call.status) for call in self.kept if call.status is not None)
        return sum((Counter(slot.statuses) for slot in self._whole()), Counter())

    @property
    def total(self) -> int:
        return len(self.answered) + self.unanswered

    @property
    def unanswered(self) -> int:
        """Given up by the caller, cut, or still open."""
        return sum(self.outcomes[outcome] for outcome in _UNANSWERED)

    @property
    def wrong(self) -> int:
        """Calls without an answer, or answered with a server error."""
        return self.unanswered + sum(count for status, count in self.statuses.items() if status.startswith("5"))

    @property
    def started(self) -> int:
        """Calls that began in the window's slots."""
        return sum(slot.started for slot in self.slots)

    @property
    def opened(self) -> int:
        return sum(slot.opened for slot in self.slots)

    @property
    def closed(self) -> int:
        return sum(slot.closed for slot in self.slots)

    @property
    def cut(self) -> int:
        """Connections that the proxy or the callee ended."""
        return sum(slot.cut for slot in self.slots)

    @cached_property
    def hits(self) -> int:
        """Calls (or connections) that this fault's toxics acted on, as far as the tap's server applied them."""
        counts: Counter[str] = Counter()
        for slot in self.slots:
            counts.update({name: count for name, count in slot.hits.items() if self._own(name)})
        named = sum(any(self._own(name) for name in call.toxics) for call in self.kept)
        return max(named, max(counts.values(), default=0))

    def _own(self, toxic: str) -> bool:
        """Whether a toxic is this fault's: `chaoskit-<run>-<prefix>[~part]`."""
        return toxic.partition("~")[0].split("-", 2)[2:] == [self._prefix]

    def unanswered_text(self) -> str:
        """`33 given up by the caller after 500 ms, 2 cut`; empty where every call was answered."""
        said = []
        for outcome, words in (("abandoned", "given up by the caller"), ("cut", "cut off"), ("open", "never ended")):
            if count := self.outcomes[outcome]:
                lasted = middle(sorted(_lasted(call, self.window[1]) for call in self.kept if call.outcome == outcome))
                after = f" after {duration_text(lasted)}" if lasted == lasted and outcome == "abandoned" else ""
                said.append(f"{count} {words}{after}")
        return ", ".join(said)


def _belongs(call: TapCall, window: Span, which: str) -> bool:
    start, end = window
    if which == "within":
        return call.end is not None and call.start >= start and call.end <= end
    if which == "overlap":
        return call.start < end and (call.end is None or call.end > start)
    return start <= call.start < end


def _answered(call: TapCall) -> bool:
    return call.end is not None and call.outcome not in _UNANSWERED


def _lasted(call: TapCall, end: float) -> float:
    return (call.end if call.end is not None else end) - call.start


class Seen:
    """One place of a fault (`orders->payments` with all its replicas), seen through the taps and the load."""

    def __init__(self, history: History, fault_id: str, place: str, prefix: str = "") -> None:
        self.history = history
        self.place = place
        self.fault = history.fault(fault_id)
        self.edges = [edge.name for edge in history.topology.select_edges(place)]
        self._prefix = prefix
        injected = self.fault.injected if self.fault.injected is not None else self.fault.planned[0]
        in_force = self.fault.in_force if self.fault.in_force is not None else injected
        planned_end = self.fault.planned[1]
        end = self.fault.undone if self.fault.undone is not None else planned_end
        # Taking it out begins at the planned end and takes a while: from then on it may be in or out.
        self.span: Span = (in_force, max(min(end, planned_end), in_force))
        """While all of it was in for certain."""
        baseline = history.windows.get(Phase.BASELINE) or [(0.0, injected)]
        self.baseline: Span = (baseline[0][0], min(baseline[-1][1], injected))
        spans = [span for some in history.windows.values() for span in some]
        self.rest: Span = (end, max((span[1] for span in spans), default=end))

    @cached_property
    def _slots(self) -> dict[str, list[TapSlot]]:
        return {edge: self.history.tap(edge).slots for edge in self.edges}

    def slots(self, edges: Iterable[str] | None = None) -> list[TapSlot]:
        """The whole run's slots of these edges (default: all of the place)."""
        return [slot for edge in (self.edges if edges is None else edges) for slot in self._slots[edge]]

    @cached_property
    def before(self) -> Crossing:
        """Calls that began and ended in baseline."""
        return Crossing(self.slots(), self.baseline, "within", self._prefix)

    @cached_property
    def during(self) -> Crossing:
        """Calls that were under way while it was in."""
        return Crossing(self.slots(), self.span, "overlap", self._prefix)

    @cached_property
    def after(self) -> Crossing:
        """Calls that began after it was out."""
        return Crossing(self.slots(), self.rest, "began", self._prefix)

    def of_edge(self, edge: str) -> tuple[Crossing, Crossing]:
        """`before` and `during` of one edge alone."""
        slots = self.slots([edge])
        return (
            Crossing(slots, self.baseline, "within", self._prefix),
            Crossing(slots, self.span, "overlap", self._prefix),
        )

    def silence(self) -> Bite | None:
        """Why nothing could be bitten, where no call crossed while it was in; None where some did."""
        if self.during.total:
            return None
        if not self.before.total:
            because = f"no call crossed {self.place}, in baseline neither: nothing in the load leads there"
        else:
            because = (
                f"no call crossed {self.place} while it was in, but {self.before.total} did in baseline:"
                f" {self._why_silent()}"
            )
        return Bite(False, because)

    def _why_silent(self) -> str:
        """What may have kept calls away that crossed in baseline."""
        before, during = (self.history.between([span]) for span in (self.baseline, self.span))
        # What was in flight when it went in counts as sent meanwhile.
        if during.load().requests * before.seconds < 0.05 * before.load().requests * during.seconds:
            return "the load sent next to nothing meanwhile"
        left = [self._connections_at(edge, self.span[1]) for edge in self.edges]
        if not any(left) and any(slot.connections for slot in self.slots()):
            return (
                "its caller's connections had ended and it opened none again (a connection pool that never reconnected,"
                " an open breaker, or a caller that is down)"
            )
        still = f", with {sum(left)} connections open" if any(left) else ""
        return f"its caller had stopped calling{still} (an open breaker, a caller that is down, or no load)"

    def _connections_at(self, edge: str, instant: float) -> int:
        """Connections that were open on an edge then, as far as its tap has said."""
        before = [slot.connections for slot in self.slots([edge]) if slot.at < instant]
        return before[-1] if before else 0

    def took_text(self) -> str:
        """`they took 3.1 ms before, 104 ms during and 3.2 ms after the fault` (medians of what was answered)."""
        parts = [
            f"{duration_text(middle(crossing.answered))} {word}"
            for crossing, word in ((self.before, "before"), (self.during, "during"), (self.after, "after"))
            if crossing.answered
        ]
        if not parts:
            return "none was ever answered"
        return "they took " + (", ".join(parts[:-1]) + " and " if parts[:-1] else "") + parts[-1] + " the fault"

    def lasted_longer(self, added: float) -> Longer:
        """Calls that took at least half of `added` longer than the quickest 5% in baseline: what a fault that adds that
        much makes of most calls. Calls without an answer count where they lasted as long, or longer than usual."""
        before, during = self.before.answered, self.during
        if not before:
            return Longer(0, during.total, 1.0, math.nan)
        floor, usual_end = quantile(before, 0.05), quantile(before, 0.95)
        bound = floor + 0.5 * added
        usual = (above(before, bound) + 1) / (len(before) + 2)
        count = above(during.answered, bound) + above(during.waited, min(bound, usual_end))
        total = max(during.total, count)
        return Longer(count, total, by_chance(count, total, usual), usual_end - floor)

    def beside(self) -> list[str]:
        """What the load and the health checks saw; nothing of those that there were none of."""
        return [said for said in (self.users_text(), self.checks_text()) if said]

    def checks_text(self) -> str:
        """What health checks saw: `38 of 240 health checks failed (0% in baseline), those of orders`; empty without."""
        before, during = (self._checks(span) for span in (self.baseline, self.span))
        if not during:
            return ""
        failed = [probe for probe in during if not probe.ok]
        if not failed:
            return f"all {len(during)} health checks passed"
        usual = share_text(sum(not probe.ok for probe in before), len(before))
        of = ", ".join(sorted({probe.name.partition("/")[0] for probe in failed}))
        return f"{len(failed)} of {len(during)} health checks failed ({usual} in baseline), those of {of}"

    def _checks(self, span: Span) -> list[ProbeResult]:
        """Health checks that were asked and over within a span."""
        names = self.history.probe_names()
        seen = [probe for name in names for probe in self.history.probe(name)]
        return [probe for probe in seen if probe.at >= span[0] and probe.at + probe.took <= span[1]]

    def users_text(self) -> str:
        """What the load saw: `the load saw 0% of its requests fail before and 31% during`; empty without load."""
        before = self.history.between([self.baseline]).load()
        during = self.history.between([self.span]).load()
        if not before.requests or not during.requests:
            return ""
        return (
            f"the load saw {share_text(before.failures, before.requests)} of its requests fail before and"
            f" {share_text(during.failures, during.requests)} during"
        )


def above(ordered: Sequence[float], bound: float) -> int:
    """How many are at or above the bound."""
    return len(ordered) - bisect_left(ordered, bound)


def size_text(size: float) -> str:
    """`1.2 KB`, `64 KB`, `3 MB`."""
    for unit, scale in (("MB", 1e6), ("KB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size:.3g} B"
