"""Gateway: the one door of the shop. Routes requests, checks tokens where there is a secret, and limits rates."""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial

from cachetools import TTLCache
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from targets.shop.common import Ping, seconds, service
from targets.shop.peer import Peer

TIMEOUT = seconds("CALL_TIMEOUT", 3.0)
SECRET = os.environ.get("JWT_SECRET", "")
"""Of HS256 tokens; without one, everybody may come in."""
RATE_LIMIT = os.environ.get("RATE_LIMIT", "1000/second")
PASSED_UP = ("Idempotency-Key", "Content-Type")
PASSED_DOWN = ("X-Degraded", "X-Cache", "Idempotent-Replay", "Content-Type")

orders = Peer("orders", os.environ["ORDERS_URL"], TIMEOUT)
inventory = Peer("inventory", os.environ["INVENTORY_URL"], TIMEOUT)
limiter = FixedWindowRateLimiter(MemoryStorage())
limit = parse(RATE_LIMIT) if RATE_LIMIT.lower() != "off" else None
verified: TTLCache[str, str] = TTLCache(maxsize=10_000, ttl=30)


async def checkout(request: Request) -> Response:
    return await _forward(orders, request)


async def order(request: Request) -> Response:
    return await _forward(orders, request)


async def catalogue(request: Request) -> Response:
    return await _forward(inventory, request)


async def _forward(peer: Peer, request: Request) -> Response:
    """Pass a request on, and the answer back. A POST goes out again only where a key makes it safe."""
    caller = _caller(request)
    if caller is None:
        return JSONResponse({"error": "expected a valid token"}, 401, headers={"WWW-Authenticate": "Bearer"})
    if limit is not None and not await limiter.hit(limit, caller):
        return await _too_many(caller)
    headers = {name: value for name in PASSED_UP if (value := request.headers.get(name))}
    answer = await peer.call(
        request.method,
        request.url.path,
        body=await request.body() or None,
        headers=headers,
        again=request.method == "GET" or "Idempotency-Key" in headers,
    )
    passed = {name: value for name in PASSED_DOWN if (value := answer.headers.get(name))}
    return Response(answer.body, answer.status, passed)


def _caller(request: Request) -> str | None:
    """Who asks: the subject of the token, or the address where no token is asked for; None for a bad token."""
    if not SECRET:
        return request.client.host if request.client else "unknown"
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    caller: str | None = verified.get(token)
    if caller is None:
        # Loaded where tokens are asked for: it takes as long to import as a whole service may take to start.
        import jwt

        try:
            caller = str(jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["sub"]})["sub"])
        except jwt.InvalidTokenError:
            return None
        verified[token] = caller
    return caller


async def _too_many(caller: str) -> Response:
    assert limit is not None
    window = await limiter.get_window_stats(limit, caller)
    headers = {
        "Retry-After": str(max(1, round(window.reset_time - time.time()))),
        "X-RateLimit-Limit": str(limit.amount),
        "X-RateLimit-Remaining": str(window.remaining),
        "X-RateLimit-Reset": str(round(window.reset_time)),
    }
    return JSONResponse({"error": f"more than {RATE_LIMIT}"}, 429, headers=headers)


services = [Ping(partial(peer.call, "GET", "/health/live")) for peer in (orders, inventory)]


async def ready() -> dict[str, bool]:
    # One is enough: a gateway that leaves with the first of its services makes a partial outage a whole one.
    return {"orders or inventory": any(await asyncio.gather(*(ping.ok() for ping in services)))}


app = service(
    [
        Route("/checkout", checkout, methods=["POST"]),
        Route("/orders/{id}", order),
        Route("/catalogue/{sku}", catalogue),
    ],
    uses=[orders, inventory],
    ready=ready,
)
