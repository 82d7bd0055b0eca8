"""Timers never fire early, keep their order, and can be cancelled."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from time import monotonic

import pytest
import uvloop

from chaoskit.proxy.timers import Timers

LOOPS = pytest.mark.parametrize("factory", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])


@LOOPS
@pytest.mark.parametrize("timerfd", [True, False])
def test_none_fires_early_and_all_in_order(
    factory: Callable[[], asyncio.AbstractEventLoop], timerfd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not timerfd:
        monkeypatch.setattr(sys, "platform", "darwin")

    async def main() -> None:
        timers = Timers(asyncio.get_running_loop())
        fired: list[tuple[int, float]] = []
        start = monotonic()
        due = [start + (7 * number % 50) / 1000 + 0.0003 for number in range(50)]
        for number, when in enumerate(due):
            timers.at(when, lambda number=number: fired.append((number, monotonic())))  # type: ignore[misc]  # a default argument
        cancelled = timers.after(0.01, lambda: fired.append((-1, 0.0)))
        cancelled.cancel()
        await asyncio.sleep(0.25)
        timers.close()
        assert len(fired) == 50
        assert all(when >= due[number] for number, when in fired)
        assert [due[number] for number, _ in fired] == sorted(due)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@LOOPS
def test_one_may_set_another(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        timers = Timers(asyncio.get_running_loop())
        done = asyncio.Event()
        count = 0

        def again() -> None:
            nonlocal count
            count += 1
            if count < 20:
                timers.after(0.0005 if count % 2 else -1.0, again)
            else:
                done.set()

        timers.after(0, again)
        async with asyncio.timeout(5):
            await done.wait()
        timers.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
