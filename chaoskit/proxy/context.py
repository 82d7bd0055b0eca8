"""What every part of one proxy server shares: its loop's timers, its taps, its seed and its mode."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field

from chaoskit.proxy import addresses
from chaoskit.proxy.names import Names
from chaoskit.proxy.tap import Hub
from chaoskit.proxy.timers import Timers

__all__ = ["Context"]


@dataclass(slots=True)
class Context:
    """One server. Everything in it belongs to the thread of its event loop."""

    loop: asyncio.AbstractEventLoop
    timers: Timers
    hub: Hub
    seed: int
    strict: bool = False
    """Keep even the odd parts of a real Toxiproxy."""
    dial_timeout: float = 10.0
    """Seconds in which an upstream must take a connection (default mode; strict waits for the kernel)."""
    version: str = "2.12.0"
    names: Names = field(init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.names = Names(self.loop)

    async def resolve(self, address: str) -> tuple[str, int]:
        """IP address and port of an address to listen on. Raises AddressError."""
        if addresses.literal(address.rpartition(":")[0]):
            return addresses.resolve(address)  # nothing to look up
        return await self.loop.run_in_executor(None, addresses.resolve, address)

    def background(self, work: Coroutine[object, object, None]) -> None:
        """Run something that nobody waits for."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
