"""Inventory: the catalogue, read through a cache, and the stock, reserved for orders."""

from __future__ import annotations

import json
import os

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from targets.shop.cache import Cache
from targets.shop.common import Ping, service, switched_on
from targets.shop.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS products (
    sku    text PRIMARY KEY,
    name   text NOT NULL,
    price  bigint NOT NULL,
    stock  bigint NOT NULL CHECK (stock >= 0)
);
CREATE TABLE IF NOT EXISTS reservations (
    key       text PRIMARY KEY,
    sku       text NOT NULL,
    quantity  bigint NOT NULL
);
INSERT INTO products (sku, name, price, stock)
SELECT 'A' || number, 'Article ' || number, 100 * number, 1000000 FROM generate_series(1, 20) AS number
ON CONFLICT (sku) DO NOTHING
"""
RESERVE = """
WITH product AS (SELECT price FROM products WHERE sku = $2 AND stock >= $3),
     fresh AS (
         INSERT INTO reservations (key, sku, quantity) SELECT $1, $2, $3 FROM product
         ON CONFLICT (key) DO NOTHING RETURNING quantity
     ),
     taken AS (UPDATE products SET stock = stock - fresh.quantity FROM fresh WHERE sku = $2)
SELECT price FROM product
"""
RELEASE = """
WITH released AS (DELETE FROM reservations WHERE key = $1 RETURNING sku, quantity)
UPDATE products SET stock = stock + released.quantity FROM released WHERE products.sku = released.sku
"""
CACHED_FOR = 60
"""Seconds that a product is served from the cache: names and prices may be that old, stock is never cached."""

database = Database(os.environ["DATABASE_URL"], schema=SCHEMA)
database_answers = Ping(database.answers)
cache = Cache(os.environ["REDIS_URL"])
CACHE = switched_on("CACHE")


async def catalogue(request: Request) -> Response:
    """One product: from the cache, else from the database and into the cache (cache-aside)."""
    sku = request.path_params["sku"]
    held = await cache.get(f"product:{sku}") if CACHE else None
    if held is not None:
        return Response(held, media_type="application/json", headers={"X-Cache": "hit"})
    rows = await database.query("SELECT sku, name, price FROM products WHERE sku = $1", sku)
    if not rows:
        return JSONResponse({"error": f"no product {sku}"}, 404)
    found = json.dumps(dict(rows[0])).encode()
    if CACHE:
        await cache.put(f"product:{sku}", found, lasts=CACHED_FOR)
    return Response(found, media_type="application/json", headers={"X-Cache": "miss"})


async def reserve(request: Request) -> Response:
    """Take stock for an order, once for each key."""
    order = await request.json()
    rows = await database.query(RESERVE, request.path_params["key"], order["sku"], order["quantity"])
    if not rows:
        return JSONResponse({"error": f"not enough of {order['sku']}"}, 409)
    return JSONResponse({"price": rows[0]["price"]}, 201)


async def release(request: Request) -> Response:
    """Give stock back: the compensation of `reserve`."""
    await database.query(RELEASE, request.path_params["key"])
    return Response(status_code=204)


async def ready() -> dict[str, bool]:
    # Not the cache: without it the shop is slower, and works.
    return {"postgres": await database_answers.ok()}


app = service(
    [
        Route("/catalogue/{sku}", catalogue),
        Route("/reservations/{key}", reserve, methods=["PUT"]),
        Route("/reservations/{key}", release, methods=["DELETE"]),
    ],
    uses=[database, cache],
    ready=ready,
)
