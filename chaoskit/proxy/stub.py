"""One place in a link's chain, where one toxic acts on what passes: the base of all that hold data back.

    source ─► stub ─► stub ─► … ─► sink
              take()/finish()      take()/finish()

A chunk is (data, stamp), where the stamp is the instant it was received, moved on by every delay it has served. A stub
hands chunks on in order; what it holds back counts against the link's room, and above that the source is not read.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Protocol

from chaoskit.proxy.timers import Timer, Timers
from chaoskit.proxy.toxic import Toxic

__all__ = ["OVERHEAD", "Chain", "Sink", "Stub"]

OVERHEAD = 256
"""What a held chunk costs beside its bytes."""


class Sink(Protocol):
    """Where a stub hands on to: the next stub, or the end of the link."""

    def take(self, data: bytes, stamp: float) -> None: ...
    def finish(self) -> None: ...


class Chain(Protocol):
    """What a stub asks of the link that it stands in."""

    strict: bool
    starting: bool
    cutting: bool
    timers: Timers

    @property
    def number(self) -> int:
        """Of the connection."""

    def hold(self, cost: int) -> None: ...
    def free(self, cost: int) -> None: ...
    def hit(self, stub: Stub) -> None: ...
    def linger(self) -> None: ...


class Stub:
    """Holds chunks in order and serves them one at a time; `serve` is what kinds differ in."""

    __slots__ = ("acting", "closed", "ended", "link", "next", "queue", "seen", "timer", "toxic")

    def __init__(self, link: Chain, toxic: Toxic, following: Sink) -> None:
        self.link = link
        self.toxic = toxic
        self.next = following
        self.queue: deque[tuple[bytes, float]] = deque()
        self.timer: Timer | None = None
        """Set while the chunk at the head of the queue is being served."""
        self.ended = False
        """Whether the end of the stream stands behind the queue."""
        self.closed = False
        """Whether the end (or this toxic's own) has been handed on."""
        self.acting = toxic.roll()
        self.seen = False
        """Whether a hit of this connection has been counted (where there are no calls)."""

    # -- what the link calls

    def start(self) -> None:
        """The link is up, or the toxic was added to it or updated."""

    def take(self, data: bytes, stamp: float) -> None:
        if self.closed:
            return
        if self.timer is None and not self.queue and not self.acting:
            self.next.take(data, stamp)
            return
        self.queue.append((data, stamp))
        self.link.hold(len(data) + OVERHEAD)
        if self.timer is None and len(self.queue) == 1:
            self.run()

    def finish(self) -> None:
        self.ended = True
        if self.timer is None and not self.queue:
            self.run()

    def interrupt(self) -> None:
        """Hand the chunk in service on at once, as it is."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            if self.queue and not self.closed:
                self.next.take(*self.pop())

    def update(self) -> None:
        """Its attributes or its toxicity changed: roll again and go on with the new ones."""
        self.interrupt()
        self.acting = self.toxic.roll()
        self.start()
        if self.timer is None:
            self.run()

    def release(self) -> None:
        """It is being removed: hand everything on at once."""
        self.interrupt()
        self.acting = False
        self.run()

    def discard(self) -> None:
        """The link is dead: let go of everything."""
        self.closed = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        while self.queue:
            self.pop()

    # -- what kinds use

    def run(self) -> None:
        """Serve what is queued until one must wait."""
        while self.queue and not self.closed:
            if not self.acting:
                self.next.take(*self.pop())
            elif not self.serve():
                return
        if self.ended and not self.closed and self.timer is None:
            self.at_end()

    def serve(self) -> bool:
        """Act on the head of the queue: True where it was handed on, False where `timer` was set to go on later."""
        raise NotImplementedError

    def at_end(self) -> None:
        """The stream has ended and the queue is empty."""
        self.close()

    def close(self) -> None:
        """Hand the end on, and nothing after it."""
        if not self.closed:
            self.closed = True
            self.next.finish()

    def cut(self) -> None:
        """End the stream here by the toxic's own will: both sockets of the connection are closed."""
        if not self.closed:
            self.hit()
            self.link.cutting = True
            self.discard()
            self.next.finish()

    def wait(self, until: float) -> bool:
        self.timer = self.link.timers.at(until, self.wake)
        return False

    def wake(self) -> None:
        """The wait is over: hand the head on and go on."""
        self.timer = None
        if self.queue and not self.closed:
            self.next.take(*self.pop())
        self.run()

    def pop(self) -> tuple[bytes, float]:
        chunk = self.queue.popleft()
        self.link.free(len(chunk[0]) + OVERHEAD)
        return chunk

    def hit(self) -> None:
        """Count that it acted, once for each call (or for the connection, where there are no calls)."""
        self.link.hit(self)

    @property
    def now(self) -> float:
        return monotonic()
