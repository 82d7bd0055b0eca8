"""The guards of the front; DEFECT names the one way in which one of them is wrong."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiohttp

T = TypeVar("T")

DEFECT = os.environ.get("DEFECT", "")
"""Empty for a healthy service."""


class Failed(Exception):
    """The back did not do it."""


class Open(Failed):
    """The breaker is open: the back was not asked."""


class Back:
    """Calls to the back: a timeout for each, the trace passed on, failures as one error."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30))
        self.worked = False
        self.broken_until = 0.0

    async def call(self, method: str, path: str, trace: str, *, within: float = 0.3, **more: object) -> object:
        if time.monotonic() < self.broken_until:
            raise Failed("still broken")
        if DEFECT == "no timeout":
            within = 60.0
        elif DEFECT == "longer than the callers":
            within = 2.0
        version, trace_id, _, flags = trace.split("-") if trace.count("-") == 3 else ("00", f"{1:032x}", "", "01")
        headers = {"traceparent": f"{version}-{trace_id}-{random.getrandbits(64):016x}-{flags}"}
        headers.update(more.pop("headers", {}))  # type: ignore[arg-type]  # callers hand over dicts
        limit = aiohttp.ClientTimeout(total=within)
        try:
            async with self.session.request(method, self.url + path, headers=headers, timeout=limit, **more) as answer:
                if answer.status >= 500:
                    raise Failed(f"status {answer.status}")
                self.worked = True
                return await answer.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> Failed:
        if DEFECT == "never recovers" and self.worked:  # it must get ready first
            self.broken_until = float("inf")
        if DEFECT == "recovers late":
            self.broken_until = time.monotonic() + 4.0
        if DEFECT == "blocks everyone":
            time.sleep(0.05)
        return Failed(type(error).__name__)


class Breaker:
    """Opens after 5 failures in a row, tries once a second with a single call, closes when that succeeds."""

    def __init__(self) -> None:
        late, early = DEFECT == "opens too late", DEFECT == "opens on one failure"
        self.threshold = 10**9 if DEFECT == "never opens" else 200 if late else 1 if early else 5
        self.open_for = {"tries too often": 0.4, "never tries again": 1e9}.get(DEFECT, 1.0)
        self.failures = 0
        self.opened = 0.0
        self.trying = 0

    @property
    def state(self) -> str:
        if DEFECT == "metric says closed":
            return "closed"
        return "closed" if not self.opened else "half_open" if self.trying else "open"

    async def call(self, what: Callable[[], Awaitable[T]]) -> T:
        if not self.opened:
            return await self._closed(what)
        alone = not self.trying or DEFECT == "floods when half-open"
        if time.monotonic() - self.opened < self.open_for or not alone:
            if DEFECT == "fails slowly while open":
                await asyncio.sleep(0.4)
            raise Open("open")
        self.trying += 1
        try:
            result = await what()
        except Failed:
            self.opened = time.monotonic()
            raise
        finally:
            self.trying -= 1
        self.failures = 0
        self.opened = time.monotonic() if DEFECT == "never closes" else 0.0
        return result

    async def _closed(self, what: Callable[[], Awaitable[T]]) -> T:
        try:
            result = await what()
        except Failed:
            self.failures += 1
            if self.failures >= self.threshold:
                self.opened = self.opened or time.monotonic()
            raise
        self.failures = 0
        return result


class Retries:
    """Three attempts, waits of 50 and 100 ms give or take a half, and a budget where it is asked for."""

    def __init__(self) -> None:
        self.tokens = 5.0
        self.budgeted = os.environ.get("BUDGET", "") == "on"

    async def call(self, what: Callable[[int], Awaitable[T]]) -> T:
        attempts = 10 if DEFECT == "retries ten times" else 3
        self.tokens = min(5.0, self.tokens + 0.1)
        for attempt in range(1, attempts + 1):
            try:
                return await what(attempt)
            except Failed:
                if attempt == attempts or not self._may():
                    raise
            await asyncio.sleep(self._wait(attempt))
        raise AssertionError("the last attempt returns or raises")

    def _may(self) -> bool:
        if not self.budgeted or DEFECT == "no budget":
            return True
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True

    def _wait(self, attempt: int) -> float:
        if DEFECT in ("no backoff", "retries ten times"):
            return 0.0
        base = 0.05 if DEFECT == "constant backoff" else 0.05 * 2 ** (attempt - 1)
        return base if DEFECT == "no jitter" else base * random.uniform(0.5, 1.5)


class Bulkhead:
    """At most 10 calls at once; who finds no slot is told so at once. A leak never gives back what failed."""

    def __init__(self) -> None:
        self.slots = 10**6 if DEFECT == "no bulkhead" else 10
        self.used = 0

    async def call(self, what: Callable[[], Awaitable[T]]) -> T:
        if self.used >= self.slots:
            raise Failed("no slot")
        self.used += 1
        try:
            result = await what()
        except Failed:
            if DEFECT != "leaks slots":
                self.used -= 1
            raise
        self.used -= 1
        return result


class Limit:
    """Admits 30 a second, with a burst of 3 (token bucket)."""

    def __init__(self) -> None:
        self.rate = {"no limit": 1e9, "half the limit": 15.0}.get(DEFECT, 30.0)
        self.tokens = 3.0
        self.at = time.monotonic()

    def admits(self) -> bool:
        now = time.monotonic()
        self.tokens = min(3.0, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True
