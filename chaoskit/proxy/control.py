"""The control port's HTTP server: small, strict about sizes, and with one stream that never ends (the taps)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import cast

from chaoskit.proxy.http1 import BODY, HEAD, OPAQUE, Head, Requests

__all__ = ["Control", "Request", "Response", "Streaming"]

_MOST_BODY = 64 * 1024 * 1024
_IDLE = 60.0


@dataclass(slots=True)
class Request:
    """One request, read to its end."""

    method: str
    target: str
    head: Head
    body: bytes

    def header(self, name: str) -> str:
        value = self.head.header(name.lower().encode("latin-1"))
        return "" if value is None else value.decode("latin-1")


@dataclass(slots=True)
class Response:
    """One answer; `headers` in the order in which they are sent."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    stream: bool = False
    """Whether the body has no end: the connection is handed to the streams, see `Streaming`."""


class Streaming:
    """The connections that a stream is written to."""

    def __init__(self) -> None:
        self.open: set[asyncio.Transport] = set()

    def write(self, data: bytes) -> None:
        """One chunk to everybody; whoever has not read for 64 MiB is let go."""
        framed = b"%x\r\n%s\r\n" % (len(data), data)
        for transport in tuple(self.open):
            if transport.is_closing() or transport.get_write_buffer_size() > 64 * 1024 * 1024:
                transport.abort()
                self.open.discard(transport)
            else:
                transport.write(framed)

    def end(self) -> None:
        for transport in self.open:
            transport.write(b"0\r\n\r\n")
            transport.close()
        self.open.clear()


class Control(asyncio.Protocol):
    """One connection to the control port: requests are answered one after the other."""

    def __init__(
        self,
        handle: Callable[[Request], Awaitable[Response]],
        streaming: Streaming,
        open_connections: set[Control],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._handle = handle
        self._streaming = streaming
        self._open = open_connections
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._requests = Requests()
        self._head: Head | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._queue: list[Request] = []
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open.add(self)
        self._idle = self._loop.call_later(_IDLE, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it ended does not matter
        self._open.discard(self)
        if self._idle is not None:
            self._idle.cancel()
        if self._transport is not None:
            self._streaming.open.discard(self._transport)

    def eof_received(self) -> bool:
        self._ended = True
        if self._task is None and self._transport is not None:
            self._transport.close()
        return True

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            event, end = self._requests.step(data, at)
            if event == HEAD:
                self._head, self._body, self._size = self._requests.head, [], 0
                if self._head is not None and self._head.header(b"expect") is not None:
                    self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
            elif event == BODY:
                self._size += end - at
                if self._size > _MOST_BODY:
                    self._refuse(413)
                    return
                self._body.append(data[at:end])
            elif event == OPAQUE:
                self._refuse(400)
                return
            at = end
            if self._requests.over and self._head is not None:
                head, self._head = self._head, None
                request = Request(
                    head.method.decode("latin-1"), head.path.decode("latin-1"), head, b"".join(self._body)
                )
                self._body = []
                self._queue.append(request)
        if self._queue and self._task is None:
            self._task = self._loop.create_task(self._work_off())

    def _refuse(self, status: int) -> None:
        phrase = HTTPStatus(status).phrase
        body = f"{status} {phrase}".encode()
        self._write(
            f"HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        self.close()

    async def _work_off(self) -> None:
        while self._queue:
            request = self._queue.pop(0)
            response = await self._answered(request)
            if self._idle is not None:
                self._idle.cancel()
            if response.stream:
                self._stream(response)
                break
            keep = b"1.0" not in request.head.line[-3:] and request.header("connection").lower() != "close"
            self._answer(request, response, keep)
            if not keep:
                self.close()
                break
            if self._transport is not None:
                self._idle = self._loop.call_later(_IDLE, self._transport.close)
        self._task = None
        if self._ended and self._transport is not None and self._transport not in self._streaming.open:
            self._transport.close()

    async def _answered(self, request: Request) -> Response:
        try:
            return await self._handle(request)
        except Exception as error:  # noqa: BLE001 - a mistake of ours: told in the log, and the caller must not wait
            said = {"message": f"{request.method} {request.target[:200]} failed", "exception": error}
            self._loop.call_exception_handler(said)
            body = b'{"error":"internal error, see the log of the server","status":500}\n'
            return Response(500, body, {"Content-Type": "application/json"})

    def _answer(self, request: Request, response: Response, keep: bool) -> None:
        lines = _head_lines(response)
        if response.status != 204 and request.method != "HEAD":
            lines.append(f"Content-Length: {len(response.body)}")
        if not keep:
            lines.append("Connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        self._write(head if request.method == "HEAD" else head + response.body)

    def _stream(self, response: Response) -> None:
        lines = [*_head_lines(response), "Transfer-Encoding: chunked"]
        self._write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if self._transport is not None and not self._transport.is_closing():
            self._streaming.open.add(self._transport)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _head_lines(response: Response) -> list[str]:
    status = HTTPStatus(response.status)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    lines.append(f"Date: {formatdate(time.time(), usegmt=True)}")
    return lines
