"""Redis as a cache: what it does not have, or cannot say in time, is a miss."""

from __future__ import annotations

import time

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

__all__ = ["Cache"]


class Cache:
    """Never raises: a service that cannot do without its cache has one dependency more, not one less."""

    def __init__(self, url: str, *, timeout: float = 0.2, rest: float = 1.0) -> None:
        """After a failure it is left alone for `rest` seconds, so that a Redis that hangs costs few requests its
        `timeout`."""
        # A pooled connection that turns out to be dead is replaced once, at once.
        retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        self._redis = Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=retry)
        self._rest = rest
        self._rests_until = 0.0

    async def __aenter__(self) -> Cache:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._redis.aclose()

    async def get(self, key: str) -> bytes | None:
        if time.monotonic() < self._rests_until:
            return None
        try:
            value = await self._redis.get(key)
        except RedisError:
            self._rests_until = time.monotonic() + self._rest
            return None
        return value.encode() if isinstance(value, str) else value

    async def put(self, key: str, value: bytes, *, lasts: int) -> None:
        """Keep `value` for `lasts` seconds."""
        if time.monotonic() < self._rests_until:
            return
        try:
            await self._redis.set(key, value, ex=lasts)
        except RedisError:
            self._rests_until = time.monotonic() + self._rest
