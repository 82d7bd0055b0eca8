"""One connection through a proxy: two sockets, two links, and who ended it.

Bytes take the short way (socket to socket, with the tap counting) as long as no toxic stands in their direction.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Coroutine
from time import monotonic
from typing import Protocol, cast

from chaoskit.proxy.gate import Gate, Toxics
from chaoskit.proxy.link import Link
from chaoskit.proxy.meter import Meter
from chaoskit.proxy.toxic import DOWNSTREAM, UPSTREAM

__all__ = ["RESET", "ClientSide", "Connection", "Host", "UpstreamSide"]

_HIGH_WATER = 512 * 1024
_MOST_EARLY = 64 * 1024
RESET = struct.pack("ii", 1, 0)
"""Value of SO_LINGER with which a close is a reset."""


class Host(Toxics, Protocol):
    """What a connection asks of the proxy that accepted it."""

    def next_number(self) -> int: ...
    def admit(self, connection: Connection) -> bool: ...
    def meter(self, number: int, now: float) -> Meter | None: ...
    def connect(self, connection: Connection) -> Coroutine[object, object, None]: ...
    def forget(self, connection: Connection) -> None: ...


class _Side(asyncio.Protocol):
    """One socket. `out` carries what it sends, `into` what it is sent."""

    __slots__ = ("connection", "gone", "into", "out", "transport")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.transport: asyncio.Transport | None = None
        self.out: Link | None = None
        self.into: Link | None = None
        self.gone = False

    def pause_writing(self) -> None:
        if self.into is not None:
            self.into.block(True)

    def resume_writing(self) -> None:
        if self.into is not None:
            self.into.block(False)


class ClientSide(_Side):
    """The caller's socket."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(_HIGH_WATER)
        self.connection.accepted(self.transport)

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        if connection.plain_up:
            connection.write_up(data)
            connection.up_bytes += len(data)
            if connection.meter is not None:
                connection.meter.sent(data, monotonic())
        else:
            connection.from_client(data)

    def eof_received(self) -> bool:
        self.connection.client_ended()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - a caller's reset is an end like any
        self.gone = True
        self.connection.client_lost()


class UpstreamSide(_Side):
    """The callee's socket."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(_HIGH_WATER)
        self.connection.connected(self)  # now: a callee may speak first, before whoever dialled hears of it

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        if connection.plain_down:
            connection.write_down(data)
            connection.down_bytes += len(data)
            if connection.meter is not None:
                connection.meter.received(data, monotonic())
        elif self.out is not None:
            self.out.feed(data)

    def eof_received(self) -> bool:
        self.connection.upstream_ended()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self.connection.upstream_lost(broken=exc is not None)


class Connection:
    """Both sides of one connection, from accept to the close of both sockets."""

    __slots__ = (
        "broken",
        "by_caller",
        "client",
        "closing",
        "down",
        "down_bytes",
        "early",
        "early_size",
        "gate",
        "lingering",
        "meter",
        "number",
        "plain_down",
        "plain_up",
        "proxy",
        "since",
        "task",
        "up",
        "up_bytes",
        "upstream",
        "write_down",
        "write_up",
    )

    def __init__(self, proxy: Host) -> None:
        self.proxy = proxy
        self.number = proxy.next_number()
        self.since = monotonic()
        self.client = ClientSide(self)
        self.upstream: UpstreamSide | None = None
        self.up: Link | None = None
        self.down: Link | None = None
        self.gate: Gate | None = None
        self.meter: Meter | None = None
        self.plain_up = self.plain_down = False
        """Whether that direction has neither stubs nor a gate, and both sockets are open."""
        self.up_bytes = self.down_bytes = 0
        """Bytes that took the short way."""
        self.early: list[bytes] = []
        self.early_size = 0
        """What the caller sent before its callee was there."""
        self.by_caller: bool | None = None
        """Who ended it: None while nobody has."""
        self.broken = False
        """Whether the callee's socket failed instead of ending."""
        self.closing = False
        """Whether both sockets are to be closed as soon as their bytes are out."""
        self.lingering = False
        self.task: asyncio.Task[None] | None = None

    # -- coming up

    def accepted(self, transport: asyncio.Transport) -> None:
        if not self.proxy.admit(self):
            transport.abort()
            return
        self.meter = self.proxy.meter(self.number, monotonic())
        if self.proxy.context.strict:
            transport.pause_reading()
        self.task = self.proxy.context.loop.create_task(self.proxy.connect(self))

    def connected(self, upstream: UpstreamSide) -> None:
        """The callee took the connection."""
        client = self.client.transport
        assert client is not None and upstream.transport is not None
        self.task = None
        if self.client.gone or self.by_caller is False:
            upstream.transport.abort()
            return
        self.upstream = upstream
        context = self.proxy.context
        up = self.up = self.client.out = upstream.into = Link(self, context, UPSTREAM, client)
        down = self.down = upstream.out = self.client.into = Link(self, context, DOWNSTREAM, upstream.transport)
        self.write_up = upstream.transport.write
        self.write_down = client.write
        up.start(self.proxy.chain(UPSTREAM))
        down.start(self.proxy.chain(DOWNSTREAM))
        if self.proxy.http:
            self.gate = Gate(self, midway=False)
        if self.proxy.context.strict or self.early_size > _MOST_EARLY:
            client.resume_reading()
        early, self.early = self.early, []
        self.refresh()
        for data in early:
            self.go_up(data)
        if self.by_caller:
            self.end_up()

    def refused(self) -> None:
        """The callee did not take the connection: end the caller's, as a real Toxiproxy does."""
        if self.upstream is not None:
            return  # it did, while the time for it ran out
        self.task = None
        self.ended_by(caller=False)
        if self.client.transport is not None:
            self.client.transport.close()

    def refresh(self) -> None:
        """The chains or the gate changed: which directions may take the short way?"""
        if self.up is None or self.down is None:
            return
        free = self.gate is None and not self.closing
        self.plain_up = free and self.up.head is self.up and not self.up.over
        self.plain_down = free and self.down.head is self.down and not self.down.over

    def toxics_changed(self) -> None:
        """Toxics of the proxy came, went or changed."""
        if self.up is None:
            return
        if self.gate is not None:
            self.gate.refresh()
        elif self.proxy.http and not self.up.over:
            self.gate = Gate(self, midway=True)
        self.refresh()

    @property
    def toxics(self) -> Toxics:
        return self.proxy

    def open_gate(self) -> None:
        """Nothing is held and there are no HTTP toxics: bytes may take the short way again."""
        self.gate = None
        self.refresh()

    # -- bytes

    def from_client(self, data: bytes) -> None:
        if self.meter is not None:
            self.meter.sent(data, monotonic())
        if self.up is not None:
            self.go_up(data)
            return
        self.early.append(data)
        self.early_size += len(data)
        if self.early_size > _MOST_EARLY >= self.early_size - len(data) and self.client.transport is not None:
            self.client.transport.pause_reading()

    def go_up(self, data: bytes) -> None:
        assert self.up is not None
        if self.gate is not None:
            self.gate.request(data)
        else:
            self.up.feed(data)

    def deliver(self, direction: int, data: bytes) -> None:
        """The chain of one direction lets bytes out."""
        if direction == UPSTREAM:
            self.write_up(data)
        elif self.gate is not None:
            self.gate.response(data)
        else:
            self.to_client(data)

    def to_client(self, data: bytes) -> None:
        if self.client.gone:
            return
        self.write_down(data)
        if self.meter is not None:
            self.meter.received(data, monotonic())

    # -- ends

    def ended_by(self, *, caller: bool) -> None:
        if self.by_caller is None:
            self.by_caller = caller

    def client_ended(self) -> None:
        self.ended_by(caller=True)
        if self.meter is not None:
            self.meter.caller_ended(monotonic())
        if self.up is not None:
            self.end_up()
        elif self.proxy.context.strict and self.client.transport is not None:
            self.client.transport.close()

    def end_up(self) -> None:
        assert self.up is not None
        if self.gate is not None:
            self.gate.end_requests()
        else:
            self.up.end()

    def upstream_ended(self) -> None:
        self.ended_by(caller=False)
        if self.down is not None:
            self.down.end()

    def client_lost(self) -> None:
        self.ended_by(caller=True)
        self.settle()
        if self.up is None or self.down is None:
            if self.task is not None:
                self.task.cancel()
            self.forget()
            return
        self.plain_up = self.plain_down = False
        self.down.discard()
        if self.gate is not None:
            self.gate.drop()
        self.up.end()
        if self.up.over:
            self.close_side(self.upstream)
        self.forget()

    def upstream_lost(self, *, broken: bool) -> None:
        self.ended_by(caller=False)
        self.broken = self.broken or broken
        if self.up is None or self.down is None:
            return
        self.plain_up = self.plain_down = False
        self.up.discard()
        self.down.end()
        if self.down.over:
            self.close_side(self.client)
        self.forget()

    def link_over(self, link: Link) -> None:
        """A link's end has come out of its chain: pass it on to the socket it leads to."""
        assert self.up is not None and self.down is not None
        other, side = (self.down, self.upstream) if link is self.up else (self.up, self.client)
        self.plain_up = self.plain_down = False
        if link is self.down and self.meter is not None:
            cleanly = not (link.cutting or self.broken)
            self.meter.callee_ended(monotonic(), cleanly=cleanly, by_caller=self.by_caller is True)
        if link.cutting:
            self.ended_by(caller=False)
        if link.cutting or self.proxy.context.strict:
            self.closing = True
        if self.closing or other.over:
            self.close_side(side)
            if other.over:
                self.close_side(self.client if side is self.upstream else self.upstream)
            else:
                other.end()  # its source has just been closed
        elif side is not None and side.transport is not None and not side.gone:
            if side.transport.can_write_eof() and not side.transport.is_closing():
                side.transport.write_eof()
            self.refresh()

    def close_side(self, side: _Side | None) -> None:
        if side is None or side.transport is None or side.gone:
            return
        if self.lingering:
            side.transport.abort()  # a reset does not wait for what is not out yet
        else:
            side.transport.close()

    def abort(self) -> None:
        """The proxy is going down: close both sockets now."""
        self.ended_by(caller=False)
        if self.task is not None:
            self.task.cancel()
        self.plain_up = self.plain_down = False
        for link in (self.up, self.down):
            if link is not None:
                link.source_over = True
                link.discard()
        for side in (self.client, self.upstream):
            if side is not None and side.transport is not None and not side.gone:
                side.transport.abort()

    def linger(self) -> None:
        """Make every later close a reset."""
        self.lingering = True
        for side in (self.client, self.upstream):
            if side is not None and side.transport is not None and not side.gone:
                sock = side.transport.get_extra_info("socket")
                if sock is not None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def settle(self) -> None:
        """The caller's socket is closed: the tap's side of the connection is over."""
        if self.meter is not None:
            self.meter.closed(self.by_caller is not False, monotonic())
            self.meter = None

    def forget(self) -> None:
        if self.client.gone and (self.upstream is None or self.upstream.gone):
            self.proxy.forget(self)

    def totals(self) -> tuple[int, int, int, int]:
        """Bytes received and sent upstream, received and sent downstream."""
        up, down = self.up, self.down
        if up is None or down is None:
            return 0, 0, 0, 0
        ups, downs = self.up_bytes, self.down_bytes
        return up.received + ups, up.sent + ups, down.received + downs, down.sent + downs
