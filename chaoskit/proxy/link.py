"""One direction of one connection: a chain of stubs between two sockets, with back-pressure from end to end.

client ─► [gate] ─► stub ─► stub ─► sink ─► upstream socket          (the upstream link; downstream is the mirror)
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol

from chaoskit.proxy.context import Context
from chaoskit.proxy.extra_toxics import EXTRA_STUBS
from chaoskit.proxy.meter import Meter
from chaoskit.proxy.stub import Sink, Stub
from chaoskit.proxy.toxic import Toxic
from chaoskit.proxy.toxics import CHUNK, STUBS

__all__ = ["Ends", "Link"]

_ROOM = 64 * 1024
_STUBS = {**STUBS, **EXTRA_STUBS}


class Ends(Protocol):
    """What a link asks of the connection that it is a half of."""

    number: int
    meter: Meter | None

    def deliver(self, direction: int, data: bytes) -> None: ...
    def link_over(self, link: Link) -> None: ...
    def linger(self) -> None: ...


class Link:
    """Chain of one direction. `plain` links (without stubs) are bypassed by the sockets' protocols."""

    __slots__ = (
        "blocked",
        "connection",
        "cutting",
        "direction",
        "full",
        "head",
        "held",
        "over",
        "paused",
        "received",
        "room",
        "sent",
        "source",
        "source_over",
        "starting",
        "strict",
        "stubs",
        "timers",
    )

    def __init__(self, connection: Ends, context: Context, direction: int, source: asyncio.Transport) -> None:
        self.connection = connection
        self.direction = direction
        self.source = source
        self.strict = context.strict
        self.timers = context.timers
        self.stubs: list[Stub] = []
        self.head: Sink = self
        self.room = _ROOM
        self.held = 0
        """Bytes, with overhead, that stubs hold back."""
        self.full = self.blocked = self.paused = False
        """Too much is held · the destination takes no more · therefore the source is not being read."""
        self.source_over = False
        self.over = False
        """Whether the end has reached the destination, or the destination is gone."""
        self.cutting = False
        """Whether a toxic ended it."""
        self.starting = False
        self.received = self.sent = 0

    def start(self, toxics: list[Toxic]) -> None:
        """Both sockets are open: build the chain."""
        self.starting = True
        for toxic in toxics:
            self.append(toxic)
        for stub in self.stubs:
            stub.start()
        self.starting = False

    def append(self, toxic: Toxic) -> Stub:
        stub = _STUBS[toxic.kind.name](self, toxic, self)
        if self.stubs:
            self.stubs[-1].next = stub
        else:
            self.head = stub
        self.stubs.append(stub)
        self.room += toxic.kind.room
        return stub

    # -- changes while it lives

    def add(self, toxic: Toxic) -> None:
        """A toxic was added: it acts on everything that has not left the chain."""
        if self.over:
            return
        last = self.stubs[-1] if self.stubs else None
        stub = self.append(toxic)
        if last is not None:
            if last.closed:
                stub.ended = stub.closed = True
            elif self.strict:
                last.update()  # a real one interrupts the neighbour to move its channels
        if self.source_over and last is None:
            stub.ended = True
        stub.start()

    def update(self, toxic: Toxic) -> None:
        stub = self.stub_of(toxic)
        if stub is not None and not stub.closed:
            stub.update()

    def remove(self, toxic: Toxic) -> float:
        """Take its stub out; returns the seconds for which it cannot be taken out yet."""
        stub = self.stub_of(toxic)
        if stub is None:
            return 0.0
        if not stub.closed:
            stub.release()
            if stub.timer is not None:
                return max(0.0, stub.timer.due - monotonic())
        if stub.closed and not stub.ended:
            return 0.0  # it ends the link: what comes behind it must not pass
        at = self.stubs.index(stub)
        if at:
            self.stubs[at - 1].next = stub.next
            if self.strict and not self.stubs[at - 1].closed:
                self.stubs[at - 1].update()
        else:
            self.head = stub.next
        del self.stubs[at]
        self.room -= toxic.kind.room
        return 0.0

    def stub_of(self, toxic: Toxic) -> Stub | None:
        return next((stub for stub in self.stubs if stub.toxic is toxic), None)

    # -- what passes

    def feed(self, data: bytes) -> None:
        """Bytes from the source."""
        self.received += len(data)
        if self.over:
            return
        now = monotonic()
        if len(data) <= CHUNK or self.head is self:
            self.head.take(data, now)
            return
        for at in range(0, len(data), CHUNK):
            self.head.take(data[at : at + CHUNK], now)

    def end(self) -> None:
        """The source has ended."""
        if not self.source_over:
            self.source_over = True
            if not self.over:
                self.head.finish()

    def take(self, data: bytes, stamp: float) -> None:  # noqa: ARG002 - the end of the chain needs no stamp
        if not self.over:
            self.sent += len(data)
            self.connection.deliver(self.direction, data)

    def finish(self) -> None:
        if not self.over:
            self.over = True
            self.connection.link_over(self)

    def discard(self) -> None:
        """The destination is gone."""
        self.over = True
        for stub in self.stubs:
            stub.discard()

    # -- back-pressure

    def hold(self, cost: int) -> None:
        self.held += cost
        if not self.full and self.held > self.room:
            self.full = True
            self.press()

    def free(self, cost: int) -> None:
        self.held -= cost
        if self.full and self.held <= self.room // 2:
            self.full = False
            self.press()

    def block(self, blocked: bool) -> None:
        """The destination takes no more, or again."""
        self.blocked = blocked
        self.press()

    def press(self) -> None:
        """Read the source, or leave its bytes where they are."""
        pausing = self.full or self.blocked
        if pausing is self.paused or self.source_over or self.source.is_closing():
            return
        self.paused = pausing
        if pausing:
            self.source.pause_reading()
        else:
            self.source.resume_reading()

    # -- what stubs ask for

    @property
    def number(self) -> int:
        return self.connection.number

    def hit(self, stub: Stub) -> None:
        """A stub acted: counted once for each call, or once for the connection where there are no calls."""
        meter = self.connection.meter
        toxic = stub.toxic
        found = meter.hit(self.direction, toxic.name) if meter is not None else None
        if found:
            toxic.hits += 1
        elif found is None and not stub.seen:
            stub.seen = True
            toxic.hits += 1
            if meter is not None:
                meter.count_hit(toxic.name)

    def linger(self) -> None:
        """Make the end of this connection a reset."""
        self.connection.linger()
