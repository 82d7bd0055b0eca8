"""A server of bare sockets that answers as badly as it is told to, and a system whose replicas it plays."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from chaoskit.interfaces import Address

Behaviour = Callable[[socket.socket, str], None]


def answer(status: int = 200, body: str = "", more: str = "") -> Behaviour:
    def behave(connection: socket.socket, path: str) -> None:
        data = body.encode()
        head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(data)}\r\n{more}\r\n"
        connection.sendall(head.encode() + data)

    return behave


def say(data: bytes) -> Behaviour:
    return lambda connection, path: connection.sendall(data)


def hang(connection: socket.socket, path: str) -> None:
    with contextlib.suppress(OSError):
        connection.settimeout(30)
        connection.recv(1)


def drip(connection: socket.socket, path: str) -> None:
    with contextlib.suppress(OSError):
        for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"." * 1000:
            connection.sendall(bytes([letter]))
            time.sleep(0.02)


class Server:
    """Behaves towards each path as `behave` says; counts the questions."""

    def __init__(self) -> None:
        self.behave: dict[str, Behaviour] = {}
        self.asked: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self._socket.getsockname()[1])
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            path = connection.recv(65536).split(b" ")[1].decode()
            self.asked.append(path)
            self.behave.get(path, answer(404))(connection, path)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()
