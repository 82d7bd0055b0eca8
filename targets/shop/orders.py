"""Orders: takes a checkout through the saga of reserving the goods, charging the card and confirming the order."""

from __future__ import annotations

import json
import os
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from targets.shop.cache import Cache
from targets.shop.charging import Charging, Declined
from targets.shop.common import Ping, Unavailable, service, switched_on
from targets.shop.database import Database
from targets.shop.peer import Peer

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id        text PRIMARY KEY,
    sku       text NOT NULL,
    quantity  bigint NOT NULL,
    status    text NOT NULL,
    placed    timestamptz NOT NULL DEFAULT now()
)
"""
PLACE = """
INSERT INTO orders (id, sku, quantity, status) VALUES ($1, $2, $3, 'pending')
ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING status
"""
REMEMBERED_FOR = 3600
"""Seconds that the answer to an idempotency key is repeated from the cache (the database knows it for ever)."""

database = Database(os.environ["DATABASE_URL"], schema=SCHEMA)
database_answers = Ping(database.answers)
answers = Cache(os.environ["REDIS_URL"])
inventory = Peer("inventory", os.environ["INVENTORY_URL"], timeout=2.0)
charging = Charging(os.environ["PAYMENTS_URLS"])
FALLBACK = switched_on("FALLBACK")
IDEMPOTENCY = switched_on("IDEMPOTENCY")


async def checkout(request: Request) -> Response:
    """201 for an order that is paid; 202, marked as degraded, for one that is taken and paid later."""
    wanted = await request.json()
    sku, quantity = wanted.get("sku"), wanted.get("quantity", 1)
    if not isinstance(sku, str) or not isinstance(quantity, int) or quantity < 1:
        return JSONResponse({"error": "expected a sku and a quantity of at least 1"}, 422)
    key = request.headers.get("Idempotency-Key") if IDEMPOTENCY else None
    if key and (held := await answers.get(f"order:{key}")):
        return JSONResponse(json.loads(held), 201, headers={"Idempotent-Replay": "true"})
    order = key or uuid4().hex
    placed = await database.query(PLACE, order, sku, quantity)
    if placed[0]["status"] == "paid":
        return JSONResponse(_told(order, "paid"), 201, headers={"Idempotent-Replay": "true"})
    return await _fulfil(order, sku, quantity, remember=key is not None)


async def _fulfil(order: str, sku: str, quantity: int, *, remember: bool) -> Response:
    """Every step may run again with the same order: a checkout that was cut short is resumed by asking again."""
    reserved = await inventory.call(
        "PUT", f"/reservations/{order}", json={"sku": sku, "quantity": quantity}, again=True
    )
    if reserved.status == 409:
        await _mark(order, "rejected")
        return JSONResponse(reserved.json(), 409)
    if reserved.status >= 400:
        raise Unavailable(f"inventory answered {reserved.status}")
    try:
        await charging.charge(order, reserved.json()["price"] * quantity)
    except Declined as declined:
        await inventory.call("DELETE", f"/reservations/{order}", again=True)
        await _mark(order, "rejected")
        return JSONResponse({"error": str(declined)}, 402)
    except Unavailable:
        if not FALLBACK:
            raise
        return JSONResponse(_told(order, "pending"), 202, headers={"X-Degraded": "true"})
    await _mark(order, "paid")
    if remember:
        await answers.put(f"order:{order}", json.dumps(_told(order, "paid")).encode(), lasts=REMEMBERED_FOR)
    return JSONResponse(_told(order, "paid"), 201)


async def read(request: Request) -> Response:
    rows = await database.query("SELECT id, sku, quantity, status FROM orders WHERE id = $1", request.path_params["id"])
    return JSONResponse(dict(rows[0])) if rows else JSONResponse({"error": "no such order"}, 404)


def _told(order: str, status: str) -> dict[str, Any]:
    return {"order": order, "status": status}


async def _mark(order: str, status: str) -> None:
    await database.query("UPDATE orders SET status = $2 WHERE id = $1", order, status)


async def ready() -> dict[str, bool]:
    # Not payments: without them orders are taken and paid later. Not Redis: it only repeats answers.
    return {"postgres": await database_answers.ok()}


app = service(
    [Route("/checkout", checkout, methods=["POST"]), Route("/orders/{id}", read)],
    uses=[database, answers, inventory, charging],
    ready=ready,
)
