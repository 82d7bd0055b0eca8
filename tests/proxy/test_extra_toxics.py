"""Toxics on bytes, connections and listeners that a real Toxiproxy lacks."""

from __future__ import annotations

import random
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.proxy.extra_toxics import corrupted
from tests.proxy.serving import (
    Api,
    Taps,
    Upstream,
    connect,
    echo,
    embedded,
    eventually,
    how_it_ends,
    read_exactly,
    timed,
)

pytestmark = pytest.mark.live


def ping(port: int, data: bytes = b"ping") -> float:
    with connect(port) as sock:
        began = time.monotonic()
        sock.sendall(data)
        assert read_exactly(sock, len(data)) == data
        return time.monotonic() - began


class TestRate:
    def test_all_connections_share_it(self, server: Api) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "rate", rate=100)
            threads = [threading.Thread(target=ping, args=(port, b"x" * 10_000)) for _ in range(4)]

            def transfer() -> None:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

            assert 0.397 <= timed(transfer) < 0.8
            server.ok("DELETE", "/proxies/p/toxics/t")
            assert ping(port, b"x" * 50_000) < 0.2

    def test_removing_it_lets_all_go(self, server: Api) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "rate", rate=1)
            with connect(port) as sock:
                sock.sendall(b"x" * 30_000)
                time.sleep(0.1)
                began = time.monotonic()
                server.ok("DELETE", "/proxies/p/toxics/t")
                assert read_exactly(sock, 30_000) == b"x" * 30_000
                assert time.monotonic() - began < 1


class TestCorrupt:
    @given(st.binary(max_size=300), st.floats(0, 1), st.integers())
    def test_each_byte_is_hit_once_at_most_and_by_one_bit(self, data: bytes, share: float, seed: int) -> None:
        spoilt = corrupted(data, share, random.Random(seed))
        assert len(spoilt) == len(data)
        assert all((a ^ b).bit_count() <= 1 for a, b in zip(spoilt, data, strict=True))
        assert corrupted(data, share, random.Random(seed)) == spoilt

    def test_the_share_is_what_was_asked(self) -> None:
        data = bytes(200_000)
        for share in (0.001, 0.1, 0.5):
            hit = sum(byte != 0 for byte in corrupted(data, share, random.Random(1)))
            assert hit == pytest.approx(share * len(data), rel=0.15)
        assert corrupted(data, 0, random.Random(1)) is data
        assert all(corrupted(data, 1, random.Random(1)))

    def test_the_same_seed_spoils_the_same_bytes(self) -> None:
        def seen(seed: str) -> bytes:
            with Upstream(echo) as upstream, embedded("--seed", seed) as server:
                port = server.proxy("p", upstream.port)
                server.toxic("p", "corrupt", probability=0.05)
                with connect(port) as sock:
                    sock.sendall(bytes(2000))
                    return read_exactly(sock, 2000)

        first = seen("5")
        assert 40 < sum(byte != 0 for byte in first) < 180
        assert seen("5") == first and seen("6") != first


class TestConnectStall:
    def test_connections_are_taken_late(self, server: Api, taps: Taps) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("p", upstream.port, protocol="tcp", tap=True)
            server.toxic("p", "connect_stall", delay=200)
            assert 0.2 <= ping(port) < 0.5
            with connect(port) as sock:
                sock.sendall(b"a")
                sock.recv(1)
                sock.sendall(b"b")
                assert timed(lambda: sock.recv(1)) < 0.1, "only the connect is late"
            calls = taps.calls()
        assert calls[0]["toxics"] == ["t"] and taps.counts("hits") == {"t": 2}

    def test_zero_is_never_until_it_is_removed(self, server: Api) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "connect_stall", delay=0)
            with connect(port) as sock:
                sock.sendall(b"x")
                assert how_it_ends(sock, 0.3)[0] == "open"
                server.ok("DELETE", "/proxies/p/toxics/t")
                sock.settimeout(5)
                assert sock.recv(1) == b"x"

    def test_connections_that_are_open_are_left_alone(self, server: Api) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("p", upstream.port)
            with connect(port) as sock:
                sock.sendall(b"x")
                sock.recv(1)
                server.toxic("p", "connect_stall", delay=0)
                sock.sendall(b"y")
                assert sock.recv(1) == b"y"

    def test_a_caller_that_gives_up_leaves_nothing_behind(self, server: Api) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("p", upstream.port, protocol="http", tap=True)
            server.toxic("p", "connect_stall", delay=0)
            for _ in range(5):
                connect(port).close()
            server.ok("PATCH", "/proxies/p", {"enabled": False})
            eventually(lambda: server.ok("GET", "/chaoskit/proxies/p")["connections"] == [])


class TestFlap:
    def refused(self, port: int) -> bool:
        try:
            connect(port).close()
        except ConnectionRefusedError:
            return True
        return False

    def test_it_goes_down_at_once_and_up_and_down_by_schedule(self, server: Api, taps: Taps) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("p", upstream.port, protocol="tcp", tap=True)
            with connect(port) as sock:
                sock.sendall(b"x")
                sock.recv(1)
                server.toxic("p", "flap", down=300, up=500)
                began = time.monotonic()
                assert self.refused(port)
                assert how_it_ends(sock)[0] == "eof"
            assert server.ok("GET", "/proxies/p")["enabled"] is True
            states = []
            while time.monotonic() - began < 1.7:
                states.append((time.monotonic() - began, self.refused(port)))
                time.sleep(0.02)
            for middle, down in ((0.15, True), (0.55, False), (0.95, True), (1.35, False)):
                near = [refused for at, refused in states if abs(at - middle) < 0.06]
                assert set(near) <= {down}, (middle, states)
            server.ok("DELETE", "/proxies/p/toxics/t")
            eventually(lambda: not self.refused(port))
            time.sleep(0.6)
            assert not self.refused(port)
        closed = [slot["at"] for slot in taps.flush() if slot.get("listening", True) is False]
        assert len(closed) >= 6

    def test_disabled_stays_disabled(self, server: Api) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "flap", down=50, up=50)
            server.ok("PATCH", "/proxies/p", {"enabled": False})
            time.sleep(0.3)
            assert self.refused(port)
            server.ok("POST", "/reset")
            assert ping(port) < 1


def test_a_strict_server_knows_none_of_them() -> None:
    with embedded("--strict") as server:
        server.ok("POST", "/proxies", {"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"})
        for type_ in ("rate", "corrupt", "connect_stall", "flap", "http_error", "http_delay", "truncate"):
            status, answer = server("POST", "/proxies/p/toxics", {"type": type_})
            assert (status, answer["error"]) == (400, "invalid toxic type")
        assert server.raw("GET", "/chaoskit/taps")[0] == 404
