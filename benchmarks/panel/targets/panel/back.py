"""The dependency: answers after 5 ms, and keeps jobs in a file, each once; DEFECT takes either away."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from aiohttp import web

DEFECT = os.environ.get("DEFECT", "")
HOST, PORT = sys.argv[1], int(sys.argv[2])
FILE = Path(tempfile.gettempdir()) / f"chaoskit-panel-{PORT}.jobs"

routes = web.RouteTableDef()
jobs: list[str] = FILE.read_text().split() if FILE.exists() and DEFECT != "jobs in memory" else []
price = {"price": 1}


@routes.get("/work")
@routes.post("/charge")
async def work(_request: web.Request) -> web.Response:
    await asyncio.sleep(0.005)
    return web.json_response({"done": True})


@routes.get("/price")
async def get_price(_request: web.Request) -> web.Response:
    return web.json_response(price)


@routes.put("/price")
async def put_price(request: web.Request) -> web.Response:
    price.update(await request.json())
    return web.json_response(price)


@routes.post("/jobs")
async def add(request: web.Request) -> web.Response:
    job = (await request.json())["job"]
    if job in jobs and DEFECT != "does it again":
        return web.json_response({"job": job})
    jobs.append(job)
    if DEFECT != "jobs in memory":
        with FILE.open("a") as file:
            file.write(job + "\n")
    return web.json_response({"job": job}, status=201)


@routes.get("/jobs")
async def every(_request: web.Request) -> web.Response:
    return web.json_response(jobs)


@routes.get("/health/ready")
@routes.get("/health/live")
async def healthy(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


async def forget(_app: web.Application) -> None:
    FILE.unlink(missing_ok=True)


if __name__ == "__main__":
    app = web.Application()
    app.add_routes(routes)
    app.on_cleanup.append(forget)
    web.run_app(app, host=HOST, port=PORT, access_log=None, print=None, shutdown_timeout=0.2, keepalive_timeout=75)
