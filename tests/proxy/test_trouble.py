"""Bad input and trouble: never a crash, never a leaked socket, and everybody else is served on."""

from __future__ import annotations

import http.client
import json
import random
import resource
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.proxy.serving import (
    Api,
    Taps,
    Upstream,
    connect,
    echo,
    embedded,
    embedded_process,
    eventually,
    how_it_ends,
    read_all,
    read_exactly,
)

pytestmark = pytest.mark.live

P = {"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}
FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


# ------------------------------------------------------------------------------------------------------------ the API

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "listen", "upstream", "enabled", "toxics", "type", "attributes", "toxicity", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
paths = st.sampled_from(
    [
        "/proxies",
        "/populate",
        "/proxies/p",
        "/proxies/p/toxics",
        "/proxies/p/toxics/t",
        "/reset",
        "/chaoskit/taps/flush",
    ]
)


@FUZZ
@given(st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT"]), paths, json_values | st.binary(max_size=100))
def test_the_api_answers_anything_and_lives(server: Api, method: str, path: str, body: object) -> None:
    server.ok("POST", "/populate", [{**P, "toxics": [{"name": "t", "type": "noop"}]}])
    data = body if isinstance(body, bytes) else json.dumps(body).encode("utf-8", "replace")
    status, _, _ = server.raw(method, path, data)
    assert status in (200, 201, 204, 400, 404, 405, 409, 500)
    assert server("GET", "/version")[0] == 200


@FUZZ
@given(st.binary(max_size=300))
def test_bytes_that_are_no_request_are_refused(server: Api, data: bytes) -> None:
    with connect(server.port) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        how_it_ends(sock)
    assert server("GET", "/version")[0] == 200


def test_a_huge_body_is_refused_and_not_kept(server: Api) -> None:
    with connect(server.port, timeout=30) as sock:
        sock.sendall(b"POST /populate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            for _ in range(1100):
                sock.sendall(block)
            answer = sock.recv(1000)
        except OSError:
            answer = b"HTTP/1.1 413"
        assert answer.startswith(b"HTTP/1.1 413")
    assert server("GET", "/version")[0] == 200


def test_a_large_body_is_read(server: Api) -> None:
    status, answer = server("POST", "/proxies", {**P, "padding": "x" * 5_000_000})
    assert status == 201 and answer["name"] == "p"


def test_requests_may_be_pipelined_and_cut(server: Api) -> None:
    request = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(server.port) as sock:
        for at in range(len(request)):
            sock.sendall(request[at : at + 1])
        sock.sendall(request * 3)
        eventually(lambda: sock.recv(1 << 16, socket.MSG_PEEK).count(b'{"version": "2.12.0"}') == 4)


def test_ten_thousand_proxies(server: Api) -> None:
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = 10_000 if descriptors == resource.RLIM_INFINITY or descriptors > 12_000 else descriptors // 2
    made = server.ok("POST", "/populate", [{**P, "name": f"p{number}"} for number in range(count)])["proxies"]
    assert len({proxy["listen"] for proxy in made}) == count
    assert len(server.ok("GET", "/proxies")) == count
    began = time.monotonic()
    server.ok("POST", "/reset")
    server.ok("DELETE", "/proxies/p17")
    assert time.monotonic() - began < 15


def test_two_at_once_make_one_of_a_name(server: Api) -> None:
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(server("POST", "/proxies", {**P, "listen": "localhost:0"})[0]))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [409] * 19


# --------------------------------------------------------------------------------------------------------- the bytes

toxic = st.one_of(
    st.builds(lambda ms, jitter: ("latency", {"latency": ms, "jitter": jitter}), st.integers(0, 5), st.integers(0, 3)),
    st.builds(lambda rate: ("bandwidth", {"rate": rate}), st.integers(500, 50_000)),
    st.builds(
        lambda size: ("slicer", {"average_size": size, "size_variation": size // 2, "delay": 10}), st.integers(50, 9000)
    ),
    st.builds(lambda rate: ("rate", {"rate": rate}), st.integers(2000, 50_000)),
    st.just(("noop", {})),
    st.builds(lambda delay: ("slow_close", {"delay": delay}), st.integers(0, 20)),
    st.just(("limit_data", {"bytes": 10**9})),
    st.just(("http_error", {"path": "/none"})),
)


@FUZZ
@given(
    st.lists(st.tuples(toxic, st.booleans()), max_size=4),
    st.integers(1, 200_000),
    st.sampled_from([None, "http", "tcp", "redis", "postgres"]),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_no_byte_is_lost_added_or_reordered(
    server: Api,
    toxics: list[tuple[tuple[str, dict[str, int]], bool]],
    size: int,
    protocol: str | None,
    seed: int,
    live: bool,
) -> None:
    server.clear()
    dice = random.Random(seed)
    sent = dice.randbytes(size)
    if dice.random() < 0.5:
        sent = (b"POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\n" + sent)[:size]
    with Upstream(echo) as upstream:
        more = {} if protocol is None else {"protocol": protocol, "tap": True}
        port = server.proxy("p", upstream.port, **more)

        def add() -> None:
            for number, ((type_, attributes), up) in enumerate(toxics):
                server.toxic("p", type_, name=f"t{number}", stream="upstream" if up else "downstream", **attributes)

        if not live:
            add()
        with connect(port, timeout=30) as sock:

            def write() -> None:
                at = 0
                while at < size:
                    step = dice.choice((1, 10, 1000, 70_000))
                    sock.sendall(sent[at : at + step])
                    at += step
                # What looks like half a request is held back by an HTTP toxic until the caller ends.
                if dice.random() < 0.5 or any(type_.startswith("http") for (type_, _), _ in toxics):
                    sock.shutdown(socket.SHUT_WR)

            writer = threading.Thread(target=write)
            writer.start()
            if live:
                add()
                if toxics and dice.random() < 0.5:
                    server.ok("DELETE", "/proxies/p/toxics/t0")
            received = read_exactly(sock, size)
            writer.join()
        assert received == sent


@FUZZ
@given(
    st.lists(st.binary(min_size=1, max_size=80), max_size=5), st.lists(st.binary(min_size=1, max_size=80), max_size=5)
)
def test_no_bytes_upset_the_tap(server: Api, up: list[bytes], down: list[bytes]) -> None:
    server.clear()

    def handle(sock: socket.socket) -> None:
        for data in down:
            sock.sendall(data)
        read_all(sock)

    with Upstream(handle) as upstream:
        for number, protocol in enumerate(("http", "postgres", "redis")):
            port = server.proxy(f"p{number}", upstream.port, protocol=protocol, tap=True)
            server.toxic(f"p{number}", "http_delay", delay=1)
            with connect(port) as sock:
                for data in up:
                    sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                assert how_it_ends(sock)[1] == b"".join(down)


# ------------------------------------------------------------------------------------------------------------- leaks


def test_no_descriptor_and_no_memory_is_left_behind() -> None:
    with Upstream(echo) as upstream, embedded_process() as (server, process), Taps(server):
        port = server.proxy("p", upstream.port, protocol="tcp", tap=True)
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            free = nobody.getsockname()[1]
        dead = server.proxy("dead", free, protocol="http", tap=True)

        def round_(number: int) -> None:
            types = [
                ("latency", {"latency": 3}),
                ("timeout", {"timeout": 5}),
                ("reset_peer", {"timeout": 1}),
                ("limit_data", {"bytes": 2}),
                ("connect_stall", {"delay": 2}),
                ("slow_close", {"delay": 3}),
            ]
            type_, attributes = types[number % len(types)]
            server.toxic("p", type_, **attributes)
            for turn in range(20):
                sock = connect(port)
                sock.sendall(b"12345")
                if turn % 3 == 0:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                elif turn % 3 == 1:
                    how_it_ends(sock, 0.02)
                sock.close()
                connect(dead).close()
            server.ok("DELETE", "/proxies/p/toxics/t")

        for number in range(6):
            round_(number)
        eventually(lambda: not server.ok("GET", "/chaoskit/proxies/p")["connections"])
        before, memory = descriptors(process.pid), resident_mb(process.pid)
        for number in range(30):
            round_(number)
        eventually(lambda: not server.ok("GET", "/chaoskit/proxies/p")["connections"])
        eventually(lambda: not server.ok("GET", "/chaoskit/proxies/dead")["connections"])
        eventually(lambda: descriptors(process.pid) <= before + 1)
        assert resident_mb(process.pid) < memory + 15


def test_a_reader_that_does_not_read_is_waited_for_and_not_buffered() -> None:
    sent = threading.Event()

    def pour(sock: socket.socket) -> None:
        block = b"x" * (1 << 20)
        for _ in range(300):
            sock.sendall(block)
        sent.set()

    with Upstream(pour) as upstream, embedded_process() as (server, process):
        for number, toxics in enumerate(([], [("bandwidth", {"rate": 10**6})], [("rate", {"rate": 10**6})])):
            port = server.proxy(f"p{number}", upstream.port, protocol="http", tap=True)
            for type_, attributes in toxics:
                server.toxic(f"p{number}", type_, **attributes)
            sent.clear()
            with connect(port) as sock:
                time.sleep(0.7)
                assert not sent.is_set()
                assert resident_mb(process.pid) < 120
                sock.settimeout(30)
                assert read_exactly(sock, 50 << 20) == b"x" * (50 << 20)


def test_latency_holds_back_a_bounded_amount() -> None:
    def pour(sock: socket.socket) -> None:
        while True:
            sock.sendall(b"x" * (1 << 20))

    with Upstream(pour) as upstream, embedded_process() as (server, process):
        port = server.proxy("p", upstream.port)
        server.toxic("p", "latency", latency=60_000)
        with connect(port):
            time.sleep(1.0)
            held = server.ok("GET", "/chaoskit/proxies/p")["connections"][0]["held"]
            assert 20 << 20 < held < 40 << 20
            assert resident_mb(process.pid) < 150


# -------------------------------------------------------------------------------------------------------- the server


def test_many_connections_are_held_and_served() -> None:
    with Upstream(echo) as upstream, embedded_process() as (server, _):
        port = server.proxy("p", upstream.port, protocol="tcp", tap=True)
        socks = [connect(port) for _ in range(300)]
        try:
            for sock in socks:
                sock.sendall(b"ping")
            assert all(read_exactly(sock, 4) == b"ping" for sock in socks)
            assert len(server.ok("GET", "/chaoskit/proxies/p")["connections"]) == 300
        finally:
            for sock in socks:
                sock.close()


def test_a_stream_of_taps_beats_ten_times_a_second(server: Api) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", "/chaoskit/taps")
    answer = connection.getresponse()
    beats = []
    for _ in range(12):
        assert answer.readline() == b"{}\n"
        beats.append(time.monotonic())
    connection.close()
    assert 0.95 <= beats[-1] - beats[0] <= 1.6


def test_a_server_that_is_killed_is_noticed_by_whoever_reads_its_taps() -> None:
    with embedded_process() as (server, process), Taps(server) as taps:
        process.send_signal(signal.SIGKILL)
        assert taps.ended.wait(2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_within_a_second(number: int) -> None:
    with Upstream(echo) as upstream, embedded() as server:
        port = server.proxy("p", upstream.port, protocol="http", tap=True)
        server.toxic("p", "latency", latency=60_000)
    with Upstream(echo) as upstream, embedded_process() as (server, process):
        port = server.proxy("p", upstream.port, protocol="http", tap=True)
        server.toxic("p", "latency", latency=60_000)
        with connect(port) as sock, Taps(server):
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            time.sleep(0.05)
            began = time.monotonic()
            process.send_signal(number)
            assert process.wait(5) == 0 and time.monotonic() - began < 1.5
