"""Faults that take an edge down: reset, black-holed, partitioned, flapping."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from pydantic import Field, model_validator

from chaoskit.faults.bites import cut_bite
from chaoskit.faults.edge import EdgeFault, SharedFault, Toxic, Way, milliseconds
from chaoskit.faults.evidence import BY_CHANCE, Bite, Seen, by_chance, share_text
from chaoskit.interfaces import System
from chaoskit.model.observation import SLOT, TapSlot
from chaoskit.model.topology import Edge
from chaoskit.model.undo import Undo
from chaoskit.model.units import Duration, duration_text

__all__ = ["Blackhole", "Flap", "Partition", "Reset"]


class Reset(SharedFault):
    """Reset connections as soon as something crosses them.

    What it does
        The first bytes in its direction are dropped and, `after` later, the connection ends with a TCP reset.
        Connections that are open already are hit by their next bytes.

    What it reveals
        Pools that hand out dead connections, retries that repeat what is not idempotent, errors that nobody maps.

    Example
        {kind: reset, on: orders->payments, share: 30%}

    Undone by
        Removing the toxic. Connections that were reset stay so; one that waits to be reset is reset then.
    """

    kind: ClassVar[str] = "reset"

    after: Duration = Field(default=0.0, ge=0.0)
    """How long a connection lives on after its first bytes."""
    way: Way = Way.REQUESTS
    """`requests`: the callee never sees the call. `answers`: it did its work, and the caller does not hear of it."""

    @model_validator(mode="after")
    def _one_way(self) -> Reset:
        if self.way is Way.BOTH:
            raise ValueError("expected requests or answers: a connection is reset once")
        return self

    @model_validator(mode="after")
    def _in_time(self) -> Reset:
        if self.lasts is not None and self.after >= self.lasts:
            raise ValueError("after must be shorter than lasts: no connection would be reset while it is in")
        return self

    def says(self) -> str:
        late = f" after {duration_text(self.after)}" if self.after else ""
        return self.shared_words(f"connections reset{late}")

    def toxics(self, edge: Edge) -> Sequence[Toxic]:  # noqa: ARG002 - the same on every edge
        return [Toxic("reset_peer", {"timeout": milliseconds(self.after)}, self.way.streams[0], self.share)]

    def bite(self, seen: Seen) -> Bite:
        why_not = f"with {self.share * 100:g}% of connections to reset, none was picked"
        if self.after:
            why_not = f"each lives on for {duration_text(self.after)} after its first bytes, if it was picked"
        return cut_bite(seen, why_not, "were reset")


class Blackhole(SharedFault):
    """Accept connections and requests, and never answer.

    What it does
        Everything that crosses the edge is dropped, in both directions, on connections that are open already too. With
        a `share` below 100% it is the requests of those connections that vanish.

    What it reveals
        Missing timeouts, breakers that count only refusals, threads and slots that wait for ever.

    Example
        {kind: blackhole, on: orders->payments}

    Undone by
        Removing the toxic. Connections that lost bytes are closed then: what would come next makes no sense.
    """

    kind: ClassVar[str] = "blackhole"

    def says(self) -> str:
        return self.shared_words("never answered")

    def toxics(self, edge: Edge) -> Sequence[Toxic]:  # noqa: ARG002 - the same on every edge
        if self.share < 1.0:  # each direction is rolled for itself: only one can be the share that was asked for
            return [Toxic("timeout", {"timeout": 0}, "upstream", self.share)]
        return [Toxic("timeout", {"timeout": 0}, stream, part=stream) for stream in Way.BOTH.streams]

    def bite(self, seen: Seen) -> Bite:
        return unanswered_bite(seen, all_of_it=self.share == 1.0)


class How(StrEnum):
    """What a caller sees of a partition."""

    REFUSED = "refused"
    DROPPED = "dropped"


class Partition(EdgeFault):
    """Cut the caller off from the callee.

    What it does
        `refused`: connections that are open end at once and new ones are refused. `dropped`: nothing gets through any
        more and nobody is told, as when a cable is cut; with `way: requests` the callee hears nothing, with
        `way: answers` it hears (and does) everything, but the caller never learns of it.

    What it reveals
        Readiness that lies, pools that do not reconnect, fallbacks that were never tried; with `answers`, work that is
        done twice.

    Example
        {kind: partition, on: orders->postgres, lasts: 5s}
        {kind: partition, on: [a->b, b->a], how: dropped}

    Undone by
        Opening the listener again; where bytes were dropped, by removing the toxics, which ends the connections.
    """

    kind: ClassVar[str] = "partition"

    how: How = How.REFUSED
    """What callers see: connections `refused`, or bytes `dropped` without a word."""
    way: Way = Way.BOTH
    """With `dropped`: which bytes vanish. Name the edges of both directions to cut two services off from each other."""

    @model_validator(mode="after")
    def _one_way_drops(self) -> Partition:
        if self.how is How.REFUSED and self.way is not Way.BOTH:
            raise ValueError("expected how: dropped with a way: a refused connection carries nothing either way")
        return self

    def says(self) -> str:
        if self.how is How.REFUSED:
            return "partition (refused)"
        return "partition (dropped)" if self.way is Way.BOTH else f"partition ({self.way.value} dropped)"

    def toxics(self, edge: Edge) -> Sequence[Toxic]:  # noqa: ARG002 - the same on every edge
        if self.how is How.REFUSED:
            return []
        return [Toxic("timeout", {"timeout": 0}, stream, part=stream) for stream in self.way.streams]

    def undo(self, system: System) -> Sequence[Undo]:
        if self.how is How.DROPPED:
            return super().undo(system)
        return [system.proxy(edge).undo_enabled(self.id) for edge in self.edges(system.topology)]

    def _inject_on(self, system: System, edge: Edge) -> None:
        if self.how is How.REFUSED:
            system.proxy(edge).set_enabled(False, by=self.id)
        else:
            super()._inject_on(system, edge)

    def bite(self, seen: Seen) -> Bite:
        return unanswered_bite(seen, all_of_it=True)

    def _bite_at(self, seen: Seen) -> Bite:
        return super()._bite_at(seen) if self.how is How.DROPPED else refused_bite(seen)


class Flap(EdgeFault):
    """Take an edge down and up again, over and over.

    What it does
        Closes the listener and cuts what is open for `down`, opens it for `up`, and so on; it begins with down.

    What it reveals
        Breakers that flap along, pools that reconnect in a herd, health checks that are too slow or too quick.

    Example
        {kind: flap, on: orders->payments, down: 2s, up: 2s}

    Undone by
        Removing the toxic, which opens the listener.
    """

    kind: ClassVar[str] = "flap"

    down: Duration = Field(default=1.0, ge=0.001)
    """How long it is down each time."""
    up: Duration = Field(default=1.0, ge=0.001)
    """How long it is up each time."""

    def says(self) -> str:
        return f"flapping, {duration_text(self.down)} down and {duration_text(self.up)} up"

    def toxics(self, edge: Edge) -> Sequence[Toxic]:  # noqa: ARG002 - the same on every edge
        return [Toxic("flap", {"down": milliseconds(self.down), "up": milliseconds(self.up)})]

    def _bite_at(self, seen: Seen) -> Bite:
        return refused_bite(seen, throughout=False)

    def bite(self, seen: Seen) -> Bite:
        return self._bite_at(seen)


def unanswered_bite(seen: Seen, *, all_of_it: bool) -> Bite:
    """For faults under which no call is answered. An answer that was on its way when it went in is forgiven."""
    before, during = seen.before, seen.during
    came_back = during.answered_inside
    because = f"{during.unanswered} of {during.total} calls on {seen.place} got no answer"
    if unanswered := during.unanswered_text():
        because += f" ({unanswered})"
    because += f"; {share_text(before.unanswered, before.total)} went without one in baseline"
    usual = (before.unanswered + 1) / (before.total + 2)
    if by_chance(during.unanswered, during.total, usual) >= BY_CHANCE:
        return Bite(False, f"{because}: {came_back} were answered all the same")
    if all_of_it and came_back > 0.05 * during.total:
        return Bite(False, f"{because}: {came_back} were answered all the same, and none should have been")
    return Bite(True, because)


def refused_bite(seen: Seen, *, throughout: bool = True) -> Bite:
    """For a closed listener, where nothing can be counted: its recorded span, the connections cut at its start, and
    the calls that crossed in baseline. `throughout`: it was to be closed all the time that the fault was in."""
    start, end = seen.span
    missing = [edge for edge in seen.edges if not _closed_slots(seen, edge)]
    if missing:
        return Bite(False, f"the listener of {', '.join(missing)} was not seen closed")
    if not seen.before.total:
        because = f"the listener of {seen.place} was closed, but no call crossed it in baseline either"
        return Bite(False, f"{because}: nothing in the load leads there")
    inside = [slot for slot in seen.slots() if slot.at >= start + SLOT and slot.at + SLOT <= end]
    crossed = sum(slot.started for slot in inside if slot.listening)
    if crossed and throughout:
        return Bite(False, f"{crossed} calls still crossed {seen.place} while it was to be closed")
    first = seen.fault.injected if seen.fault.injected is not None else start
    last = start + SLOT if throughout else end
    cut = sum(slot.cut for slot in seen.slots() if first - SLOT < slot.at <= last)
    times = "was closed" if throughout else "was closed again and again"
    because = (
        f"the listener of {seen.place} {times} for {duration_text(end - start)} and {cut} connections were cut;"
        f" {seen.before.total} calls crossed it in baseline, {crossed or 'none'} while the fault was in"
    )
    if after := seen.after.total:
        because += f", {after} afterwards"
    return Bite(True, because)


def _closed_slots(seen: Seen, edge: str) -> list[TapSlot]:
    """Slots in which the listener was closed for some time, while the fault was in."""
    start, end = seen.span
    return [slot for slot in seen.slots([edge]) if not slot.listening and start - 2 * SLOT < slot.at < end + SLOT]
