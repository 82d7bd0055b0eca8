"""Faults on the bytes that cross an edge: cut into pieces, cut off, flipped, and ends that come late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from chaoskit.faults.bites import cut_bite, slower_bite
from chaoskit.faults.edge import SharedFault, Toxic, Way, milliseconds
from chaoskit.faults.evidence import Bite, Seen, middle, share_text, size_text
from chaoskit.model.topology import Edge, Topology
from chaoskit.model.undo import JSON
from chaoskit.model.units import Duration, Share, Size, duration_text

__all__ = ["Corrupt", "Limit", "Slicer", "SlowClose"]


class Slicer(SharedFault):
    """Cut what crosses an edge into small pieces, with a pause after each.

    What it does
        Sends pieces of about `size` ± `variation` bytes, each followed by `pause`.

    What it reveals
        Readers that take one `recv` for one message, timeouts between bytes, parsers that are slow on small pieces.

    Example
        {kind: slicer, on: orders->payments, size: 64B, pause: 5ms}

    Undone by
        Removing the toxic: the rest is let go at once.
    """

    kind: ClassVar[str] = "slicer"

    size: Size = Field(ge=1)
    """Average size of a piece."""
    variation: Size = Field(default=0, ge=0)
    """How much larger or smaller a piece may be."""
    pause: Duration = Field(default=0.0, ge=0.0)
    """Pause after each piece."""
    way: Way = Way.ANSWERS
    """What is cut into pieces."""

    @model_validator(mode="after")
    def _variation_fits(self) -> Slicer:
        if self.variation >= self.size:
            raise ValueError("variation must be less than size")
        return self

    def says(self) -> str:
        pause = f", {duration_text(self.pause)} apart" if self.pause else ""
        return self.shared_words(f"pieces of {size_text(self.size)}{pause}")

    def toxics(self, edge: Edge) -> Sequence[Toxic]:  # noqa: ARG002 - the same on every edge
        attributes = {
            "average_size": self.size,
            "size_variation": self.variation,
            "delay": round(self.pause * 1e6),
        }
        streams = self.way.streams
        return [
            Toxic("slicer", attributes, stream, self.share, part=stream if len(streams) > 1 else "")
            for stream in streams
        ]

    def bite(self, seen: Seen) -> Bite:
        if seen.during.hits:
            count = f"{seen.during.hits} of {seen.during.total} calls"
            return Bite(True, f"{count} on {seen.place} were cut into pieces; {seen.took_text()}")
        if not self.pause:
            crossed = f"{seen.during.total} calls crossed {seen.place}"
            return Bite(False, f"{crossed} and none was cut: they move less than {size_text(self.size)} at once")
        sizes = sorted(float(call.bytes_down) for call in seen.before.kept) or [0.0]
        added = middle(sizes) / self.size * self.pause
        return slower_bite(seen, f"the edge {seen.place} that is cut into pieces", added, share=self.share)


class SlowClose(SharedFault):
    """Delay the end of each connection that the callee closes.

    What it does
        Data passes untouched; when the callee ends the connection its caller hears of it `delay` later.

    What it reveals
        Pools and servers that hold a descriptor until the other side has closed too, shutdowns that wait.

    Example
        {kind: slow_close, on: orders->payments, delay: 2s}

    Undone by
        Removing the toxic: what waits to be closed is closed at once.
    """

    kind: ClassVar[str] = "slow_close"

    delay: Duration = Field(ge=0.001)
    """How much later a connection ends."""

    def says(self) -> str:
        return self.shared_words(f"connections end {duration_text(self.delay)} late")

    def toxics(self, edge: Edge) -> Sequence[Toxic]:  # noqa: ARG002 - the same on every edge
        return [Toxic("slow_close", {"delay": milliseconds(self.delay)}, toxicity=self.share)]

    def bite(self, seen: Seen) -> Bite:
        during = seen.during
        if during.hits:
            return Bite(True, f"{during.hits} connections of {seen.place} were closed {duration_text(self.delay)} late")
        if not during.closed:
            return Bite(False, f"no connection of {seen.place} ended while it was in: its callers keep them open")
        ended = f"{during.closed} connections of {seen.place} ended"
        return Bite(False, f"{ended}, and none of them by its callee, whose ends are what comes late")


class Limit(SharedFault):
    """Close a connection after so many bytes.

    What it does
        Passes exactly `size` bytes of each connection, counted from when the fault goes in, then closes it: answers
        end in the middle.

    What it reveals
        Clients that take half an answer for a whole one, retries of what is not idempotent.

    Example
        {kind: limit, on: gateway->inventory, size: 1KB}

    Undone by
        Removing the toxic.
    """

    kind: ClassVar[str] = "limit"

    size: Size = Field(ge=0)
    """Bytes that may pass on each connection."""
    way: Way = Way.ANSWERS
    """What is counted: requests or answers."""

    @field_validator("way")
    @classmethod
    def _one_way(cls, way: Way) -> Way:
        if way is Way.BOTH:
            raise ValueError("expected requests or answers: each direction has a count of its own")
        return way

    def says(self) -> str:
        return self.shared_words(f"connections end after {size_text(self.size)}")

    def toxics(self, edge: Edge) -> Sequence[Toxic]:  # noqa: ARG002 - the same on every edge
        return [Toxic("limit_data", {"bytes": self.size}, self.way.streams[0], self.share)]

    def bite(self, seen: Seen) -> Bite:
        return cut_bite(seen, f"none reached {size_text(self.size)} on one connection")


class Corrupt(SharedFault):
    """Flip bits in what crosses an edge.

    What it does
        Changes one bit in a share `rate` of the bytes (seeded), by default in the bodies of answers only.

    What it reveals
        Parsers that crash, checksums that nobody checks, garbage that is cached or stored.

    Example
        {kind: corrupt, on: gateway->inventory, rate: 1%}

    Undone by
        Removing the toxic. What was stored wrong stays wrong.
    """

    kind: ClassVar[str] = "corrupt"

    rate: Share = Field(default=0.01, gt=0.0)
    """Share of the bytes that are changed."""
    what: Literal["bodies", "answers", "requests"] = "bodies"
    """`bodies` of HTTP answers, or any byte of `answers` or `requests`."""

    def check(self, topology: Topology) -> Sequence[tuple[str, str]]:
        if self.what != "bodies":
            return ()
        return [
            ("what", f"{edge.name} carries {edge.protocol}, which has no bodies: expected answers or requests")
            for edge in self.edges(topology)
            if edge.protocol != "http"
        ]

    def says(self) -> str:
        return self.shared_words(f"{share_text(self.rate, 1)} of the bytes of {self.what} changed")

    def toxics(self, edge: Edge) -> Sequence[Toxic]:  # noqa: ARG002 - the same on every edge
        stream = Way.REQUESTS.streams[0] if self.what == "requests" else Way.ANSWERS.streams[0]
        attributes: dict[str, JSON] = {"probability": self.rate, "only_bodies": self.what == "bodies"}
        return [Toxic("corrupt", attributes, stream, self.share)]

    def bite(self, seen: Seen) -> Bite:
        during = seen.during
        if during.hits:
            return Bite(True, f"{during.hits} of {during.total} calls on {seen.place} had bytes changed")
        return Bite(
            False, f"{during.total} calls crossed {seen.place} and not one byte was changed: they move few bytes"
        )
