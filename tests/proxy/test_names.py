"""Names of upstreams: callers share a young lookup, and none waits for an old one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from chaoskit.proxy import names, proxy
from chaoskit.proxy.names import Names

HERE = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]


class Resolver(asyncio.SelectorEventLoop):
    """A loop whose name server answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[asyncio.Future[list[tuple]]] = []
        self.now = 0.0

    def time(self) -> float:
        return super().time() + self.now

    async def getaddrinfo(self, host, port, *, family=0, type=0, proto=0, flags=0):  # noqa: A002 - asyncio calls it so
        question = self.create_future()
        self.questions.append(question)
        return await question


def looked_up(steps: Callable[[Resolver, Names], Awaitable[None]]) -> None:
    loop = Resolver()
    try:
        loop.run_until_complete(asyncio.wait_for(steps(loop, Names(loop)), 10.0))
    finally:
        loop.close()


async def begun(loop: Resolver, *callers: Awaitable[list[tuple[str, int]]]) -> list[asyncio.Future]:
    found = [asyncio.ensure_future(one) for one in callers]
    for _ in range(3):
        await asyncio.sleep(0)
    return found


def test_who_asks_for_one_name_at_once_shares_one_lookup() -> None:
    async def steps(loop: Resolver, lookups: Names) -> None:
        callers = await begun(loop, *(lookups.find("back", 80) for _ in range(40)), lookups.find("other", 80))
        assert len(loop.questions) == 2
        loop.questions[0].set_result(HERE * 2)
        assert await asyncio.gather(*callers[:40]) == [[("127.0.0.1", 80)]] * 40
        loop.questions[1].set_exception(socket.gaierror("no such name"))
        with pytest.raises(OSError, match="no such name"):
            await callers[40]

    looked_up(steps)


def test_who_comes_later_does_not_wait_for_an_old_question() -> None:
    async def steps(loop: Resolver, lookups: Names) -> None:
        [old] = await begun(loop, lookups.find("back", 80))
        loop.now += names._SHARED * 2
        [new] = await begun(loop, lookups.find("back", 80))
        assert len(loop.questions) == 2
        loop.questions[1].set_result(HERE)
        assert await new == [("127.0.0.1", 80)]
        assert not old.done()
        loop.questions[0].set_result([])
        await old

    looked_up(steps)


def test_who_gives_up_leaves_the_answer_to_the_others() -> None:
    async def steps(loop: Resolver, lookups: Names) -> None:
        hasty, patient = await begun(loop, lookups.find("back", 80), lookups.find("back", 80))
        hasty.cancel()
        await asyncio.sleep(0)
        loop.questions[0].set_result(HERE)
        assert await patient == [("127.0.0.1", 80)]
        [again] = await begun(loop, lookups.find("back", 80))
        assert len(loop.questions) == 2, "an answer is not kept: the next may be another"
        loop.questions[1].set_result(HERE)
        await again

    looked_up(steps)


def test_the_first_address_that_takes_it_is_connected_to() -> None:
    tried = []

    async def dial(host: str, port: int) -> None:
        tried.append(host)
        if host != "b":
            raise ConnectionRefusedError(host)

    asyncio.run(proxy._first(dial, [("a", 1), ("b", 1), ("c", 1)]))
    assert tried == ["a", "b"]
    with pytest.raises(ConnectionRefusedError, match="c"):
        asyncio.run(proxy._first(dial, [("a", 1), ("c", 1)]))
