"""Charging a card through everything that guards the call to payments: retries, bulkhead, breaker and replicas."""

from __future__ import annotations

import os

import stamina
from stamina.instrumentation import PrometheusOnRetryHook, set_on_retry_hooks

from targets.shop.common import TooSlow, Unavailable, seconds, switched_on
from targets.shop.guards import Breaker, Bulkhead, CircuitOpen, NoSlot, Replicas, RetryBudget
from targets.shop.peer import Answer, Peer

__all__ = ["Charging", "Declined"]

SLOTS = int(os.environ.get("PAYMENT_SLOTS", "40"))
"""Little's law: 80 checkouts/s of 0.1 s each hold 8 slots; the rest is room for a payment service that gets slower."""
SLOT_WAIT = 1.5
TIMEOUT = seconds("PAYMENT_TIMEOUT", 0.5)
OPENS_AFTER = 20
"""Failures in a row: 30% of failed calls come that far once in 10^10 calls, a dead payment service in a quarter of a
second at 80/s."""
OPEN_FOR = 5 * (TIMEOUT or 0.5)
"""Longer than any call that was out when it opened, so that no late answer is taken for the trial's."""

set_on_retry_hooks([PrometheusOnRetryHook])


class Declined(Exception):
    """The card was refused for good: no retry and no fallback helps."""


class Charging:
    """The client of payments.

    retries, within a budget ─► a slot of the bulkhead ─► the breaker ─► one replica, else the other ─► 0.5 s
    """

    def __init__(self, urls: str) -> None:
        peers = [Peer("payments", url, TIMEOUT) for url in urls.split(",")]
        if os.environ.get("PAYMENT_REPLICAS") == "first":
            peers = peers[:1]
        self._peers = peers
        self._replicas = Replicas(peers)
        self._bulkhead = Bulkhead("payments", SLOTS, wait=SLOT_WAIT)
        self._breaker = Breaker("payments", opens_after=OPENS_AFTER, open_for=OPEN_FOR)
        self._guarded = switched_on("BREAKER")
        self._budget = RetryBudget(0.5)
        attempts = 4 if switched_on("RETRIES") else 1
        self._retrying = stamina.AsyncRetryingCaller(
            attempts=attempts, timeout=2.0, wait_initial=0.05, wait_max=0.4, wait_jitter=0.05
        )

    async def __aenter__(self) -> Charging:
        for peer in self._peers:
            await peer.__aenter__()
        if self._guarded:
            await self._breaker.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        for peer in self._peers:
            await peer.__aexit__(*error)

    async def charge(self, order: str, amount: int) -> None:
        """Charge once for `order`, however often it is asked. Raises Declined, Unavailable."""
        self._budget.earn()
        answer = await self._retrying(self._worth_another_try, self._attempt, order, amount)
        if answer.status >= 400:
            raise Declined(answer.json()["error"])

    async def _attempt(self, order: str, amount: int) -> Answer:
        async with self._bulkhead.slot():
            if not self._guarded:
                return await self._ask(order, amount)
            async with self._breaker.call():
                return await self._ask(order, amount)

    async def _ask(self, order: str, amount: int) -> Answer:
        answer = await self._replicas.call(
            "POST", "/charges", json={"amount": amount}, headers={"Idempotency-Key": order}
        )
        if answer.status >= 500:
            raise Unavailable(f"payments answered {answer.status}")
        return answer

    def _worth_another_try(self, error: Exception) -> bool:
        """Not what the breaker or the bulkhead held back, nor what took too long: no time is left for those."""
        if not isinstance(error, Unavailable) or isinstance(error, CircuitOpen | NoSlot | TooSlow):
            return False
        return self._budget.spend()
