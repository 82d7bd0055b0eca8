"""What every service of the shop does alike: settings, trace ids, metrics and health endpoints."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import ContextVar

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Ping", "TooSlow", "Unavailable", "seconds", "service", "switched_on", "traceparent"]

QUICK = 0.25
"""Seconds that a readiness endpoint waits for a dependency before it answers from what it knows."""
FRESH = 1.0
"""Seconds for which the last good answer of a dependency stands: what is slow is not gone."""

REQUESTS = Counter("shop_requests", "Requests answered.", ["endpoint", "status"])
SECONDS = Histogram("shop_request_seconds", "Time to answer a request.", ["endpoint"])

_trace_id: ContextVar[str] = ContextVar("trace_id", default="")


class Unavailable(Exception):
    """Something this service needs did not answer; the caller gets a 503."""


class TooSlow(Unavailable):
    """It did not answer in time: it may have done the work, or do it yet."""


def switched_on(guard: str) -> bool:
    """Whether a guard is in: every guard is, unless its variable says `off`."""
    return os.environ.get(guard, "on").lower() != "off"


def seconds(setting: str, default: float) -> float | None:
    """A time limit from the environment, None for `off`."""
    text = os.environ.get(setting, str(default))
    return None if text.lower() == "off" else float(text)


# ------------------------------------------------------------------------------------------------------ one service


def service(
    routes: Sequence[BaseRoute],
    *,
    uses: Sequence[AbstractAsyncContextManager[object]] = (),
    ready: Callable[[], Awaitable[Mapping[str, bool]]],
) -> ASGIApp:
    """An ASGI application with `routes`, health endpoints and metrics.

    `uses` are opened before the first request and closed after the last; `ready` names each dependency that this
    service cannot work without, and whether it answers. Liveness asks nobody: a restart cures no dependency.
    """

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def is_ready(_: Request) -> Response:
        if os.environ.get("READINESS") == "always":
            return JSONResponse({"status": "ready"})
        needs = await ready()
        good = all(needs.values())
        return JSONResponse({"status": "ready" if good else "not ready", "needs": dict(needs)}, 200 if good else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def unavailable(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 503)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for resource in uses:
                await stack.enter_async_context(resource)
            yield

    app = Starlette(
        routes=[
            *routes,
            Route("/health/live", live),
            Route("/health/ready", is_ready),
            Route("/metrics", metrics),
        ],
        exception_handlers={Unavailable: unavailable},
        lifespan=lifespan,
    )
    return _Observed(app)


class _Observed:
    """Takes the trace id of each request over, and counts and times its answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(("/health/", "/metrics")):
            await self.app(scope, receive, send)
            return
        _trace_id.set(_trace_id_of(scope["headers"]))
        status = 500
        started = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            endpoint = getattr(scope.get("endpoint"), "__name__", "none")
            SECONDS.labels(endpoint).observe(time.perf_counter() - started)
            REQUESTS.labels(endpoint, status).inc()


def _trace_id_of(headers: Sequence[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"traceparent":
            parts = value.decode("latin-1").split("-")
            if len(parts) == 4 and len(parts[1]) == 32:
                return parts[1]
    return f"{random.getrandbits(128):032x}"


def traceparent() -> str:
    """This request's trace id with a span id of its own for every attempt (W3C Trace Context)."""
    trace_id = _trace_id.get() or f"{random.getrandbits(128):032x}"
    return f"00-{trace_id}-{random.getrandbits(64):016x}-01"


# -------------------------------------------------------------------------------------------- what it cannot do without


class Ping:
    """Whether a dependency answers. One question is in flight at a time, and slow is not gone."""

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[bool] | None = None
        self._answered = 0.0

    async def ok(self) -> bool:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._question())
        asking = self._asking
        await asyncio.wait({asking}, timeout=QUICK)
        return asking.result() if asking.done() else time.monotonic() - self._answered < FRESH

    async def _question(self) -> bool:
        try:
            async with asyncio.timeout(FRESH):
                await self._ask()
        except (Unavailable, TimeoutError):
            return False
        self._answered = time.monotonic()
        return True
