"""What stands between a caller and a dependency that may fail: bulkhead, circuit breaker, retry budget, replicas."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge
from purgatory import AsyncCircuitBreakerFactory

from targets.shop.common import TooSlow, Unavailable
from targets.shop.peer import Answer, Peer

if TYPE_CHECKING:
    from purgatory.service._async.circuitbreaker import AsyncCircuitBreaker

__all__ = ["Breaker", "Bulkhead", "CircuitOpen", "NoSlot", "Replicas", "RetryBudget"]

_STATES = {"closed": "closed", "opened": "open", "half-opened": "half_open"}
BREAKER_STATE = Gauge("circuit_breaker_state", "1 for the state the breaker is in.", ["name", "state"])
SLOTS_USED = Gauge("bulkhead_slots_used", "Calls that hold a slot.", ["name"])
SLOTS_WAITING = Gauge("bulkhead_waiting", "Calls that wait for a slot.", ["name"])
RETRIES_DENIED = Counter("retries_denied", "Retries that the budget did not allow.")


class CircuitOpen(Unavailable):
    """The breaker is open: the dependency was not asked."""


class NoSlot(Unavailable):
    """No slot came free in time: the dependency was not asked."""


class Breaker:
    """A circuit breaker whose half-open state is one trial.

        closed ── opens_after failures in a row ──► open ── open_for seconds ──► half-open ── trial succeeds ──► closed
                                                     ▲                                 │
                                                     └─────────── trial fails ─────────┘

    purgatory keeps the states; alone it would let every call through while the first trial is out (a herd of as many
    as arrive before its answer). Here all but the trial fail fast.
    """

    def __init__(self, name: str, *, opens_after: int, open_for: float) -> None:
        self._name = name
        self._factory = AsyncCircuitBreakerFactory(default_threshold=opens_after, default_ttl=open_for)
        self._breaker: AsyncCircuitBreaker | None = None
        self._trial = False

    async def __aenter__(self) -> Breaker:
        self._breaker = breaker = await self._factory.get_breaker(self._name)
        for theirs, ours in _STATES.items():
            BREAKER_STATE.labels(self._name, ours).set_function(partial(_is_in, breaker, theirs))
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Stand around one call; an exception is a failure of the dependency. Raises CircuitOpen."""
        assert self._breaker is not None
        context = self._breaker.context
        trial = context.state != "closed"
        if trial and (self._trial or time.time() <= (context.opened_at or 0.0) + context.ttl):
            raise CircuitOpen(f"the circuit to {self._name} is open")
        self._trial = trial
        try:
            async with self._breaker:
                yield
        finally:
            if trial:
                self._trial = False


def _is_in(breaker: AsyncCircuitBreaker, state: str) -> float:
    return float(breaker.context.state == state)


class Bulkhead:
    """At most `slots` calls at once; waiting for a slot is a queue, and the wait is bounded."""

    def __init__(self, name: str, slots: int, *, wait: float) -> None:
        self._name = name
        self._free = asyncio.Semaphore(slots)
        self._wait = wait
        self._used = SLOTS_USED.labels(name)
        self._waiting = SLOTS_WAITING.labels(name)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot. Raises NoSlot."""
        if self._free.locked():
            await self._queue()
        else:
            await self._free.acquire()
        self._used.inc()
        try:
            yield
        finally:
            self._used.dec()
            self._free.release()

    async def _queue(self) -> None:
        self._waiting.inc()
        try:
            async with asyncio.timeout(self._wait):
                await self._free.acquire()
        except TimeoutError as error:
            raise NoSlot(f"no slot for {self._name} within {self._wait} s") from error
        finally:
            self._waiting.dec()


class RetryBudget:
    """Retries as a share of calls: without it, an outage multiplies the load on what is already down."""

    def __init__(self, share: float, *, burst: float = 20.0) -> None:
        self._share = share
        self._burst = burst
        self._tokens = burst

    def earn(self) -> None:
        """Count one call (not its retries)."""
        self._tokens = min(self._burst, self._tokens + self._share)

    def spend(self) -> bool:
        """Take one retry; False where there is none left."""
        if self._tokens < 1.0:
            RETRIES_DENIED.inc()
            return False
        self._tokens -= 1.0
        return True


class Replicas:
    """Replicas of one service in turn. One that did not answer rests for a second. A call that it refused, or dropped,
    goes to the next one at once."""

    def __init__(self, peers: Sequence[Peer], *, rest: float = 1.0) -> None:
        self._peers = list(peers)
        self._rest = rest
        self._rests_until = dict.fromkeys(range(len(self._peers)), 0.0)
        self._turn = 0

    async def call(self, method: str, path: str, *, json: object, headers: dict[str, str]) -> Answer:
        """Only for calls that may safely arrive twice: a broken connection does not say how far the call came.
        Raises Unavailable where no replica answers, TooSlow where one takes too long (the caller has no time left).
        """
        failure: Unavailable | None = None
        for number in self._in_turn():
            try:
                return await self._peers[number].call(method, path, json=json, headers=headers)
            except Unavailable as error:
                self._rests_until[number] = time.monotonic() + self._rest
                if isinstance(error, TooSlow):
                    raise
                failure = error
        raise failure or Unavailable("there are no replicas")

    def _in_turn(self) -> list[int]:
        """Numbers of the replicas, from the one whose turn it is; those that rest come last."""
        self._turn = (self._turn + 1) % len(self._peers)
        now = time.monotonic()
        order = [(self._turn + step) % len(self._peers) for step in range(len(self._peers))]
        return sorted(order, key=lambda number: self._rests_until[number] > now)
