"""Toxics that a real Toxiproxy lacks, in the same API.

They act on bytes (`rate`, `corrupt`), on connections (`connect_stall`), on the listener (`flap`), and on whole HTTP
calls (`http_error`, `http_delay`, `truncate`: what those do is in `gate`).
"""

from __future__ import annotations

import math
import random
from time import monotonic

from chaoskit.proxy.stub import Stub
from chaoskit.proxy.toxic import Attribute, Kind
from chaoskit.proxy.toxics import CHUNK

__all__ = ["EXTRA_KINDS", "EXTRA_STUBS", "corrupted"]


class Rate(Stub):
    """Lets `rate` KB/s through, shared by all connections of the proxy in this direction."""

    __slots__ = ("rest",)

    def start(self) -> None:
        self.rest = b""

    def serve(self) -> bool:
        toxic = self.toxic
        self.rest = self.rest or self.queue[0][0]
        rate = toxic.int_of("rate") * 1000
        size = min(len(self.rest), max(1, rate // 10))
        toxic.busy_until = max(toxic.busy_until, monotonic()) + size / rate
        self.hit()
        return self.wait(toxic.busy_until)

    def wake(self) -> None:
        self.timer = None
        if self.queue and not self.closed:
            size = max(1, self.toxic.int_of("rate") * 100)
            data, self.rest = self.rest[:size], self.rest[size:]
            stamp = self.queue[0][1]
            if not self.rest:
                self.pop()
            self.next.take(data, stamp)
        self.run()

    def interrupt(self) -> None:
        if self.timer is None:
            return
        self.timer.cancel()
        self.timer = None
        if self.queue and not self.closed:
            data, self.rest = self.rest, b""
            _, stamp = self.pop()
            self.next.take(data, stamp)

    def update(self) -> None:
        self.toxic.busy_until = 0.0
        super().update()


class Corrupt(Stub):
    """Flips one bit in a share `probability` of the bytes, by dice that depend on the seed and the connection alone."""

    __slots__ = ("dice",)

    def start(self) -> None:
        self.dice = random.Random(f"{self.toxic.seed}/{self.link.number}")  # noqa: S311 - chance, not secrecy

    def serve(self) -> bool:
        data, stamp = self.pop()
        spoilt = (
            data
            if self.toxic.attributes["only_bodies"]
            else corrupted(data, self.toxic.float_of("probability"), self.dice)
        )
        if spoilt is not data:
            self.hit()
        self.next.take(spoilt, stamp)
        return True


def corrupted(data: bytes, probability: float, dice: random.Random) -> bytes:
    """`data` with one bit flipped in each byte that is hit; the same object where none is."""
    if probability <= 0:
        return data
    spoilt: bytearray | None = None
    at = -1
    while True:
        # The gap between hits is geometric: one roll a hit instead of one a byte.
        gap = 0.0 if probability >= 1 else math.log(1.0 - dice.random()) / math.log1p(-probability)
        at += 1 + int(min(gap, len(data)))
        if at >= len(data):
            return data if spoilt is None else bytes(spoilt)
        spoilt = spoilt or bytearray(data)
        spoilt[at] ^= 1 << dice.randrange(8)


_WHICH = {
    "method": Attribute("string", ""),
    "path": Attribute("string", ""),
    "header": Attribute("string", ""),
    "percentage": Attribute("number", 100.0, 0, 100),
}
"""Which calls: each that is given must match; `path` is a glob, `header` is `name` or `name: glob`."""

EXTRA_KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("rate", {"rate": Attribute(default=1, least=1)}),
        Kind(
            "corrupt",
            {"probability": Attribute("number", 0.001, 0, 1), "only_bodies": Attribute("bool", False)},
            room=CHUNK,
        ),
        Kind("connect_stall", {"delay": Attribute()}, layer="accept"),
        Kind(
            "flap",
            {"down": Attribute(default=1000, least=1), "up": Attribute(default=1000, least=1)},
            layer="listener",
        ),
        Kind(
            "http_error",
            {
                "status": Attribute(default=503, least=200, most=599),
                "body": Attribute("string", ""),
                "headers": Attribute("object", {}),
                "first": Attribute(),
                **_WHICH,
            },
            layer="http",
        ),
        Kind("http_delay", {"delay": Attribute(), "jitter": Attribute(), **_WHICH}, layer="http"),
        Kind("truncate", {"bytes": Attribute(), **_WHICH}, layer="http"),
    )
}
"""By name."""
EXTRA_STUBS: dict[str, type[Stub]] = {"rate": Rate, "corrupt": Corrupt}
