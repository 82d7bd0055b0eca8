"""Another service over HTTP: pooled connections, a time limit on every call, the trace id passed on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from targets.shop.common import TooSlow, Unavailable, traceparent

__all__ = ["Answer", "Peer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What another service said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Peer:
    """Another service over HTTP: a pool of connections, a time limit on every call, the trace id passed on."""

    name: str
    url: str
    timeout: float | None
    _session: aiohttp.ClientSession = field(init=False, repr=False)

    async def __aenter__(self) -> Peer:
        # The servers keep idle connections for 75 s, so that no pool ever sends on one that is being closed.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=self.timeout))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        again: bool = False,
    ) -> Answer:
        """One call, whatever its status. With `again`, a connection that breaks is replaced once by a fresh one:
        only for what may safely arrive twice. Raises Unavailable, TooSlow.
        """
        try:
            return await self._attempt(method, path, json, body, headers)
        except TooSlow:
            raise
        except Unavailable:
            if not again:
                raise
            return await self._attempt(method, path, json, body, headers)

    async def _attempt(
        self, method: str, path: str, json: object, body: bytes | None, headers: Mapping[str, str] | None
    ) -> Answer:
        sent = {**(headers or {}), "traceparent": traceparent()}
        try:
            async with self._session.request(method, self.url + path, json=json, data=body, headers=sent) as answer:
                return Answer(answer.status, answer.headers, await answer.read())
        except TimeoutError as error:
            raise TooSlow(f"{self.name} took longer than {self.timeout} s") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"{self.name} is unavailable: {error}") from error
