"""One request and its answer, and the idle connections that it may take. Worker side only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from chaoskit.load.hosts import Origin

__all__ = ["Asking", "Carrier", "Exchange", "Pool"]


class Carrier(Protocol):
    """A connection, as exchanges and pools know it."""

    ready: bool
    """Whether it is connected, its handshake included."""

    def carry(self, exchange: Exchange) -> None:
        """Send a request on this idle connection."""

    def close(self) -> None: ...


Pool = dict[Origin, list[Carrier]]
"""Idle connections of one user (or of all, in an open load), the one used last at the end."""


class Asking(Protocol):
    """What the client must know of a request."""

    keep_body: bool
    headless: bool
    """A HEAD request: its answer has no body whatever it says."""
    idempotent: bool


class Exchange:
    """One request and its answer. Instants are absolute CLOCK_MONOTONIC; `planned` 0 means: when it is sent."""

    # Most exchanges keep most of these as they are: class attributes cost nothing to make.
    sent = 0.0
    ended = 0.0
    status = 0
    cause = ""
    ours = False
    """Whether it failed for want of something of ours (files, ports)."""
    head = b""
    bytes_in = 0
    bytes_out = 0
    reconnects = 0
    reused = False
    connection: Carrier | None = None
    waiter: Any = None
    """The greenlet that `perform` lets wait."""
    body: list[bytes] | None = None
    said: tuple[str, str] | None = None
    """Key and value of what it writes or reads, where that is kept."""

    def __init__(
        self,
        request: Asking,
        data: bytes,
        origin: Origin,
        pool: Pool,
        planned: float,
        deadline: float,
        on_end: Callable[[Exchange], None] | None = None,
    ) -> None:
        self.request: Any = request  # of the caller's own class when it comes back
        self.data = data
        self.origin = origin
        self.pool = pool
        self.planned = planned
        self.deadline = deadline
        self.on_end = on_end
        if request.keep_body:
            self.body = []
