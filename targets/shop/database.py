"""PostgreSQL as the shop's services use it: one pool, time limits, and fresh connections in place of dead ones."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from targets.shop.common import TooSlow, Unavailable

__all__ = ["Database"]

_SCHEMA_LOCK = 7_406_712
"""Advisory lock: replicas that start together create their tables one after the other."""

_GONE = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
)


class Database:
    """Every statement of the shop may safely run twice (its key makes the second one a no-op): a statement whose
    connection broke goes out once more on a fresh one."""

    def __init__(self, url: str, *, schema: str, connections: int = 16, timeout: float = 1.5) -> None:
        self._url = url
        self._schema = schema
        self._connections = connections
        self._timeout = timeout
        self._pool: asyncpg.Pool | None = None
        self._opening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Database:
        # A service that starts before its database waits for it, not ready, and does not crash.
        self._opening = asyncio.create_task(self._open())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._opening:
            self._opening.cancel()
        if self._pool:
            self._pool.terminate()

    async def query(self, statement: str, *values: object) -> list[Any]:
        """The rows of one statement. Raises Unavailable, TooSlow."""
        try:
            return await self._query(statement, values)
        except TooSlow:
            raise
        except Unavailable:
            return await self._query(statement, values)

    async def answers(self) -> None:
        """Ask for nothing, to see whether it answers. Raises Unavailable, TooSlow."""
        await self.query("SELECT 1")

    async def _open(self) -> None:
        while self._pool is None:
            pool = asyncpg.create_pool(
                self._url,
                user=urlsplit(self._url).username or "postgres",
                ssl=False,
                min_size=self._connections // 2,
                max_size=self._connections,
                timeout=self._timeout,
                max_inactive_connection_lifetime=0,
                reset=_nothing_to_reset,
            )
            try:
                await pool
                # Statements sent as one string are one transaction, at whose end the lock is given back.
                await pool.execute(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK}); {self._schema}")
                self._pool = pool
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                pool.terminate()
                await asyncio.sleep(0.1)

    async def _query(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        if self._pool is None:
            raise Unavailable("the database is not there yet")
        try:
            async with asyncio.timeout(self._timeout), self._pool.acquire() as connection:
                try:
                    return list(await connection.fetch(statement, *values))
                except asyncio.CancelledError:
                    # Without this, giving the connection back waits for a server that does not answer.
                    connection.terminate()
                    raise
        except TimeoutError as error:
            raise TooSlow(f"the database took longer than {self._timeout} s") from error
        except _GONE as error:
            raise Unavailable(f"the database is unavailable: {error}") from error


async def _nothing_to_reset(_: object) -> None:
    """The shop leaves no state in a session, so asyncpg's reset (a round trip for each statement) is left out."""
