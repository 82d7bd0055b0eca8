"""The tap: counts what crosses each edge, in slots of 100 ms, and keeps single calls up to a stated number.

    connection's meter ─► Tap (one edge: the open slot) ─► Hub (all edges: ready slots) ─► streams to the harness

Single calls are kept up to `CALLS_PER_SECOND` on each edge. Where there are more, whole traces are left out: a trace is
kept by a hash of its id, with one share for all edges, so a trace that is kept is kept wherever it went.
"""

from __future__ import annotations

from time import monotonic
from typing import Protocol
from zlib import crc32

from chaoskit.model.credentials import path_without_secrets
from chaoskit.model.histogram import bucket_of, encode
from chaoskit.model.observation import SLOT, TapCall, TapSlot, slot_start
from chaoskit.proxy.http1 import Head

__all__ = ["CALLS_PER_SECOND", "SOURCE", "Call", "Hub", "Metering", "Tap"]

CALLS_PER_SECOND = 200
"""Single calls kept on each edge and second, before whole traces are left out."""
SOURCE = "tap"
_CALM_SECONDS = 5


class Call:
    """One call while it is open. What its head says is read only where the call is kept."""

    __slots__ = (
        "bytes_down",
        "bytes_up",
        "connection",
        "end",
        "first",
        "head",
        "outcome",
        "start",
        "status",
        "toxics",
        "verb",
    )

    def __init__(self, start: float, connection: int, first: bool) -> None:
        self.start = start
        self.connection = connection
        self.first = first
        self.end: float | None = None
        self.status = 0
        self.head: Head | None = None
        self.verb = ""
        """What it asks for, where there is no head to say so."""
        self.outcome = "open"
        self.bytes_up = self.bytes_down = 0
        self.toxics: tuple[str, ...] = ()

    def trace(self) -> tuple[str, str]:
        """Trace id and span id of its traceparent (https://www.w3.org/TR/trace-context/), empty where it has none."""
        if self.head is not None:
            low = self.head.low
            at = low.find(b"\r\ntraceparent:")
            if at >= 0:
                parts = low[at + 14 : low.index(b"\r\n", at + 14)].strip().split(b"-")
                if len(parts) >= 4 and len(parts[1]) == 32 and len(parts[2]) == 16:
                    return parts[1].decode("latin-1"), parts[2].decode("latin-1")
        return "", ""

    def sample(self) -> int:
        """A number that is the same for all calls of one trace, wherever it is seen; for want of a trace, of one
        connection."""
        if self.head is not None:
            low = self.head.low
            at = low.find(b"\r\ntraceparent:")
            if at >= 0:
                at = low.find(b"-", at) + 1
                return crc32(low[at : at + 32])
        return self.connection

    def kept(self) -> TapCall:
        """As it is reported."""
        trace_id, span_id = self.trace()
        head = self.head
        return TapCall(
            start=self.start,
            end=self.end,
            method=self.verb if head is None else head.method.decode("latin-1"),
            path="" if head is None else path_without_secrets(head.path.decode("latin-1")),
            status=self.status or None,
            trace_id=trace_id,
            span_id=span_id,
            connection=self.connection,
            first=self.first,
            outcome=self.outcome,
            bytes_up=self.bytes_up,
            bytes_down=self.bytes_down,
            key=head is not None and b"\r\nidempotency-key:" in head.low,
            toxics=self.toxics,
        )


class Metering(Protocol):
    """What a tap asks of each open connection's meter."""

    def settle(self, slot: float) -> None:
        """End the turn that has been quiet since before the slot that starts at `slot`."""

    def report(self, now: float) -> None:
        """End every open call as `open`."""


class Hub:
    """All taps of one server, and the slots that are ready to be told."""

    def __init__(self, calls_per_second: int = CALLS_PER_SECOND) -> None:
        self.calls_per_second = calls_per_second
        self.taps: list[Tap] = []
        self.waiting: list[TapSlot] = []
        self.level = 0
        """Every 2^level-th trace is kept."""
        self.mask = 0
        self._calm = 0
        self._second = 0

    def emit(self, slot: TapSlot) -> None:
        self.waiting.append(slot)

    def tick(self, now: float) -> list[TapSlot]:
        """Close every slot that is over and hand out what is ready; called once a slot."""
        for tap in self.taps:
            if now >= tap.until:
                tap.roll(now)
        if int(now) != self._second:
            self._second = int(now)
            self._new_second()
        ready, self.waiting = self.waiting, []
        return ready

    def flush(self, now: float) -> None:
        """Close the slot that is open too, with every call that is: the end of a run."""
        for tap in self.taps:
            tap.flush(now)

    def raise_level(self) -> None:
        self.level = min(self.level + 1, 30)
        self.mask = (1 << self.level) - 1
        self._calm = 0

    def _new_second(self) -> None:
        most = max((tap.ended_this_second for tap in self.taps), default=0)
        for tap in self.taps:
            tap.ended_this_second = tap.kept_this_second = 0
        # The share goes up again only after a while in which twice as many would have been kept without crowding.
        self._calm = self._calm + 1 if most < self.calls_per_second << max(0, self.level - 1) else 0
        if self.level and self._calm >= _CALM_SECONDS:
            self.level -= 1
            self.mask = (1 << self.level) - 1
            self._calm = 0


class Tap:
    """One edge: what happened in the slot that is open. Counters are plain fields that meters add to."""

    __slots__ = (
        "bytes_down",
        "bytes_up",
        "calls",
        "closed",
        "connections",
        "cut",
        "edge",
        "ended",
        "ended_this_second",
        "hits",
        "hub",
        "kept_this_second",
        "left_out",
        "listening",
        "meters",
        "opened",
        "outcomes",
        "quiet",
        "start",
        "started",
        "statuses",
        "took",
        "until",
        "was_closed",
    )

    def __init__(self, hub: Hub, edge: str) -> None:
        self.hub = hub
        self.edge = edge
        self.connections = 0
        self.listening = False
        self.ended_this_second = self.kept_this_second = 0
        self.meters: set[Metering] = set()
        """Of the connections that are open."""
        self.quiet: set[Metering] = set()
        """Those with a turn that has been answered and may be over."""
        self.start = slot_start(monotonic())
        self.until = self.start + SLOT
        self._clear()
        self.was_closed = False  # it was not there to be closed
        hub.taps.append(self)

    def _clear(self) -> None:
        self.opened = self.closed = self.cut = self.started = self.ended = self.left_out = 0
        self.bytes_up = self.bytes_down = 0
        self.took: dict[int, int] = {}
        self.statuses: dict[int, int] = {}
        self.outcomes: dict[str, int] = {}
        self.hits: dict[str, int] = {}
        self.calls: list[TapCall] = []
        self.was_closed = not self.listening

    def leave(self) -> None:
        """The proxy is gone: report what is open and be forgotten."""
        self.listen(False, monotonic())
        self.flush(monotonic())
        self.hub.taps.remove(self)

    def listen(self, listening: bool, now: float) -> None:
        """The listener was opened or closed."""
        if now >= self.until:
            self.roll(now)
        self.listening = listening
        if not listening:
            self.was_closed = True

    def end_call(self, call: Call) -> None:
        """A call is over: count it, and keep it or leave it out."""
        self.ended += 1
        self.ended_this_second += 1
        if call.outcome == "answered" and call.end is not None:
            index = bucket_of(call.end - call.start)
            self.took[index] = self.took.get(index, 0) + 1
        self.outcomes[call.outcome] = self.outcomes.get(call.outcome, 0) + 1
        if call.status:
            self.statuses[call.status] = self.statuses.get(call.status, 0) + 1
        hub = self.hub
        if hub.mask and call.sample() & hub.mask:
            self.left_out += 1
            return
        self.calls.append(call.kept())
        self.kept_this_second += 1
        if self.kept_this_second >= hub.calls_per_second:
            hub.raise_level()
            self.kept_this_second //= 2

    def roll(self, now: float) -> None:
        """The open slot is over: report it where something happened, and open the one that `now` is in."""
        for meter in tuple(self.quiet):
            meter.settle(self.start)
        self._report()
        start = slot_start(now)
        if not self.listening:  # nothing can be counted: every slot says so
            for number in range(1, min(round((start - self.start) / SLOT), 600)):
                at = slot_start(self.start + number * SLOT + SLOT / 2)
                self.hub.emit(TapSlot(at=at, source=SOURCE, edge=self.edge, listening=False))
        self.start = start
        self.until = start + SLOT
        self._clear()

    def flush(self, now: float) -> None:
        if now >= self.until:
            self.roll(now)
        for meter in tuple(self.meters):
            meter.report(now)
        self._report()
        self._clear()

    def _report(self) -> None:
        happened = self.opened or self.closed or self.bytes_up or self.bytes_down or self.started or self.ended
        if not (happened or self.was_closed or self.hits):
            return
        self.hub.emit(
            TapSlot(
                at=self.start,
                source=SOURCE,
                edge=self.edge,
                listening=not self.was_closed,
                opened=self.opened,
                closed=self.closed,
                cut=self.cut,
                connections=self.connections,
                bytes_up=self.bytes_up,
                bytes_down=self.bytes_down,
                started=self.started,
                ended=self.ended,
                took=encode(self.took),
                statuses={str(status): count for status, count in self.statuses.items()},
                outcomes=self.outcomes,
                hits=self.hits,
                calls=tuple(self.calls),
                left_out=self.left_out,
            )
        )
