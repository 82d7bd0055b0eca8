"""The shop's guards, each against what it must hold back and beside a twin that does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

pytest.importorskip("purgatory", reason="the lab is not installed: pip install chaoskit[lab]")
pytest.importorskip("aiohttp", reason="the lab is not installed: pip install chaoskit[lab]")

from purgatory import AsyncCircuitBreakerFactory

from targets.shop.common import Ping, TooSlow, Unavailable
from targets.shop.guards import Breaker, Bulkhead, CircuitOpen, NoSlot, Replicas, RetryBudget
from targets.shop.peer import Answer

OPEN_FOR = 0.1

Guard = Callable[[], AbstractAsyncContextManager[object]]


class Dependency:
    """Counts who gets through to it, and fails while it is `down`."""

    def __init__(self, *, down: bool = True, takes: float = 0.0) -> None:
        self.down = down
        self.takes = takes
        self.calls = 0

    async def call(self) -> None:
        self.calls += 1
        await asyncio.sleep(self.takes)
        if self.down:
            raise Unavailable("down")


async def call_through(guard: Guard, dependency: Dependency) -> str:
    try:
        async with guard():
            await dependency.call()
    except CircuitOpen:
        return "failed fast"
    except Unavailable:
        return "failed"
    return "answered"


async def crossing_at_half_open(guard: Guard, dependency: Dependency) -> int:
    """Open it, wait until it may try again, let 40 callers come at once; how many of them crossed."""
    while await call_through(guard, dependency) != "failed fast" and dependency.calls < 10:
        pass
    await asyncio.sleep(OPEN_FOR * 1.5)
    dependency.calls = 0
    dependency.takes = 0.05
    await asyncio.gather(*(call_through(guard, dependency) for _ in range(40)))
    return dependency.calls


def test_half_open_is_one_trial() -> None:
    async def crossed(*, down: bool) -> int:
        async with Breaker("one-trial", opens_after=3, open_for=OPEN_FOR) as breaker:
            dependency = Dependency()

            @asynccontextmanager
            async def guard() -> AsyncIterator[None]:
                async with breaker.call():
                    dependency.down = dependency.down and (dependency.takes == 0.0 or down)
                    yield

            return await crossing_at_half_open(guard, dependency)

    assert asyncio.run(crossed(down=True)) == 1
    assert asyncio.run(crossed(down=False)) == 1


def test_the_library_alone_lets_a_herd_through_at_half_open() -> None:
    """The twin that the check above must catch: purgatory without the single trial."""

    async def crossed() -> int:
        breaker = await AsyncCircuitBreakerFactory(default_threshold=3, default_ttl=OPEN_FOR).get_breaker("herd")

        @asynccontextmanager
        async def guard() -> AsyncIterator[None]:
            try:
                async with breaker:
                    yield
            except Unavailable:
                raise
            except Exception as error:
                raise CircuitOpen("open") from error

        return await crossing_at_half_open(guard, Dependency())

    assert asyncio.run(crossed()) == 40


def test_a_breaker_opens_after_failures_in_a_row_and_closes_after_a_good_trial() -> None:
    async def story() -> list[str]:
        dependency = Dependency()
        async with Breaker("story", opens_after=3, open_for=OPEN_FOR) as breaker:
            told = [await call_through(breaker.call, dependency) for _ in range(4)]
            await asyncio.sleep(OPEN_FOR * 1.5)
            told += [await call_through(breaker.call, dependency) for _ in range(2)]
            dependency.down = False
            await asyncio.sleep(OPEN_FOR * 1.5)
            return told + [await call_through(breaker.call, dependency) for _ in range(3)]

    opened = ["failed"] * 3 + ["failed fast"]
    reopened = ["failed", "failed fast"]
    assert asyncio.run(story()) == opened + reopened + ["answered"] * 3


def test_failures_that_are_not_in_a_row_do_not_open_a_breaker() -> None:
    async def told() -> set[str]:
        dependency = Dependency()
        async with Breaker("in-a-row", opens_after=3, open_for=OPEN_FOR) as breaker:
            found = set()
            for number in range(30):
                dependency.down = number % 3 != 0
                found.add(await call_through(breaker.call, dependency))
            return found

    assert asyncio.run(told()) == {"answered", "failed"}


@pytest.mark.parametrize(
    ("slots", "most"), [(3, 3), (100, 20)], ids=["a bulkhead of 3", "twin: no bulkhead to speak of"]
)
def test_a_bulkhead_bounds_what_runs_at_once(slots: int, most: int) -> None:
    async def peak() -> int:
        bulkhead = Bulkhead("peak", slots, wait=5.0)
        running = highest = 0

        async def one() -> None:
            nonlocal running, highest
            async with bulkhead.slot():
                running += 1
                highest = max(highest, running)
                await asyncio.sleep(0.01)
                running -= 1

        await asyncio.gather(*(one() for _ in range(20)))
        return highest

    assert asyncio.run(peak()) == most


def test_waiting_for_a_slot_ends_and_leaves_the_slots_as_they_were() -> None:
    async def story() -> None:
        bulkhead = Bulkhead("full", 1, wait=0.05)
        async with bulkhead.slot():
            with pytest.raises(NoSlot):
                async with bulkhead.slot():
                    pass
        async with bulkhead.slot():
            pass

    asyncio.run(story())


def test_a_retry_budget_allows_a_share_of_the_calls() -> None:
    budget = RetryBudget(0.5, burst=2.0)
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    for _ in range(4):
        budget.earn()
    assert [budget.spend() for _ in range(3)] == [True, True, False]


class FakePeer:
    def __init__(self, error: Unavailable | None = None) -> None:
        self.error = error
        self.calls = 0

    async def call(self, *_: object, **__: object) -> Answer:
        self.calls += 1
        if self.error:
            raise self.error
        return Answer(200, {}, b"")


def ask(replicas: Replicas, times: int) -> list[str]:
    async def all_of_them() -> list[str]:
        found = []
        for _ in range(times):
            try:
                await replicas.call("POST", "/charges", json={}, headers={})
                found.append("answered")
            except Unavailable as error:
                found.append(type(error).__name__)
        return found

    return asyncio.run(all_of_them())


def test_a_call_that_one_replica_refuses_goes_to_the_other_at_once_and_the_first_rests() -> None:
    dead, alive = FakePeer(Unavailable("refused")), FakePeer()
    assert ask(Replicas([dead, alive], rest=60.0), 10) == ["answered"] * 10  # type: ignore[list-item]  # it quacks
    assert dead.calls == 1
    assert alive.calls == 10


def test_calls_pinned_to_a_dead_replica_fail() -> None:
    """The twin of the check above."""
    assert set(ask(Replicas([FakePeer(Unavailable("refused"))]), 5)) == {"Unavailable"}  # type: ignore[list-item]  # it quacks


def test_a_call_that_took_too_long_is_not_made_again_elsewhere() -> None:
    hung, alive = FakePeer(TooSlow("hung")), FakePeer()
    told = ask(Replicas([alive, hung], rest=60.0), 4)  # type: ignore[list-item]  # it quacks
    assert told == ["TooSlow", "answered", "answered", "answered"]


def answering(takes: float) -> Callable[[], Awaitable[object]]:
    return lambda: asyncio.sleep(takes)


async def refusing() -> None:
    raise Unavailable("refused")


def test_readiness_says_no_at_once_to_what_refuses_and_later_to_what_hangs() -> None:
    async def said() -> tuple[bool, bool, bool]:
        refuses = await Ping(refusing).ok()
        hangs = Ping(answering(60.0))
        hangs._answered = time.monotonic()
        at_first = await hangs.ok()
        await asyncio.sleep(1.2)
        return refuses, at_first, await hangs.ok()

    assert asyncio.run(said()) == (False, True, False)


def test_a_dependency_that_is_slow_is_not_gone() -> None:
    async def said() -> list[bool]:
        slow = Ping(answering(0.3))
        slow._answered = time.monotonic()
        return [await slow.ok() for _ in range(6)]

    assert all(asyncio.run(said()))
