"""The service under judgement: one endpoint for each guard, and honest health checks unless DEFECT says not."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from uuid import uuid4

from aiohttp import web

from targets.panel.guards import DEFECT, Back, Breaker, Bulkhead, Failed, Limit, Retries

routes = web.RouteTableDef()


class Front:
    """Everything that outlives a request."""

    def __init__(self) -> None:
        self.back = Back(os.environ["BACK_URL"])
        self.breaker = Breaker()
        self.retries = Retries()
        self.bulkhead = Bulkhead()
        self.limit = Limit()
        self.cached: object = None
        self.generation = 0
        self.was_ready = self.was_down = False
        self.down_since = 0.0


FRONT = web.AppKey("front", Front)


def trace(request: web.Request) -> str:
    return request.headers.get("traceparent", "")


@routes.get("/plain")
async def plain(request: web.Request) -> web.Response:
    """Nothing but a timeout."""
    return web.json_response(await request.app[FRONT].back.call("GET", "/work", trace(request)))


@routes.get("/other")
async def other(request: web.Request) -> web.Response:
    """Needs nobody; in a front without bulkheads it stands in the same queue."""
    front = request.app[FRONT]
    if DEFECT == "one pool for all":
        await front.bulkhead.call(lambda: asyncio.sleep(0.002))
    await asyncio.sleep(0.002)
    return web.json_response({"other": True})


@routes.get("/breaker")
async def breaker(request: web.Request) -> web.Response:
    front = request.app[FRONT]
    return web.json_response(await front.breaker.call(lambda: front.back.call("GET", "/work", trace(request))))


@routes.post("/pay")
async def pay(request: web.Request) -> web.Response:
    front = request.app[FRONT]
    headers = {} if DEFECT == "repeats unsafe calls" else {"Idempotency-Key": uuid4().hex}

    async def attempt(number: int) -> object:
        return await front.back.call("POST", "/charge", trace(request), headers=dict(headers), json={"n": number})

    return web.json_response(await front.retries.call(attempt))


@routes.get("/fallback")
async def fallback(request: web.Request) -> web.Response:
    front = request.app[FRONT]
    try:
        answer = await front.back.call("GET", "/work", trace(request))
        if DEFECT != "always the fallback":
            return web.json_response(answer)
    except Failed:
        if DEFECT == "no fallback":
            raise
        if DEFECT == "fallback slower than the failure":
            await asyncio.sleep(0.8)
    return web.json_response({"done": "later"}, headers={"X-Degraded": "true"})


@routes.get("/bulkhead")
async def bulkhead(request: web.Request) -> web.Response:
    front = request.app[FRONT]
    call = front.back.call("GET", "/work", trace(request), within=1.5)
    try:
        return web.json_response(await front.bulkhead.call(lambda: call))
    finally:
        call.close()


@routes.get("/limited")
async def limited(request: web.Request) -> web.Response:
    if request.app[FRONT].limit.admits():
        return web.json_response({"admitted": True})
    headers = {} if DEFECT == "does not say when" else {"Retry-After": "1"}
    return web.json_response({"admitted": False}, status=429, headers=headers)


@routes.get("/price")
async def price(request: web.Request) -> web.Response:
    front = request.app[FRONT]
    if front.cached is None:
        generation = front.generation
        answer = await front.back.call("GET", "/price", trace(request))
        if generation != front.generation:  # it was set meanwhile: this answer may be the old one
            return web.json_response(answer)
        front.cached = answer
    return web.json_response(front.cached)


@routes.put("/price")
async def set_price(request: web.Request) -> web.Response:
    front = request.app[FRONT]
    front.generation += 1
    answer = await front.back.call("PUT", "/price", trace(request), json=await request.json())
    front.generation += 1
    if DEFECT != "stale for ever":
        front.cached = None
    return web.json_response(answer)


@routes.post("/jobs")
async def job(request: web.Request) -> web.Response:
    """Tried again with the same name where the back takes its time."""
    front, body = request.app[FRONT], await request.json()
    try:
        answer = await front.back.call("POST", "/jobs", trace(request), within=0.1, json=body)
    except Failed:
        answer = await front.back.call("POST", "/jobs", trace(request), within=0.5, json=body)
    return web.json_response(answer, status=201)


@routes.get("/jobs")
async def jobs(request: web.Request) -> web.Response:
    return web.json_response(await request.app[FRONT].back.call("GET", "/jobs", trace(request), within=2.0))


@routes.get("/health/live")
async def live(request: web.Request) -> web.Response:
    if DEFECT == "liveness asks the back":
        await request.app[FRONT].back.call("GET", "/work", "", within=0.2)
    return web.Response(text="ok")


@routes.get("/health/ready")
async def ready(request: web.Request) -> web.Response:
    front = request.app[FRONT]
    if DEFECT == "readiness always says yes":
        return web.Response(text="ok")
    try:
        await front.back.call("GET", "/health/ready", "", within=0.2)
        front.down_since, front.was_ready = 0.0, True
    except Failed:
        front.down_since = front.down_since or time.monotonic()
        front.was_down = front.was_ready  # before it was ready for the first time it was not down, but starting
    patience = 3.0 if DEFECT == "readiness is slow to flip" else 0.0
    down = bool(front.down_since) and time.monotonic() - front.down_since >= patience
    fine = not down and not (front.was_down and DEFECT == "readiness never returns")
    return web.Response(text="ok" if fine else "no", status=200 if fine else 503)


@routes.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    front = request.app[FRONT]
    states = [
        f'circuit_breaker_state{{name="back",state="{state}"}} {int(front.breaker.state == state)}'
        for state in ("closed", "open", "half_open")
    ]
    slots = ["# TYPE slots_used gauge", f"slots_used {front.bulkhead.used}"]
    lines = ["# TYPE circuit_breaker_state gauge", *states, *slots]
    return web.Response(text="\n".join(lines) + "\n")


@web.middleware
async def failures(request: web.Request, handler: web.RequestHandler) -> web.StreamResponse:  # type: ignore[type-arg]
    try:
        return await handler(request)  # type: ignore[operator,no-any-return]  # aiohttp's handler type is not callable
    except Failed as error:
        return web.json_response({"error": str(error)}, status=503)


async def start(app: web.Application) -> None:
    app[FRONT] = Front()


async def stop(app: web.Application) -> None:
    await app[FRONT].back.session.close()


if __name__ == "__main__":
    app = web.Application(middlewares=[failures])
    app.add_routes(routes)
    app.on_startup.append(start)
    app.on_cleanup.append(stop)
    web.run_app(
        app, host=sys.argv[1], port=int(sys.argv[2]), access_log=None, print=None, shutdown_timeout=0.2,
        keepalive_timeout=75, handler_cancellation=False,
    )  # fmt: skip
