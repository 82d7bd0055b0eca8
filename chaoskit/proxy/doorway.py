"""One listener that several proxies share: who calls says which of them takes the connection.

For a callee that many call by one name, where a fault is meant for some of the callers:

web, 172.18.0.3    ─►┐            ┌─► proxy of web->store     (callers: 172.18.0.3)
worker, 172.18.0.4 ─►│  :6379     ├─► proxy of worker->store  (callers: 172.18.0.4)
anybody else       ─►┘            └─► store                   (`otherwise`: nothing counted, no toxics)

A proxy that is closed lets its callers' connections be reset: the port itself stays open for the others.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

from chaoskit.proxy.connection import RESET, Connection, Host

__all__ = ["Doorway", "Guest"]

_BREATH = 0.05
"""Seconds until the next try where the process has no descriptor left for a connection."""


class Guest(Host, Protocol):
    """A proxy behind the door."""

    callers: tuple[str, ...]
    """IP addresses of whom it is for."""

    @property
    def admitting(self) -> bool: ...


class Doorway:
    """Accepts for its guests until it is closed. Everything in it belongs to the thread of its loop."""

    def __init__(self, sock: socket.socket, otherwise: Host, close_otherwise: Callable[[], None]) -> None:
        self._guests: list[Guest] = []
        self._sock = sock
        self._otherwise = otherwise
        self._close_otherwise = close_otherwise
        self._loop = otherwise.context.loop
        self._accepting = self._loop.create_task(self._accept())
        self._coming: set[asyncio.Task[None]] = set()

    def let_in(self, guest: Guest) -> str:
        """Take in a guest; returns a caller of its that another one has, and then does not."""
        taken = {caller for each in self._guests for caller in each.callers}
        if twice := next((caller for caller in guest.callers if caller in taken), ""):
            return twice
        self._guests.append(guest)
        return ""

    def let_out(self, guest: Guest) -> bool:
        """Whether it was the last."""
        self._guests.remove(guest)
        return not self._guests

    async def close(self) -> None:
        """The port is free when it returns."""
        self._accepting.cancel()
        await asyncio.wait([self._accepting])  # the loop lets go of the socket before it is closed
        self._sock.close()
        self._close_otherwise()

    def _host_of(self, address: str) -> Host | None:
        """Who takes a connection from there; None where it is closed to that caller."""
        address = address.removeprefix("::ffff:")
        guest = next((guest for guest in self._guests if address in guest.callers), None)
        if guest is None:
            return self._otherwise
        return guest if guest.admitting else None

    async def _accept(self) -> None:
        while True:
            try:
                sock, peer = await self._loop.sock_accept(self._sock)
            except OSError:  # it was cut before it was taken, or there is no descriptor left
                await asyncio.sleep(_BREATH)
                continue
            host = self._host_of(str(peer[0]))
            if host is None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                sock.close()
                continue
            task = self._loop.create_task(self._bring(sock, host))
            self._coming.add(task)
            task.add_done_callback(self._coming.discard)

    async def _bring(self, sock: socket.socket, host: Host) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: Connection(host).client, sock)
        except OSError:  # it was cut meanwhile
            sock.close()
