"""Servers, upstreams and clients that the tests of the proxy stand on."""

from __future__ import annotations

import http.client
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[2]


class Api:
    """Plain HTTP to one control port."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def raw(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            data = body if isinstance(body, (bytes, str)) or body is None else json.dumps(body)
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def __call__(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        status, _, data = self.raw(method, path, body)
        try:
            return status, json.loads(data)
        except ValueError:
            return status, data.decode()

    def ok(self, method: str, path: str, body: object = None) -> Any:
        status, answer = self(method, path, body)
        assert status < 400, (method, path, body, status, answer)
        return answer

    def proxy(self, name: str, upstream: int, **more: object) -> int:
        """Make one; returns the port that it listens on."""
        wanted = {"name": name, "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{upstream}", **more}
        return int(self.ok("POST", "/proxies", wanted)["listen"].rpartition(":")[2])

    def toxic(
        self, proxy: str, type_: str, /, name: str = "t", stream: str = "downstream", **attributes: object
    ) -> None:
        toxicity = attributes.pop("toxicity", 1.0)
        body = {"name": name, "type": type_, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        self.ok("POST", f"/proxies/{proxy}/toxics", body)

    def clear(self) -> None:
        for name in self.ok("GET", "/proxies"):
            self.ok("DELETE", f"/proxies/{quote(name, safe='')}")


@contextmanager
def embedded(*flags: str) -> Iterator[Api]:
    """Our server as a process; it must end cleanly and say nothing on standard error."""
    with embedded_process(*flags) as (api, _):
        yield api


@contextmanager
def embedded_process(*flags: str) -> Iterator[tuple[Api, subprocess.Popen[bytes]]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "default", "-m", "chaoskit.proxy.server", "--port", "0", *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read().decode()
        yield Api(json.loads(line)["port"]), process
        process.terminate()
        _, errors = process.communicate(timeout=10)
        assert process.returncode in (0, -9), (process.returncode, errors.decode())
        assert not errors or process.returncode == -9, errors.decode()
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@contextmanager
def real(path: str, *flags: str) -> Iterator[Api]:
    """A real Toxiproxy as a process."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    process = subprocess.Popen(
        [path, "-port", str(port), "-host", "127.0.0.1", *flags],
        env={**os.environ, "LOG_LEVEL": "error"},
        stdout=subprocess.DEVNULL,
    )
    try:
        api = Api(port)
        until = time.monotonic() + 10
        while True:
            try:
                api("GET", "/version")
                break
            except OSError:
                assert time.monotonic() < until
                time.sleep(0.02)
        yield api
    finally:
        process.kill()
        process.wait()


class Upstream:
    """A TCP server; `handle` runs in a thread for each connection."""

    def __init__(self, handle: Callable[[socket.socket], None]) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    handle(self.request)
                except OSError:
                    pass

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 512
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def echo(sock: socket.socket) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)


class Recorder:
    """An upstream that keeps what it is sent, piece by piece with its time, until the end."""

    def __init__(self, answer: bytes = b"") -> None:
        self.pieces: list[tuple[float, bytes]] = []
        self.answer = answer
        self.ended = threading.Event()
        self.how = ""

    def __call__(self, sock: socket.socket) -> None:
        if self.answer:
            sock.sendall(self.answer)
        try:
            while data := sock.recv(65536):
                self.pieces.append((time.monotonic(), data))
            self.how = "eof"
        except ConnectionResetError:
            self.how = "reset"
        self.ended.set()

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.pieces)


def connect(port: int, timeout: float = 10.0) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_exactly(sock: socket.socket, count: int) -> bytes:
    parts = []
    while count > 0:
        data = sock.recv(min(count, 1 << 20))
        if not data:
            break
        parts.append(data)
        count -= len(data)
    return b"".join(parts)


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


def how_it_ends(sock: socket.socket, timeout: float = 5.0) -> tuple[str, bytes]:
    """`eof`, `reset` or `open` (nothing happened within the time), and what came before."""
    sock.settimeout(timeout)
    parts = []
    try:
        while data := sock.recv(65536):
            parts.append(data)
    except ConnectionResetError:
        return "reset", b"".join(parts)
    except TimeoutError:
        return "open", b"".join(parts)
    return "eof", b"".join(parts)


def timed(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def eventually(condition: Callable[[], object], within: float = 5.0) -> None:
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.005)


class Taps:
    """Reads the stream of taps in a thread."""

    def __init__(self, api: Api) -> None:
        self.slots: list[dict[str, Any]] = []
        self.flushed = 0
        self.ended = threading.Event()
        self._api = api
        self._connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=30)
        self._connection.request("GET", "/chaoskit/taps")
        self._answer = self._connection.getresponse()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while line := self._answer.readline():
                slot = json.loads(line)
                if slot.get("flushed"):
                    self.flushed += 1
                elif slot:
                    self.slots.append(slot)
        except (OSError, http.client.HTTPException):
            pass  # the server was killed
        self.ended.set()

    def __enter__(self) -> Taps:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._answer.close()
        self._connection.close()

    def flush(self) -> list[dict[str, Any]]:
        """Everything up to now."""
        wanted = self.flushed + 1
        self._api.ok("POST", "/chaoskit/taps/flush")
        eventually(lambda: self.flushed >= wanted)
        return list(self.slots)

    def calls(self) -> list[dict[str, Any]]:
        return [call for slot in self.flush() for call in slot.get("calls", ())]

    def total(self, field: str) -> int:
        return sum(slot.get(field, 0) for slot in self.flush())

    def so_far(self, field: str) -> int:
        """As `total`, without ending what is open."""
        return sum(slot.get(field, 0) for slot in list(self.slots))

    def counts(self, field: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for slot in self.flush():
            for key, count in slot.get(field, {}).items():
                found[key] = found.get(key, 0) + count
        return found
