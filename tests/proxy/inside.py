"""A proxy server inside the test's own process: its API without a control port, on a loop that ends with the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chaoskit.proxy.api import Api
from chaoskit.proxy.collection import Collection
from chaoskit.proxy.context import Context
from chaoskit.proxy.control import Request, Response, Streaming
from chaoskit.proxy.http1 import Requests
from chaoskit.proxy.tap import Hub
from chaoskit.proxy.timers import Timers


class Inside:
    """Answers of one API. `run` drives the loop."""

    def __init__(self, runner: asyncio.Runner, *, strict: bool = False, token: str = "", seed: int = 7) -> None:
        self._runner = runner
        loop = runner.get_loop()
        self.context = Context(loop=loop, timers=Timers(loop), hub=Hub(), seed=seed, strict=strict)
        self.collection = Collection(self.context)
        self.api = Api(self.collection, Streaming(), token=token)

    def raw(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        lines = {"Host": "localhost", **headers}
        text = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        requests = Requests()
        requests.step(text.encode("latin-1") + b"\r\n", 0)
        assert requests.head is not None
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self._runner.run(self.api.answer(Request(method, path, requests.head, data)))

    def __call__(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        answer = self.raw(method, path, body, **headers)
        return answer.status, json.loads(answer.body) if answer.body else None

    def ok(self, method: str, path: str, body: object = None) -> Any:
        status, answer = self(method, path, body)
        assert status < 400, (method, path, body, status, answer)
        return answer

    def wait(self, seconds: float = 0.0) -> None:
        self._runner.run(asyncio.sleep(seconds))

    async def close(self) -> None:
        for proxy in list(self.collection.proxies.values()):
            await proxy.remove()
        self.context.timers.close()


@contextmanager
def inside(*, strict: bool = False, token: str = "", seed: int = 7) -> Iterator[Inside]:
    with asyncio.Runner() as runner:
        server = Inside(runner, strict=strict, token=token, seed=seed)
        yield server
        runner.run(server.close())
