"""Payments: charges a card, which takes 100 ms, exactly once for each idempotency key."""

from __future__ import annotations

import asyncio
import os
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from targets.shop.common import Ping, seconds, service, switched_on
from targets.shop.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
    key     text PRIMARY KEY,
    amount  bigint NOT NULL,
    made    timestamptz NOT NULL DEFAULT now()
)
"""
WORK = seconds("WORK", 0.1) or 0.0
"""Seconds that the card network takes."""
CARD_LIMIT = 100_000
"""Cents above which the card is declined."""

database = Database(os.environ["DATABASE_URL"], schema=SCHEMA, connections=8)
database_answers = Ping(database.answers)


async def charge(request: Request) -> Response:
    order = await request.json()
    key = request.headers.get("Idempotency-Key") if switched_on("IDEMPOTENCY") else None
    if order["amount"] > CARD_LIMIT:
        return JSONResponse({"error": "the card was declined"}, 402)
    # Written down while the card network works, so that the disk's pace does not add to it.
    made, _ = await asyncio.gather(_record(key or uuid4().hex, order["amount"]), asyncio.sleep(WORK))
    return JSONResponse({"charged": order["amount"], "replayed": not made}, 201 if made else 200)


async def _record(key: str, amount: int) -> bool:
    """The insert is the charge: a key that is there already was charged before, by this replica or another."""
    made = await database.query(
        "INSERT INTO charges (key, amount) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING RETURNING key", key, amount
    )
    return bool(made)


async def ready() -> dict[str, bool]:
    return {"postgres": await database_answers.ok()}


app = service([Route("/charges", charge, methods=["POST"])], uses=[database], ready=ready)
