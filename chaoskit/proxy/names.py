"""Looking up the names of upstreams, without one that nobody answers for holding up the others."""

from __future__ import annotations

import asyncio
import socket

__all__ = ["Names"]

_SHARED = 0.5
"""Seconds within which callers that ask for one name wait for one answer."""


class Names:
    """Lookups of one server's event loop.

    A name server may take many seconds to say that a name is no more (Docker's asks outside for a dead container's),
    and a loop has few threads to wait in: a lookup for every connection to a dead upstream would keep those to healthy
    ones waiting. So callers share a lookup, but only a young one: a name that is back waits for no old question.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked: dict[tuple[str, int], tuple[float, asyncio.Task[list[tuple[str, int]]]]] = {}

    async def find(self, host: str, port: int) -> list[tuple[str, int]]:
        """IP addresses and port, in the order in which to try them. Raises OSError."""
        key, now = (host, port), self._loop.time()
        begun, asked = self._asked.get(key, (0.0, None))
        if asked is None or asked.done() or now - begun > _SHARED:
            asked = self._loop.create_task(self._ask(host, port))
            asked.add_done_callback(lambda done: self._answered(key, done))
            self._asked[key] = now, asked
        return await asyncio.shield(asked)  # who gives up leaves it to the others

    async def _ask(self, host: str, port: int) -> list[tuple[str, int]]:
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys((str(address[0]), int(address[1])) for *_, address in found))

    def _answered(self, key: tuple[str, int], done: asyncio.Task[list[tuple[str, int]]]) -> None:
        if self._asked.get(key, (0.0, None))[1] is done:
            del self._asked[key]
        if not done.cancelled():
            done.exception()  # all who asked may have given up: then nobody else reads it
