"""One HTTP GET, over as soon as its time is: a peer that answers a byte at a time cannot hold it."""

from __future__ import annotations

import contextlib
import io
import socket
import time
from http.client import HTTPException, HTTPResponse
from typing import NamedTuple, cast

from chaoskit.interfaces import Address

__all__ = ["Answer", "ask"]

_LONGEST = 8 * 2**20
"""Bytes of a body that are read at most."""


class Answer(NamedTuple):
    """What came back. `status` is None where no answer came, and `because` then says why."""

    status: int | None
    body: bytes = b""
    because: str = ""


class _Until(io.RawIOBase):
    """A socket that is read up to a deadline, however often it is asked."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection = connection
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # Buffer is Python 3.12's name
        self._connection.settimeout(_left(self._until))
        return self._connection.recv_into(buffer)


class _Readable:
    """As much of a socket as an HTTPResponse asks for."""

    def __init__(self, raw: _Until) -> None:
        self._raw = raw

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - it only ever reads
        return io.BufferedReader(self._raw, 16384)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def ask(address: Address, path: str, timeout: float, *, body: bool = False) -> Answer:
    """GET `path` on a connection of its own, without redirects. Never raises for what the peer does."""
    until = time.monotonic() + timeout
    try:
        with socket.create_connection(address, timeout=timeout) as connection:
            host = str(address)
            request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            connection.settimeout(_left(until))
            connection.sendall(request.encode("latin-1", errors="replace"))
            response = HTTPResponse(cast(socket.socket, _Readable(_Until(connection, until))), method="GET")
            with contextlib.closing(response):
                response.begin()
                return Answer(response.status, _read(response) if body else b"")
    except TimeoutError:
        return Answer(None, because=f"no answer within {timeout:g} s")
    except ConnectionRefusedError:
        return Answer(None, because="refused")
    except OSError as error:
        return Answer(None, because=(error.strerror or str(error)).lower())
    except HTTPException as error:
        return Answer(None, because=f"not HTTP: {type(error).__name__} {error}".strip())


def _read(response: HTTPResponse) -> bytes:
    body = response.read(_LONGEST + 1)
    if len(body) > _LONGEST:
        raise HTTPException(f"a body of more than {_LONGEST} bytes")
    return body
