"""Proxies that share a port: who calls says which of them takes the connection."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.proxy.serving import Api, Taps, Upstream, connect, echo, eventually, how_it_ends, read_exactly

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on its loopback")

WEB, WORKER, STRANGER = "127.0.0.2", "127.0.0.3", "127.0.0.4"


@contextmanager
def call(port: int, caller: str) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(caller, 0)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def answered(port: int, caller: str) -> float:
    """Seconds that an echo takes; infinite where there is none."""
    began = time.monotonic()
    try:
        with call(port, caller) as sock:
            sock.sendall(b"x")
            return time.monotonic() - began if read_exactly(sock, 1) == b"x" else float("inf")
    except OSError:
        return float("inf")


def reset(port: int, caller: str) -> bool:
    """Whether its connection is reset: as it is made, or right after."""
    try:
        with call(port, caller) as sock:
            return how_it_ends(sock)[0] == "reset"
    except ConnectionResetError:
        return True


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(echo) as made:
        yield made


@pytest.fixture
def port(server: Api, upstream: Upstream) -> int:
    """Where `web` and `worker` share a port."""
    shared = server.proxy("web", upstream.port, callers=[WEB], tap=True)
    again = server.proxy("worker", upstream.port, callers=[WORKER], listen=f"127.0.0.1:{shared}", tap=True)
    assert again == shared
    return shared


def test_each_caller_has_its_own_toxics_and_strangers_have_none(server: Api, port: int) -> None:
    server.toxic("web", "latency", latency=300)
    assert answered(port, WEB) >= 0.3
    assert answered(port, WORKER) < 0.3
    assert answered(port, STRANGER) < 0.3


def test_taps_count_their_own_callers_alone(server: Api, port: int) -> None:
    with Taps(server) as taps:
        for caller, times in ((WEB, 1), (WORKER, 2), (STRANGER, 4)):
            for _ in range(times):
                assert answered(port, caller) < 1
        slots = taps.flush()
        found = {edge: sum(slot["opened"] for slot in slots if slot["edge"] == edge) for edge in ("web", "worker")}
        assert found == {"web": 1, "worker": 2}
        assert {slot["edge"] for slot in slots} <= {"web", "worker"}


def test_a_closed_one_resets_its_callers_alone_and_cuts_what_is_open(server: Api, port: int) -> None:
    with call(port, WEB) as web, call(port, WORKER) as worker:
        for sock in (web, worker):
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"
        server.ok("POST", "/proxies/web", {"enabled": False})
        assert how_it_ends(web)[0] in ("eof", "reset")
        assert reset(port, WEB)
        worker.sendall(b"y")
        assert read_exactly(worker, 1) == b"y"
    assert answered(port, STRANGER) < 1
    server.ok("POST", "/proxies/web", {"enabled": True})
    assert answered(port, WEB) < 1


def test_one_that_flaps_is_up_and_down_for_its_callers(server: Api, port: int) -> None:
    server.toxic("web", "flap", up=150, down=150)
    until, seen = time.monotonic() + 3, set()
    while len(seen) < 2 and time.monotonic() < until:
        seen.add(answered(port, WEB) < 1)
        assert answered(port, WORKER) < 1
        time.sleep(0.02)
    assert seen == {True, False}
    server.ok("DELETE", "/proxies/web/toxics/t")
    eventually(lambda: answered(port, WEB) < 1)


def test_a_caller_that_has_another_address_now_is_found_again(server: Api, port: int) -> None:
    server.toxic("web", "latency", latency=300)
    server.ok("POST", "/proxies/web", {"callers": [STRANGER]})
    assert answered(port, STRANGER) >= 0.3
    assert answered(port, WEB) < 0.3


def test_the_port_is_free_when_the_last_of_them_is_gone(server: Api, port: int) -> None:
    server.ok("DELETE", "/proxies/web")
    assert answered(port, WORKER) < 1 and answered(port, WEB) < 1, "a stranger by now"
    server.ok("DELETE", "/proxies/worker")
    with pytest.raises(ConnectionRefusedError):
        connect(port)


def test_strangers_may_be_led_elsewhere(server: Api, upstream: Upstream) -> None:
    def greet(sock: socket.socket) -> None:
        sock.sendall(b"elsewhere")

    with Upstream(greet) as other:
        shared = server.proxy("web", upstream.port, callers=[WEB], otherwise=f"127.0.0.1:{other.port}")
        with call(shared, STRANGER) as sock:
            assert how_it_ends(sock) == ("eof", b"elsewhere")
        assert answered(shared, WEB) < 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"callers": ["web"]}, "callers must be an array of IP addresses"),
        ({"callers": WEB}, "callers must be an array of IP addresses"),
        ({"callers": [WORKER]}, f"another proxy there has the caller {WORKER}"),
        ({}, "address already in use"),
    ],
)
def test_what_cannot_be_shared_is_told(
    server: Api, upstream: Upstream, port: int, more: dict[str, object], said: str
) -> None:
    wanted = {"name": "third", "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{upstream.port}", **more}
    status, answer = server("POST", "/proxies", wanted)
    assert status in (400, 500) and said in answer["error"]
    assert answered(port, WORKER) < 1 and set(server.ok("GET", "/proxies")) == {"web", "worker"}


def test_whether_a_proxy_shares_its_port_does_not_change(server: Api, upstream: Upstream, port: int) -> None:
    server.proxy("alone", upstream.port)
    for name, callers in (("alone", [WEB]), ("web", [])):
        status, answer = server("POST", f"/proxies/{name}", {"callers": callers})
        assert status == 400 and "cannot change" in answer["error"]
