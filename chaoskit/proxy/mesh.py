"""A proxy on every edge of a target: our tap in front, and behind it whichever Toxiproxy serves the toxics.

caller ─► tap (ours: counts, and carries what a real one lacks or cannot prove) ─► Toxiproxy (the others) ─► callee
caller ─► tap and toxics in one hop ─► callee                          where the embedded server serves them all
"""

from __future__ import annotations

import secrets
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from chaoskit.errors import CouldNotRun, ProxyError, UndoError
from chaoskit.interfaces import Address, Emit, Launcher, ProxyPlace, UndoOwner
from chaoskit.model.topology import Edge
from chaoskit.model.undo import JSON, Undo
from chaoskit.proxy.client import ProxyInfo, Toxiproxy
from chaoskit.proxy.servers import Server, served_at, start_embedded, start_real
from chaoskit.proxy.tap_stream import read_taps
from chaoskit.proxy.undo import DeleteProxy, Place, RemoveContainer, delete_undo, enabled_undo, toxics_undo

__all__ = ["Control", "Mesh"]

_FOR_REAL = frozenset({"bandwidth", "latency", "limit_data", "noop", "timeout"})
"""Toxics that a real Toxiproxy serves where there is one. It has three more, which stay on the tap: whom `slicer` and
`slow_close` hit only our server tells, and a real `reset_peer` spares connections that are older, reaches the tap and
not the caller, and cannot be taken out while it waits."""


class Control:
    """The proxy of one edge: a `ProxyControl`. Thread-safe."""

    def __init__(
        self, edge: Edge, listen: Address, served_by: str, tap: tuple[Server, str], real: tuple[Server, str] | None
    ) -> None:
        self._edge = edge
        self._listen = listen
        self._served_by = served_by
        self._tap = tap
        self._real = real
        self._closed_by: set[str] = set()
        self.unseeded = False
        """Whether a real Toxiproxy rolled dice for it."""
        self._lock = threading.Lock()

    @property
    def edge(self) -> Edge:
        return self._edge

    @property
    def listen(self) -> Address:
        return self._listen

    @property
    def served_by(self) -> str:
        return self._served_by

    @property
    def _inside_out(self) -> list[tuple[Server, str]]:
        """The callee's end first."""
        return [self._tap] if self._real is None else [self._real, self._tap]

    def _places(self) -> list[Place]:
        return [Place(server.client.locator, name, ours=server.ours) for server, name in self._inside_out]

    def undo_toxics(self, names: Sequence[str]) -> Undo:
        return toxics_undo(self._edge.name, self._places(), names)

    def undo_enabled(self, by: str = "") -> Undo:
        return enabled_undo(self._edge.name, self._places(), by)

    def add_toxic(
        self,
        name: str,
        type_: str,
        *,
        stream: str = "downstream",
        toxicity: float = 1.0,
        attributes: Mapping[str, JSON] | None = None,
    ) -> None:
        server, proxy = self._real if self._real is not None and type_ in _FOR_REAL else self._tap
        if server is not self._tap[0] and (toxicity < 1.0 or (attributes or {}).get("jitter")):
            self.unseeded = True
        server.client.add_toxic(proxy, name, type_, stream=stream, toxicity=toxicity, attributes=attributes)

    def remove_toxic(self, name: str) -> None:
        for server, proxy in self._inside_out:
            server.client.remove_toxic(proxy, name)

    def set_callers(self, callers: Sequence[str]) -> None:
        server, proxy = self._tap
        server.client.set_callers(proxy, callers)

    def set_enabled(self, enabled: bool, by: str = "") -> None:
        with self._lock:
            if enabled:
                self._closed_by.discard(by)
            else:
                self._closed_by.add(by)
            if enabled and self._closed_by:
                return
            places = self._inside_out
            for server, proxy in places if enabled else reversed(places):
                server.client.set_enabled(proxy, enabled)


class Mesh:
    """All proxies of one run. `start`, then `open` for each edge; `close` takes everything down."""

    def __init__(
        self,
        launcher: Launcher,
        toxiproxy: str,
        seed: int | None,
        will_undo: Callable[[Undo], None],
        done: Callable[[str], None],
        place: ProxyPlace | None = None,
        ports: Mapping[str, int] | None = None,
    ) -> None:
        """`toxiproxy` is `embedded`, `real` or the URL of one that runs. `will_undo` returns when it is on disk.
        Without a `place` the servers are processes on loopback, and proxies listen on `ports` (by edge) or any free."""
        self._place = place
        self._ports = ports or {}
        self._launcher = launcher
        self._toxiproxy = toxiproxy
        self._seed = seed
        self._will_undo = will_undo
        self._done = done
        self._mark = f"chaoskit-{secrets.token_hex(4)}"
        self._servers: dict[str, Server] = {}
        """Ours, where the taps stand, by what the place calls them."""
        self._real: Server | None = None
        self._controls: dict[str, Control] = {}
        self._made: list[Undo] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def start(self) -> None:
        """Start what serves. Raises ProxyError, MissingPart or DeployError."""
        if self._toxiproxy not in ("embedded", "real"):
            client = Toxiproxy(self._toxiproxy)
            self._real = Server(client, f"{client.url} (toxiproxy {client.version()})")
        if self._place is not None:
            self._servers["embedded"] = served_at(self._place, "embedded", self._seed)
        else:
            self._servers["embedded"] = start_embedded(self._launcher, self._seed)
        if self._toxiproxy == "real":
            placed = self._place
            self._real = (
                start_real(self._launcher, self._promise) if placed is None else served_at(placed, "real", self._seed)
            )
        if self._real is not None:  # those of ours tell ten times a second that they are there, see `taps`
            threading.Thread(target=self._real.watch, args=(self._closing,), name="toxiproxy", daemon=True).start()

    @property
    def served_by(self) -> str:
        """Which Toxiproxy serves the toxics."""
        server = self._real or self._servers.get("embedded")
        return server.says if server is not None else self._toxiproxy

    @property
    def notes(self) -> list[str]:
        """What a reader of the run should know of how its toxics were served."""
        if not any(control.unseeded for control in self._controls.values()):
            return []
        return [f"{self.served_by} ignores seeds: its shares of connections and its jitter differ from run to run"]

    def open(self, edge: Edge, upstream: Address) -> Address:
        """Stand a proxy on an edge; returns where the caller must connect."""
        with self._lock:
            if edge.name in self._controls:
                raise ProxyError(f"there is a proxy on {edge.name} already")
            behind = None if self._real is None else self._open_real(self._real, edge, upstream)
            serving = "embedded" if self._place is None else self._place.serving(edge)
            tap = self._running(serving)
            shared: dict[str, object] = {}
            if self._place is not None and (callers := self._place.callers(edge)):
                shared = {"callers": list(callers), "otherwise": str(upstream)}
            upstream = behind[1] if behind is not None else upstream
            own = f"127.0.0.1:{self._ports.get(edge.name, 0)}"
            listen_on = own if self._place is None else self._place.listen(serving, edge)
            try:
                made = tap.client.create(
                    edge.name, str(upstream), listen=listen_on, protocol=edge.protocol, tap=True, **shared
                )
            except ProxyError as error:
                if self._place is not None or edge.name not in self._ports:
                    raise
                what = (
                    f"no proxy on {edge.name} at {listen_on}, where `proxies` in the target wants it: {error.message}"
                )
                raise ProxyError(what) from error
            listen = self._reached(serving, edge, made)
            real = None if behind is None or self._real is None else (self._real, behind[0])
            self._controls[edge.name] = Control(edge, listen, self.served_by, (tap, edge.name), real)
            return listen

    def _open_real(self, server: Server, edge: Edge, upstream: Address) -> tuple[str, Address]:
        """The proxy behind the tap: its name on that server, and where it listens."""
        name = edge.name if server.ours else f"{self._mark}-{edge.name}".replace("->", "-to-")
        if not server.ours:
            undo = delete_undo(edge.name, Place(server.client.locator, name, ours=False))
            self._promise(undo)
        if self._place is not None and server.ours:
            made = server.client.create(name, str(upstream), listen=self._place.listen("real", edge))
            return name, self._reached("real", edge, made)
        local = server.client.host in ("localhost", "127.0.0.1", "::1")
        listen = "127.0.0.1:0" if local else "0.0.0.0:0"
        made = server.client.create(name, str(upstream), listen=listen)
        return name, _address(made) if local else Address(server.client.host, _address(made).port)

    def _reached(self, serving: str, edge: Edge, made: ProxyInfo) -> Address:
        address = _address(made)
        return address if self._place is None else self._place.reached(serving, edge, address)

    def _promise(self, undo: Undo) -> None:
        self._will_undo(undo)
        self._made.append(undo)

    def control(self, edge: Edge) -> Control:
        """Raises ProxyError where no proxy stands on it."""
        control = self._controls.get(edge.name)
        if control is None:
            raise ProxyError(f"there is no proxy on {edge.name}")
        return control

    def taps(self, emit: Emit, stop: threading.Event) -> None:
        """Stream what every tap sees until `stop`; blocks its thread. Raises ProxyError when the server died."""
        self._running("embedded")
        first, *others = self._servers.values()
        failed: list[ProxyError] = []

        def read(server: Server) -> None:
            try:
                read_taps(server.client, emit, stop)
            except ProxyError as error:
                failed.append(error)

        threads = [threading.Thread(target=read, args=(server,), name="taps", daemon=True) for server in others]
        for thread in threads:
            thread.start()
        read_taps(first.client, emit, stop)
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    def lost(self) -> str:
        """What became of a server that serves no more, in words; empty while all do. Returns at once."""
        servers = [server for server in (*self._servers.values(), self._real) if server is not None]
        return next(filter(None, (server.lost() for server in servers)), "")

    def end_hung(self) -> None:
        """End those of ours that do not answer: what they held is out then, and its undos need not wait for them."""
        for server in (*self._servers.values(), self._real):
            if server is not None and server.hangs():
                with suppress(CouldNotRun):  # the guardian is gone, or ends everything already
                    assert server.child is not None, "only our own can be known to hang"
                    server.child.signal(signal.SIGKILL)

    def close(self) -> None:
        """Delete what was made elsewhere, and stop what was started; idempotent."""
        self._closing.set()
        with self._lock:
            made, self._made = self._made, []
            self._controls.clear()
        failed = self._undo(DeleteProxy, made)
        for server in (*self._servers.values(), self._real):
            if server is not None and server.child is not None:
                server.child.stop()
        failed = self._undo(RemoveContainer, made) or failed
        if failed is not None:
            raise failed

    def _undo(self, owner: type[UndoOwner], made: Sequence[Undo]) -> UndoError | None:
        """Those of one owner, all at once: a server that hangs is waited for once, and not once for each edge. What it
        could not do stays in the journal, and the others are undone all the same."""
        failed: UndoError | None = None
        undos = [undo for undo in made if undo.owner == owner.kind]
        with ThreadPoolExecutor(max_workers=16) as pool:
            for undo, done in [(undo, pool.submit(owner.apply_undo, undo, None)) for undo in undos]:
                try:
                    done.result()
                except UndoError as error:
                    failed = error
                else:
                    self._done(undo.id)
        return failed

    def _running(self, serving: str) -> Server:
        """One of ours; those beside the first start when the first edge needs them."""
        if "embedded" not in self._servers:
            raise ProxyError("the proxy is not up")
        if serving not in self._servers:
            assert self._place is not None, "only a place has several"
            self._servers[serving] = served_at(self._place, serving, self._seed)
        return self._servers[serving]


def _address(proxy: ProxyInfo) -> Address:
    host, _, port = proxy.listen.rpartition(":")
    host = host.strip("[]")
    return Address("127.0.0.1" if host in ("", "::", "0.0.0.0") else host, int(port))  # noqa: S104 - read, not bound
