"""One proxy: a listener, an upstream, the toxics between them, and the connections that are open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import monotonic

from chaoskit.proxy import addresses
from chaoskit.proxy.connection import Connection, UpstreamSide
from chaoskit.proxy.context import Context
from chaoskit.proxy.doorway import Doorway
from chaoskit.proxy.meter import Meter, meter_for
from chaoskit.proxy.tap import Tap
from chaoskit.proxy.timers import Timer
from chaoskit.proxy.toxic import UPSTREAM, Toxic

__all__ = ["Proxy"]


class Proxy:
    """`start` and `stop` open and close the listener; toxics act on live connections at once."""

    def __init__(
        self,
        context: Context,
        name: str,
        listen: str,
        upstream: str,
        *,
        protocol: str = "tcp",
        tapped: bool = False,
        callers: tuple[str, ...] = (),
        otherwise: str = "",
        doors: dict[str, Doorway] | None = None,
    ) -> None:
        """With `callers` (IP addresses) it shares its port with other proxies behind these `doors` and takes
        connections from these alone; those of nobody's callers are passed on to `otherwise`."""
        self.context = context
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self.protocol = protocol
        self.callers = callers
        self.otherwise = otherwise
        self.enabled = False
        self.toxics: list[Toxic] = []
        self.http: list[Toxic] = []
        """Those that act on whole calls."""
        self.connections: dict[Connection, None] = {}
        """Those that are open, in the order in which they came: so they are rolled for."""
        self.tap = Tap(context.hub, name) if tapped else None
        self.finished_bytes = [0, 0, 0, 0]
        """Of connections that are over: received and sent upstream, received and sent downstream."""
        self.accepted = 0
        self._server: asyncio.Server | None = None
        self._doors = {} if doors is None else doors
        self._door: Doorway | None = None
        self._dialling = asyncio.Lock()
        self._changed = asyncio.Event()
        """Set when toxics come, go or change (and then another one takes its place)."""
        self._flap: Timer | None = None
        self._flap_since = 0.0
        """When it last went up or down, or was to."""
        self._reopening = False
        self._admitting = False
        self._expiries: dict[Toxic, Timer] = {}

    # -- the listener

    async def start(self) -> None:
        """Listen. Raises AddressError; no-op while it does."""
        if self.enabled:
            return
        try:
            host, port = await self.context.resolve(self.listen)
        except addresses.AddressError as error:
            raise addresses.AddressError(f"listen tcp: {error}") from None
        if self.callers:
            self._enter_door(host, port)
        else:
            sock = addresses.listener(self.listen, host, port)
            self.listen = addresses.shown(host, sock.getsockname()[1])
            self._server = await self._accept_from(sock)
        self.enabled = True
        if self.tap is not None:
            self.tap.listen(True, monotonic())
        self._start_flapping()

    async def _accept_from(self, sock: socket.socket) -> asyncio.Server:
        self._admitting = True  # before there is a server: the loop may accept while it makes one
        return await self.context.loop.create_server(lambda: Connection(self).client, sock=sock, backlog=4096)

    def _enter_door(self, host: str, port: int) -> None:
        """Share a listener with those that are there, or open it. Raises AddressError."""
        door = self._door or self._doors.get(addresses.shown(host, port))
        if door is None:
            sock = addresses.listener(self.listen, host, port)
            others = Proxy(self.context, "", "", self.otherwise or self.upstream)
            others._admitting = True
            self.listen = addresses.shown(host, sock.getsockname()[1])
            door = self._doors[self.listen] = Doorway(sock, others, others._cut_all)
        if door is not self._door:
            if taken := door.let_in(self):
                raise addresses.AddressError(f"listen tcp {self.listen}: another proxy there has the caller {taken}")
            self._door = door
        self._admitting = True

    async def _leave_door(self) -> None:
        door, self._door = self._door, None
        if door is not None and door.let_out(self):
            del self._doors[self.listen]
            await door.close()

    @property
    def admitting(self) -> bool:
        return self._admitting

    async def stop(self) -> None:
        """Close the listener and every connection; no-op where it is stopped."""
        if not self.enabled:
            return
        self.enabled = False
        if self._flap is not None:
            self._flap.cancel()
            self._flap = None
        self._close_listener()
        if self.context.strict:
            async with self._dialling:  # a real one waits for the dial that stands in its accept loop
                pass
        self._cut_all()

    def _close_listener(self) -> None:
        self._admitting = False
        if self._server is not None:
            self._server.close()
            self._server = None
        if self.tap is not None:
            self.tap.listen(False, monotonic())

    def _cut_all(self) -> None:
        for connection in tuple(self.connections):
            connection.abort()

    async def change(self, listen: str, upstream: str, enabled: bool) -> None:
        """Take over new settings; toxics stay. Raises AddressError."""
        if await self.differs(listen, upstream):
            await self.stop()
            await self._leave_door()
            self.listen = listen
            self.upstream = upstream
        if enabled and not self.enabled:
            await self.start()
        elif not enabled:
            await self.stop()

    async def differs(self, listen: str, upstream: str) -> bool:
        """Whether the resolved address or the upstream is another one. Raises AddressError."""
        host, port = await self.context.resolve(listen)
        return self.listen != addresses.shown(host, port) or self.upstream != upstream

    async def remove(self) -> None:
        """For good."""
        await self.stop()
        await self._leave_door()
        for timer in self._expiries.values():
            timer.cancel()
        if self.tap is not None:
            self.tap.leave()

    # -- connections

    def admit(self, connection: Connection) -> bool:
        """Take in a connection that the listener accepted, unless it was closed since."""
        if not self._admitting:
            return False
        self.connections[connection] = None
        return True

    def next_number(self) -> int:
        self.accepted += 1
        return self.accepted

    def meter(self, number: int, now: float) -> Meter | None:
        return meter_for(self.protocol, self.tap, number, now) if self.tap is not None else None

    async def connect(self, connection: Connection) -> None:
        """Dial the upstream for a connection that was accepted."""
        for toxic in tuple(self.toxics):
            if toxic.kind.layer == "accept" and toxic.roll():
                await self._stall(toxic, connection)
        upstream = UpstreamSide(connection)
        try:
            host, port = addresses.split(self.upstream)
            dial = partial(self.context.loop.create_connection, lambda: upstream)
            host, number = host or "localhost", addresses.port_of(port)
            if self.context.strict:
                async with self._dialling:
                    await dial(host, number)
            else:
                async with asyncio.timeout(self.context.dial_timeout):
                    if addresses.literal(host):
                        await dial(host, number)
                    else:
                        await _first(dial, await self.context.names.find(host, number))
        except (
            OSError,
            TimeoutError,
            addresses.AddressError,
            ValueError,
        ):  # a ValueError is of a name with a NUL in it
            connection.refused()

    async def _stall(self, toxic: Toxic, connection: Connection) -> None:
        toxic.hits += 1
        meter = connection.meter
        if meter is not None and meter.hit(UPSTREAM, toxic.name) is None:
            meter.count_hit(toxic.name)
            meter.upcoming += (toxic.name,)
        begun = monotonic()
        while toxic in self.toxics:
            delay = toxic.int_of("delay") / 1000
            left = begun + delay - monotonic() if delay else None
            if left is not None and left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                pass  # time to look again

    def forget(self, connection: Connection) -> None:
        self.connections.pop(connection, None)
        for at, count in enumerate(connection.totals()):
            self.finished_bytes[at] += count

    def bytes_now(self) -> list[int]:
        """As `finished_bytes`, with the connections that are open."""
        totals = list(self.finished_bytes)
        for connection in self.connections:
            for at, count in enumerate(connection.totals()):
                totals[at] += count
        return totals

    # -- toxics

    def chain(self, direction: int) -> list[Toxic]:
        """Toxics with a stub in the links of one direction, in order."""
        return [toxic for toxic in self.toxics if toxic.direction == direction and toxic.kind.layer == "stream"]

    def in_order(self) -> list[Toxic]:
        """Upstream first, then downstream, each in the order of creation."""
        return sorted(self.toxics, key=lambda toxic: toxic.direction)

    def find(self, name: str) -> Toxic | None:
        return next((toxic for toxic in self.toxics if toxic.name == name), None)

    def add_toxic(self, toxic: Toxic) -> None:
        """In force on every connection when it returns."""
        self.toxics.append(toxic)
        if toxic.kind.layer == "stream":
            for connection in tuple(self.connections):
                link = connection.up if toxic.direction == UPSTREAM else connection.down
                if link is not None:
                    link.add(toxic)
        self._toxics_changed()
        if toxic.kind.layer == "listener":
            self._start_flapping()
        if toxic.ttl is not None:
            self._expiries[toxic] = self.context.timers.after(toxic.ttl, lambda: self._expire(toxic))

    def update_toxic(self, toxic: Toxic) -> None:
        for connection in tuple(self.connections):
            for link in (connection.up, connection.down):
                if link is not None:
                    link.update(toxic)
            if connection.gate is not None:
                connection.gate.roll_again(toxic)
        self._toxics_changed()
        if toxic.kind.layer == "listener":
            self._time_flapping()

    def remove_toxic(self, toxic: Toxic) -> float:
        """Returns the seconds until every connection is rid of it (in strict mode a reset in progress cannot be
        stopped)."""
        self.toxics.remove(toxic)
        left = 0.0
        for connection in tuple(self.connections):
            for link in (connection.up, connection.down):
                if link is not None:
                    left = max(left, link.remove(toxic))
        self._toxics_changed()
        timer = self._expiries.pop(toxic, None)
        if timer is not None:
            timer.cancel()
        if toxic.kind.layer == "listener" and not self._flapping():
            self._flap_up()
        return left

    def remove_all(self) -> float:
        return max([self.remove_toxic(toxic) for toxic in self.in_order()], default=0.0)

    def _expire(self, toxic: Toxic) -> None:
        self._expiries.pop(toxic, None)
        if toxic in self.toxics:
            self.remove_toxic(toxic)

    def _toxics_changed(self) -> None:
        self.http = [
            toxic
            for toxic in self.toxics
            if toxic.kind.layer == "http" or (toxic.kind.name == "corrupt" and toxic.attributes["only_bodies"])
        ]
        self._changed.set()
        self._changed = asyncio.Event()
        for connection in tuple(self.connections):
            connection.toxics_changed()

    # -- flapping

    def _flapping(self) -> Toxic | None:
        return next((toxic for toxic in self.toxics if toxic.kind.layer == "listener"), None)

    def _start_flapping(self) -> None:
        if self._flap is None and self.enabled:
            self._flap_down()

    def _flap_down(self) -> None:
        toxic = self._flapping()
        self._flap = None
        if toxic is None or not self.enabled:
            return
        self._flap_since = monotonic()
        if toxic.roll():
            toxic.hits += 1
            if self.tap is not None:
                self.tap.hits[toxic.name] = self.tap.hits.get(toxic.name, 0) + 1
            self._close_listener()
            self._cut_all()
        self._time_flapping()

    def _time_flapping(self) -> None:
        """Set the timer of the next turn, by what the toxic says now."""
        toxic = self._flapping()
        if toxic is None or not self.enabled or self._reopening:
            return
        if self._flap is not None:
            self._flap.cancel()
        timers, since = self.context.timers, self._flap_since
        if self._admitting:
            self._flap = timers.at(since + toxic.int_of("up") / 1000, self._flap_down)
        else:
            self._flap = timers.at(since + toxic.int_of("down") / 1000, self._flap_up)

    def _flap_up(self) -> None:
        if self._flap is not None:
            self._flap.cancel()
            self._flap = None
        if not self.enabled or self._admitting or self._reopening:
            return
        if self._door is not None:
            self._is_up()
            return
        try:
            # The address is resolved already, and whoever connects from now on waits in the socket's queue.
            sock = addresses.listener(self.listen, *addresses.resolve(self.listen))
        except addresses.AddressError:
            self._flap = self.context.timers.after(0.1, self._flap_up)  # somebody took the port: try until it is free
            return
        self._reopening = True
        self.context.background(self._listen_again(sock))

    async def _listen_again(self, sock: socket.socket) -> None:
        server = await self._accept_from(sock)
        self._reopening = False
        if not self.enabled:
            server.close()
            return
        self._server = server
        self._is_up()

    def _is_up(self) -> None:
        self._admitting = True
        if self.tap is not None:
            self.tap.listen(True, monotonic())
        self._flap_since = monotonic()
        self._time_flapping()


async def _first(dial: Callable[[str, int], Awaitable[object]], found: Sequence[tuple[str, int]]) -> None:
    """Connect to the first address that takes it. Raises the OSError of the last where none does."""
    for host, port in found[:-1]:
        try:
            await dial(host, port)
        except OSError:
            continue
        return
    await dial(*found[-1])
