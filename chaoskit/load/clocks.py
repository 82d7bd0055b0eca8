"""How far another machine's clock is ahead of ours (Cristian, "Probabilistic clock synchronization", 1989)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from chaoskit.processes import boot_id

__all__ = ["Offset", "Ping", "clock_id", "drifted", "offset"]


class Ping(NamedTuple):
    """Sent and received by our clock, answered in between by theirs."""

    sent: float
    there: float
    received: float


class Offset(NamedTuple):
    ahead: float
    """Theirs minus ours."""
    uncertainty: float
    """The truth is at most this far from `ahead`."""


def clock_id() -> str:
    """The same in two processes whose CLOCK_MONOTONIC is the same: this boot, in this time namespace."""
    try:
        shifted = " ".join(Path("/proc/self/timens_offsets").read_text(encoding="ascii").split())
    except OSError:
        shifted = ""  # no such namespaces here
    return f"{boot_id()} {shifted}"


def offset(pings: Sequence[Ping]) -> Offset:
    """From the quickest ping: the answer lies somewhere within its round trip. Raises ValueError without any."""
    if not pings:
        raise ValueError("no ping was answered")
    best = min(pings, key=lambda ping: ping.received - ping.sent)
    middle = (best.sent + best.received) / 2
    return Offset(best.there - middle, (best.received - best.sent) / 2)


def drifted(first: Offset, last: Offset) -> float:
    """How uncertain the first offset is in hindsight: what the clocks ran apart since, at worst."""
    return max(first.uncertainty, abs(last.ahead - first.ahead) + last.uncertainty)
