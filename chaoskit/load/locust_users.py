"""Users of a locustfile, run as they are: recorded through Locust's request event, traced and kept to allowed hosts.

Locust tells of a request only when it has ended, so the two HTTP sessions that its users have are wrapped: what is in
flight when the load stops is known and reported as unfinished. Other clients count from the event alone.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Sequence
from time import monotonic
from typing import Any, cast

import gevent
import locust
from gevent.event import Event as Parked
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession
from locust.exception import CatchResponseError

from chaoskit.load.arrivals import Leg, level_at, trace_base
from chaoskit.load.hosts import HostNotAllowed, Hosts
from chaoskit.load.plugins import user_classes
from chaoskit.load.recording import Recorder
from chaoskit.load.request import trace_header
from chaoskit.load.values import unicode
from chaoskit.load.wire import LoadPlan

__all__ = ["LocustUsers", "cause_of", "lead"]

_STEP = 0.5
"""Seconds between two looks at how many users there should be."""
_NUMBERS = 1 << 40
"""Apart from each other in the trace numbers of workers."""


class LocustUsers:
    """The users of the plan's locustfile, as a load of the generator."""

    def __init__(self, plan: LoadPlan, recorder: Recorder, *, first: int = 0) -> None:
        """`first` tells the workers of one load apart in their trace ids."""
        self._plan = plan
        self._recorder = recorder
        self._open: dict[int, tuple[str, float]] = {}
        self._number = first * _NUMBERS
        self._trace = trace_base(plan.seed)
        self._stopped = False
        self._end = float("inf")
        hosts = Hosts(plan.allowed_hosts)
        _guard_sockets(hosts)
        self.classes = user_classes(plan.locustfile, plan.user_classes)
        for session in (HttpSession, FastHttpSession):
            self._wrap(session)
        locust.events.request.add_listener(self._on_request)  # type: ignore[no-untyped-call]

    # -------------------------------------------------------------------------------------------- load of a generator

    def start(self, t0: float, duration: float) -> None:
        self._end = t0 + duration

    def stop(self) -> None:
        self._stopped = True

    def own(self, owned: Collection[int], since: float) -> None:
        """Locust spreads its users itself."""

    @property
    def users_here(self) -> int:
        return 0

    @property
    def planning(self) -> bool:
        return not self._stopped and monotonic() < self._end

    @property
    def in_flight(self) -> int:
        return len(self._open)

    def give_up(self) -> None:
        for name, began in self._open.values():
            self._recorder.unfinished(name, began, began)
        self._open.clear()

    # --------------------------------------------------------------------------------------------------- its requests

    def _wrap(self, session: type[Any]) -> None:
        original = cast(Callable[..., Any], session.request)
        users = self

        def request(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
            if not users.planning:
                # The load is over: what is in flight may end, and nothing new begins.
                Parked().wait()
            headers = dict(kwargs.get("headers") or {})
            if not any(str(name).lower() == "traceparent" for name in headers):
                users._number += 1
                headers["traceparent"] = trace_header(users._trace, users._number).decode()
            kwargs["headers"] = headers
            name = kwargs.get("name") or getattr(self, "request_name", None) or (args[0] if args else None) or url
            token = object()
            users._open[id(token)] = (unicode(str(name)), monotonic())
            try:
                return original(self, method, url, *args, **kwargs)
            finally:
                users._open.pop(id(token), None)

        session.request = request

    def _on_request(
        self,
        name: str,
        response_time: float | None = None,
        response_length: int | None = None,
        exception: BaseException | None = None,
        start_time: float | None = None,
        response: Any = None,
        **_: Any,
    ) -> None:
        now = monotonic()
        took = (response_time or 0.0) / 1000.0
        began = now - took if start_time is None else now - (time.time() - start_time)
        status = getattr(response, "status_code", 0) or 0
        cause = unicode(cause_of(exception, status)) if exception is not None else ""
        name = unicode(str(name))
        self._recorder.ended(name, began, began, began + took, int(status), cause, int(response_length or 0), 0)


def lead(runner: Any, legs: Sequence[Leg], t0: float, planning: Callable[[], bool]) -> None:
    """Keep as many Locust users as the level says, while `planning` holds. Blocks its greenlet."""
    gevent.sleep(max(t0 - monotonic(), 0.0))
    there = 0
    while planning():
        wanted = round(level_at(legs, monotonic() - t0))
        if wanted != there:
            runner.start(wanted, spawn_rate=max(abs(wanted - there), 1))
            there = wanted
        gevent.sleep(_STEP)


def cause_of(error: BaseException | str, status: int) -> str:
    """A cause as our own client names it, from what a listener was given."""
    chain: list[BaseException] = []
    todo: list[object] = [error]
    while todo and len(chain) < 20:
        current = todo.pop()
        if isinstance(current, BaseException) and current not in chain:
            chain.append(current)
            todo += [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
    kinds = " ".join(type(each).__name__ for each in chain)
    if any(isinstance(each, CatchResponseError) for each in chain):
        return f"check: {chain[0]}"
    if any(isinstance(each, HostNotAllowed) for each in chain):
        return "host not allowed"
    if any(isinstance(each, socket.gaierror) for each in chain) or "NameResolution" in kinds:
        return "dns"
    if any(isinstance(each, ConnectionRefusedError) for each in chain):
        return "refused"
    if any(isinstance(each, TimeoutError) for each in chain) or "Timeout" in kinds:
        return "timeout"
    if any(isinstance(each, (ConnectionResetError, BrokenPipeError)) for each in chain):
        return "reset"
    if status >= 400:
        return f"status {status}"
    if any(
        word in kinds for word in ("RemoteDisconnected", "ConnectionClosed", "IncompleteRead", "HTTPConnectionClosed")
    ):
        return "closed early"
    return type(error).__name__ if isinstance(error, BaseException) else str(error)[:80]


def _guard_sockets(hosts: Hosts) -> None:
    """Let sockets of this process connect to allowed hosts only, whichever client opens them."""

    def check(address: object) -> None:
        if not isinstance(address, tuple) or not address:
            return  # a unix socket
        host = str(address[0])
        if hosts.permits(host) or host.lower() in ("localhost", "") or hosts.permits_address_of_name(host):
            return
        raise HostNotAllowed(f"{host} is neither this machine nor an allowed host")

    plain = gevent.socket.socket
    connect, connect_ex = plain.connect, plain.connect_ex

    def guarded(self: Any, address: Any) -> Any:
        check(address)
        return connect(self, address)

    def guarded_ex(self: Any, address: Any) -> Any:
        check(address)
        return connect_ex(self, address)

    plain.connect, plain.connect_ex = guarded, guarded_ex
