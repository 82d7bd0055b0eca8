"""The fast HTTP client: httptools on sockets of the gevent loop. Worker side only.

`Client.send` writes what the kernel takes, and everything after that happens in callbacks of the loop; `Client.perform`
is the same for a greenlet that waits. An exchange ends exactly once: by its answer, a failure with its cause, or its
deadline.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from time import monotonic

import gevent
from gevent import get_hub, getcurrent

from chaoskit.load.connection import Connection
from chaoskit.load.exchange import Exchange
from chaoskit.load.hosts import HostNotAllowed, Hosts

__all__ = ["Client"]

_SWEEP = 0.01
"""Seconds between looks for deadlines that have passed."""


class Client:
    """All exchanges and connections of this worker."""

    def __init__(
        self,
        hosts: Hosts,
        *,
        keep_alive: bool = True,
        max_body: int = 50_000_000,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._hub = get_hub()
        self.loop = self._hub.loop
        self.hosts = hosts
        self.keep_alive = keep_alive
        self.max_body = max_body
        self.in_flight: set[Exchange] = set()
        self.connections: set[Connection] = set()
        self._tls_factory = tls or ssl.create_default_context
        self._tls: ssl.SSLContext | None = None
        self._nearest = float("inf")
        self._sweeper = self.loop.timer(_SWEEP, _SWEEP)
        self._sweeper.start(self._sweep)

    def send(self, exchange: Exchange) -> None:
        """Begin an exchange. `on_end` is called in the loop, or before this returns where it fails at once."""
        if not exchange.sent:
            exchange.sent = monotonic()
            if not exchange.planned:
                exchange.planned = exchange.sent
        if exchange.deadline < self._nearest:
            self._nearest = exchange.deadline
        self.in_flight.add(exchange)
        idle = exchange.pool.get(exchange.origin)
        if idle:
            idle.pop().carry(exchange)
        else:
            self._open(exchange)

    def perform(self, exchange: Exchange) -> Exchange:
        """Send, and let this greenlet wait for the end. For exchanges without `on_end`."""
        self.send(exchange)
        if not exchange.ended:
            exchange.waiter = getcurrent()
            try:
                self._hub.switch()
            finally:
                exchange.waiter = None  # it may have been killed while it waited
        return exchange

    def end(self, exchange: Exchange, cause: str = "") -> None:
        """Book the end of an exchange; later ends of the same one are ignored."""
        if exchange.ended:
            return
        exchange.ended = monotonic()
        exchange.cause = cause
        exchange.connection = None
        self.in_flight.discard(exchange)
        if exchange.waiter is not None:
            exchange.waiter.switch()
        elif exchange.on_end is not None:
            exchange.on_end(exchange)

    def give_up(self) -> list[Exchange]:
        """Close everything and return what was in flight; their `on_end` is not called."""
        open_ones = list(self.in_flight)
        self.in_flight.clear()
        for exchange in open_ones:
            exchange.ended = monotonic()
            exchange.connection = None
        for connection in list(self.connections):
            connection.close()
        return open_ones

    def close(self) -> None:
        self._sweeper.stop()
        self._sweeper.close()
        self.give_up()

    def tls(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = self._tls_factory()
        return self._tls

    def again(self, exchange: Exchange, cause: str) -> None:
        """The connection failed: send once more on a fresh one where that is right, else end the exchange."""
        exchange.connection = None
        idle_close = exchange.reused and not exchange.bytes_in
        if idle_close and exchange.request.idempotent and not exchange.reconnects and monotonic() < exchange.deadline:
            exchange.reconnects = 1
            exchange.reused = False
            self._open(exchange)
        else:
            self.end(exchange, cause)

    def _open(self, exchange: Exchange) -> None:
        try:
            addresses = self.hosts.known(exchange.origin)
        except HostNotAllowed:
            self.end(exchange, "host not allowed")
            return
        if addresses is None:
            gevent.spawn(self._resolve, exchange)
        else:
            Connection(self, exchange, addresses)

    def _resolve(self, exchange: Exchange) -> None:
        try:
            addresses = self.hosts.resolve(exchange.origin)
        except HostNotAllowed:
            self.end(exchange, "host not allowed")
        except (OSError, ValueError):  # a ValueError for what cannot even be asked
            self.end(exchange, "dns")
        else:
            if not exchange.ended:
                Connection(self, exchange, addresses)

    def _sweep(self) -> None:
        now = monotonic()
        if now < self._nearest:
            return
        expired = []
        nearest = float("inf")
        for exchange in self.in_flight:
            if exchange.deadline <= now:
                expired.append(exchange)
            elif exchange.deadline < nearest:
                nearest = exchange.deadline
        self._nearest = nearest
        for exchange in expired:
            connection = exchange.connection
            if connection is None or not connection.ready:
                cause = "timeout connecting"
            else:
                cause = "timeout mid-answer" if exchange.bytes_in else "timeout"
            if connection is not None:
                connection.close()
            self.end(exchange, cause)
