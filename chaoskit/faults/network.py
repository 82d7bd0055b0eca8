"""Faults on how long it takes to cross an edge: latency, jitter, bandwidth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, PrivateAttr, WithJsonSchema, field_validator, model_validator

from chaoskit.faults.bites import slower_bite
from chaoskit.faults.edge import SharedFault, Toxic, Way, milliseconds
from chaoskit.faults.evidence import BY_CHANCE, Bite, Crossing, Seen, above, by_chance, middle, quantile, size_text
from chaoskit.faults.relative import baseline_durations, share_of_baseline
from chaoskit.interfaces import Fault
from chaoskit.model.history import History
from chaoskit.model.observation import TapCall
from chaoskit.model.topology import Edge
from chaoskit.model.units import Delta, DeltaValue, Duration, duration_text, parse_size

__all__ = ["Bandwidth", "ByteRate", "Jitter", "Latency"]


def _parse_byte_rate(value: object) -> object:
    if isinstance(value, str) and (match := re.fullmatch(r"(.+?)\s*/\s*s", value.strip())):
        return float(parse_size(match.group(1)))
    if type(value) is float:  # made in Python
        return value
    raise ValueError(f"expected bytes per second, such as 64KB/s or 1MB/s, not {value!r}")


ByteRate = Annotated[
    float,
    BeforeValidator(_parse_byte_rate),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+ ?(B|KB|MB|GB|KiB|MiB|GiB) ?/ ?s$", "examples": ["64KB/s"]}),
]
"""Bytes per second."""


class Latency(SharedFault):
    """Delay every answer of an edge by the same time, or by a share of what it took in baseline.

    What it does
        Each piece of an answer waits `add` (± `jitter`) before it goes on, on connections that are open already too.
        Bursts are not queued behind each other: it is a longer way, not a narrower one. `+50%` is made absolute when
        the baseline has ended, from the median of each edge's own calls there.

    What it reveals
        Timeouts that are too tight or too long, pools and bulkheads that fill up (Little's law: calls in flight = rate
        × time), callers that wait in line, retries that make it worse.

    Example
        {kind: latency, on: orders->payments, add: +50%}
        {kind: latency, on: orders->postgres, add: 300ms, jitter: 50ms}

    Undone by
        Removing the toxic: what is waiting is let go at once.
    """

    kind: ClassVar[str] = "latency"

    add: Delta
    """Time to add (`200ms`), or a share of what the edge took in baseline (`+50%`)."""
    jitter: Duration = Field(default=0.0, ge=0.0)
    """Spread of the delay: uniform between `add` − `jitter` and `add` + `jitter`."""
    way: Way = Way.ANSWERS
    """What is delayed: answers, requests, or both (then a call is delayed twice)."""
    _added: dict[str, float] = PrivateAttr(default_factory=dict)

    @field_validator("add")
    @classmethod
    def _something_to_add(cls, add: DeltaValue) -> DeltaValue:
        if not add.relative and milliseconds(add.seconds or 0.0) < 1:
            raise ValueError("expected at least 1ms: Toxiproxy's latency comes in whole milliseconds")
        if add.relative and not add.share:
            raise ValueError("expected more than +0%")
        return add

    @model_validator(mode="after")
    def _jitter_fits(self) -> Latency:
        if not self.add.relative and self.jitter > (self.add.seconds or 0.0):
            raise ValueError("jitter is larger than what is added: no call can be faster than it is")
        return self

    def says(self) -> str:
        if self._added:
            seconds = sorted(set(self._added.values()))
            amount = f"+{duration_text(seconds[0])}"
            if len(seconds) > 1:
                amount += f" to +{duration_text(seconds[-1])}"
            amount += f" ({self.add})" if self.add.relative else ""
        else:
            amount = str(self.add) if self.add.relative else f"+{duration_text(self.add.seconds or 0.0)}"
        words = f"latency {amount}" + (f" ± {duration_text(self.jitter)}" if self.jitter else "")
        return self.shared_words(words if self.way is Way.ANSWERS else f"{words} ({self.way.value})")

    def resolve(self, baseline: History) -> Fault:
        if self.add.share is None:
            return self
        found: dict[str, float] = {}
        for place in self.places:
            edges = baseline.topology.select_edges(place)
            found.update(share_of_baseline(baseline, edges, self.add.share, f"latency {self.add}"))
        resolved = self.model_copy()
        resolved._added = found
        return resolved

    def toxics(self, edge: Edge) -> Sequence[Toxic]:
        # Until it is resolved a relative one has its names, which is all that an undo needs.
        seconds = self._added.get(edge.name, self.add.seconds or 0.0)
        attributes = {"latency": milliseconds(seconds), "jitter": milliseconds(self.jitter)}
        streams = self.way.streams
        return [
            Toxic("latency", attributes, stream, self.share, part=stream if len(streams) > 1 else "")
            for stream in streams
        ]

    def bite(self, seen: Seen) -> Bite:
        delayed = 0
        likely = 0.0
        for edge in seen.history.topology.select_edges(seen.place):
            before, during = seen.of_edge(edge.name)
            if during.total:
                count, usual = self._delayed(seen.history, edge, before, during)
                delayed += count
                likely += usual * during.total
        total = seen.during.total
        least = 0.5 if self.share == 1.0 else 0.0
        proven = by_chance(delayed, total, likely / total) < BY_CHANCE and delayed >= least * total
        if not seen.before.answered and not seen.during.hits:
            proven = False
        because = f"{delayed} of {total} calls crossed the delayed edge {seen.place}; {seen.took_text()}"
        if unanswered := seen.during.unanswered_text():
            because += f"; {unanswered}"
        if not proven:
            because += f": {self._why_not(seen)}"
        return Bite(proven, because)

    def _delayed(self, history: History, edge: Edge, before: Crossing, during: Crossing) -> tuple[int, float]:
        """Calls that lasted as long as a delayed one must, and the share of those in baseline that did so too."""
        add = self._added.get(edge.name, self.add.seconds)
        if add is None:
            add = middle(baseline_durations(history, [edge])) * (self.add.share or 0.0)
        add = max(add - self.jitter, 0.0) if self.jitter else add
        add *= len(self.way.streams)
        if not before.answered:
            return above(during.answered, add * 0.98) + above(during.waited, add * 0.98), 0.05
        floor, usual_end = quantile(before.answered, 0.05), quantile(before.answered, 0.95)
        bound = floor + 0.8 * add
        usual = (above(before.answered, bound) + 1) / (len(before.answered) + 2)
        return above(during.answered, bound) + above(during.waited, min(bound, usual_end)), usual

    def _why_not(self, seen: Seen) -> str:
        if not seen.before.answered:
            return "no call in baseline to compare with"
        if self.share < 1.0:
            return f"{self.share * 100:g}% of its connections were to be delayed, and there may be too few of them"
        return "they did not take as much longer as they should have"


class Jitter(SharedFault):
    """Delay every answer of an edge by another time, evenly spread from nothing up to `by`.

    What it does
        Each piece of an answer waits between 0 and `by`, so calls take `by` ÷ 2 longer on average.

    What it reveals
        Timeouts set close to the usual time, hedging and retries that fire too early, work that depends on its order.

    Example
        {kind: jitter, on: orders->payments, by: 100ms}

    Undone by
        Removing the toxic: what is waiting is let go at once.
    """

    kind: ClassVar[str] = "jitter"

    by: Duration = Field(ge=0.002)
    """The longest delay."""

    def says(self) -> str:
        return self.shared_words(f"jitter of up to {duration_text(self.by)}")

    def toxics(self, edge: Edge) -> Sequence[Toxic]:  # noqa: ARG002 - the same on every edge
        half = milliseconds(self.by / 2)
        return [Toxic("latency", {"latency": half, "jitter": half}, toxicity=self.share)]

    def bite(self, seen: Seen) -> Bite:
        return slower_bite(seen, f"the edge {seen.place} that jitters", self.by / 2, share=self.share)


class Bandwidth(SharedFault):
    """Let only so many bytes a second through, on each connection.

    What it does
        Holds the bytes of each connection down to `rate`; calls take (their bytes ÷ `rate`) longer.

    What it reveals
        Answers that are larger than they need be, streams without back-pressure, timeouts that count whole answers.

    Example
        {kind: bandwidth, on: gateway->inventory, rate: 64KB/s}

    Undone by
        Removing the toxic: what is waiting is let go at once.
    """

    kind: ClassVar[str] = "bandwidth"

    rate: ByteRate = Field(ge=1000)
    """Bytes per second of each connection, in each direction that it acts on: whole KB/s (of 1000 B), to 5%."""
    way: Way = Way.ANSWERS
    """What is slowed down."""

    @field_validator("rate")
    @classmethod
    def _whole(cls, rate: float) -> float:
        whole = round(rate / 1000) * 1000.0
        if abs(whole - rate) > 0.05 * rate:
            low = int(rate // 1000)
            raise ValueError(f"expected whole KB/s, as Toxiproxy's bandwidth comes in them: {low}KB/s or {low + 1}KB/s")
        return whole

    def says(self) -> str:
        return self.shared_words(f"bandwidth {size_text(self.rate)}/s")

    def toxics(self, edge: Edge) -> Sequence[Toxic]:  # noqa: ARG002 - the same on every edge
        streams = self.way.streams
        return [
            Toxic(
                "bandwidth",
                {"rate": int(self.rate // 1000)},
                stream,
                self.share,
                part=stream if len(streams) > 1 else "",
            )
            for stream in streams
        ]

    def bite(self, seen: Seen) -> Bite:
        calls = [call for call in seen.before.kept if call.end is not None] or seen.during.kept
        sizes = sorted(self._moved(call) for call in calls)
        added = middle(sizes) / self.rate if sizes else 0.0
        bite = slower_bite(seen, f"the narrow edge {seen.place}", added, share=self.share)
        if bite.bit or not sizes:
            return bite
        return Bite(False, f"{bite.because} (half of them move {size_text(middle(sizes))} or less)")

    def _moved(self, call: TapCall) -> float:
        """Bytes of a call that have to pass."""
        return {Way.REQUESTS: call.bytes_up, Way.ANSWERS: call.bytes_down}.get(
            self.way, call.bytes_up + call.bytes_down
        )
