"""The toxics of Toxiproxy itself, each with its exact rule; units are Toxiproxy's own (ms, KB/s, µs, bytes)."""

from __future__ import annotations

import random
from time import monotonic

from chaoskit.proxy.stub import OVERHEAD, Stub
from chaoskit.proxy.toxic import Attribute, Kind

__all__ = ["CHUNK", "KINDS", "STUBS"]

CHUNK = 32 * 1024
"""Toxics see the stream in pieces of at most this size, as those of a real Toxiproxy do."""


class Noop(Stub):
    """Passes everything on."""

    __slots__ = ()

    def serve(self) -> bool:
        self.next.take(*self.pop())
        return True


class Latency(Stub):
    """Delays each chunk by `latency` ± `jitter` from the instant it was received, so bursts are not serialised."""

    __slots__ = ("moved",)

    def serve(self) -> bool:
        toxic = self.toxic
        data, stamp = self.queue[0]
        delay = toxic.int_of("latency")
        jitter = toxic.int_of("jitter")
        if jitter > 0:
            delay += toxic.dice.randrange(-jitter, jitter)
        if delay > 0:
            self.hit()
        now = monotonic()
        due = stamp + delay / 1000
        # A real Toxiproxy moves the stamp by the sleep that was left, so behind a queue a second toxic delays less.
        self.moved = stamp + due - now if self.link.strict else due
        if due <= now:
            self.pop()
            self.next.take(data, self.moved)
            return True
        return self.wait(due)

    def wake(self) -> None:
        self.timer = None
        if self.queue and not self.closed:
            self.next.take(self.pop()[0], self.moved)
        self.run()


class Bandwidth(Stub):
    """Lets `rate` KB/s through: pieces of rate·100 bytes each 100 ms, the rest of a chunk after the time it owes."""

    __slots__ = ("begun", "owed", "rest", "stamp")

    def start(self) -> None:
        self.owed = 0.0
        self.rest: bytes | None = None

    def serve(self) -> bool:
        if self.rest is None:
            self.rest, self.stamp = self.queue[0]
            rate = self.toxic.int_of("rate")
            self.owed = self.owed + len(self.rest) / (rate * 1000) if rate > 0 else 0.0
            self.hit()
        now = monotonic()
        if len(self.rest) > self.toxic.int_of("rate") * 100:
            return self.wait(now + 0.1)
        self.begun = now
        return self.wait(now + self.owed)

    def wake(self) -> None:
        self.timer = None
        if self.rest is None or self.closed:
            return
        piece = self.toxic.int_of("rate") * 100
        if len(self.rest) > piece:
            data, self.rest = self.rest[:piece], self.rest[piece:]
            self.owed -= 0.1
            if data:
                self.next.take(data, self.stamp)
        else:
            data, self.rest = self.rest, None
            self.owed -= monotonic() - self.begun
            self.pop()
            self.next.take(data, self.stamp)
        self.run()

    def interrupt(self) -> None:
        if self.timer is None:
            return
        self.timer.cancel()
        self.timer = None
        if self.rest is not None and self.queue and not self.closed:
            data, self.rest = self.rest, None
            self.pop()
            self.next.take(data, self.stamp)


class SlowClose(Stub):
    """Delays the end of its direction by `delay` ms; data is untouched."""

    __slots__ = ()

    def serve(self) -> bool:
        self.next.take(*self.pop())
        return True

    def at_end(self) -> None:
        if not self.acting or self.toxic.int_of("delay") <= 0:
            self.close()
        elif self.timer is None:
            self.hit()
            self.timer = self.link.timers.after(self.toxic.int_of("delay") / 1000, self.close)

    def take(self, data: bytes, stamp: float) -> None:
        self.next.take(data, stamp)  # its timer stands for the end, not for a chunk


class Timeout(Stub):
    """Drops all data; with `timeout` > 0 it closes after that much silence in its direction."""

    __slots__ = ("heard",)

    def start(self) -> None:
        self.heard = monotonic()
        if self.acting and self.toxic.int_of("timeout") > 0:
            self.timer = self.link.timers.at(self.heard + self.toxic.int_of("timeout") / 1000, self.expire)

    def expire(self) -> None:
        self.timer = None
        due = self.heard + self.toxic.int_of("timeout") / 1000
        if due <= monotonic():
            self.cut()
        else:
            self.timer = self.link.timers.at(due, self.expire)

    def take(self, data: bytes, stamp: float) -> None:
        if self.closed:
            return
        if not self.acting:
            self.next.take(data, stamp)
            return
        self.heard = monotonic()
        self.hit()

    def finish(self) -> None:
        self.ended = True
        if self.acting:
            self.cut()
        else:
            self.close()

    def interrupt(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def release(self) -> None:
        # What it dropped is gone: to go on would corrupt the stream. A real one closes even where it lost its roll.
        if self.acting or self.link.strict:
            self.cut()


class ResetPeer(Stub):
    """Waits for data (or the end) in its direction, drops it, waits `timeout` ms and resets the connection.

    Removed while it waits it resets at once: what it dropped is gone. A real one cannot be removed before its time.
    """

    __slots__ = ("firing",)

    def start(self) -> None:
        self.firing = False
        if self.link.strict and self.link.starting:
            self.link.linger()  # whether or not it won its roll: a later close of any kind is a reset

    def take(self, data: bytes, stamp: float) -> None:
        if not self.acting:
            self.next.take(data, stamp)
        elif self.firing or self.closed:
            pass
        else:
            self.fire()

    def finish(self) -> None:
        self.ended = True
        if not self.acting:
            self.close()
        elif not self.firing and not self.closed:
            self.fire()

    def fire(self) -> None:
        self.firing = True
        self.hit()
        delay = self.toxic.int_of("timeout") / 1000
        self.timer = self.link.timers.after(delay, self.reset)

    def reset(self) -> None:
        self.timer = None
        if not self.link.strict:
            self.link.linger()
        self.cut()

    def update(self) -> None:
        if not self.firing:
            self.acting = self.toxic.roll()

    def release(self) -> None:
        if not self.firing:
            self.acting = False
        elif self.timer is not None and not self.link.strict:
            self.timer.cancel()
            self.reset()


class Slicer(Stub):
    """Cuts chunks into pieces of about `average_size` ± `size_variation`, with `delay` µs after each."""

    __slots__ = ("pieces",)

    def start(self) -> None:
        self.pieces: list[bytes] = []

    def serve(self) -> bool:
        if not self.pieces:
            data = self.queue[0][0]
            cuts = offsets(
                len(data), self.toxic.int_of("average_size"), self.toxic.int_of("size_variation"), self.toxic.dice
            )
            self.pieces = [data[a:b] for a, b in zip(cuts, [*cuts[1:], len(data)], strict=True)]
            self.pieces.reverse()
            if len(self.pieces) > 1 or self.toxic.int_of("delay") > 0:
                self.hit()
        self.next.take(self.pieces.pop(), self.queue[0][1])
        return self.wait(monotonic() + self.toxic.int_of("delay") / 1e6)

    def wake(self) -> None:
        self.timer = None
        if not self.pieces and self.queue:
            self.pop()
        self.run()

    def interrupt(self) -> None:
        if self.timer is None:
            return
        self.timer.cancel()
        self.timer = None
        if self.queue:
            _, stamp = self.pop()
            rest, self.pieces = b"".join(reversed(self.pieces)), []
            if rest and not self.closed:
                self.next.take(rest, stamp)


def offsets(length: int, average: int, variation: int, dice: random.Random) -> list[int]:
    """Where pieces begin: halve until a piece is within the variation of the average; the middle moves by ± variation.

    An average of 0 (which a real Toxiproxy does not survive) cuts nothing.
    """
    cuts: list[int] = []
    parts = [(0, length)]
    while parts:
        begin, end = parts.pop()
        if average <= 0 or end - begin - average <= variation or end - begin < 2:
            cuts.append(begin)
            continue
        middle = begin + (end - begin) // 2
        if variation > 0:
            middle += dice.randrange(-variation, variation)
            middle = min(max(middle, begin + 1), end - 1)
        parts.append((middle, end))
        parts.append((begin, middle))
    return cuts


class LimitData(Stub):
    """Passes exactly `bytes` bytes of the connection, counted from when it was added, then closes."""

    __slots__ = ("passed",)

    def take(self, data: bytes, stamp: float) -> None:
        if self.closed:
            return
        if not self.acting:
            self.next.take(data, stamp)
            return
        left = max(0, self.toxic.int_of("bytes") - self.counted())
        passing = data[:left]
        self.passed = self.counted() + len(passing)
        if passing:
            self.next.take(passing, stamp)
        if self.passed >= self.toxic.int_of("bytes"):
            self.cut()

    def counted(self) -> int:
        """Bytes passed so far; survives updates."""
        return getattr(self, "passed", 0)


_MS = Attribute()
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("noop", {}, go_name="NoopToxic"),
        Kind(
            "latency",
            {"latency": _MS, "jitter": _MS},
            go_name="LatencyToxic",
            room=1024 * (CHUNK + OVERHEAD),
        ),
        Kind("bandwidth", {"rate": _MS}, go_name="BandwidthToxic"),
        Kind("slow_close", {"delay": _MS}, go_name="SlowCloseToxic"),
        Kind("timeout", {"timeout": _MS}, go_name="TimeoutToxic", closes_on_removal=True),
        Kind("reset_peer", {"timeout": _MS}, go_name="ResetToxic"),
        Kind(
            "slicer",
            {
                "average_size": Attribute("int", least=1),
                "size_variation": Attribute("int"),
                "delay": Attribute("int"),
            },
            go_name="SlicerToxic",
        ),
        Kind("limit_data", {"bytes": _MS}, go_name="LimitDataToxic"),
    )
}
"""Kinds that every Toxiproxy has, by name."""

STUBS: dict[str, type[Stub]] = {
    "noop": Noop,
    "latency": Latency,
    "bandwidth": Bandwidth,
    "slow_close": SlowClose,
    "timeout": Timeout,
    "reset_peer": ResetPeer,
    "slicer": Slicer,
    "limit_data": LimitData,
}
"""What acts in a link, by the name of the kind."""
