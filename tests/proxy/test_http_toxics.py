"""Toxics on whole calls: those that are hit, and that their neighbours on the same connection are not touched."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from tests.proxy.serving import Api, Taps, Upstream, connect, embedded, eventually, how_it_ends, read_exactly

pytestmark = pytest.mark.live


class Web:
    """An HTTP upstream that echoes method, path and body, chunked for paths with `chunked`; counts what it saw."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def __call__(self, sock: socket.socket) -> None:
        lines = sock.makefile("rb")
        while line := lines.readline():
            length, chunked = 0, False
            while (header := lines.readline().strip().lower()) != b"":
                if header.startswith(b"content-length:"):
                    length = int(header.partition(b":")[2])
                chunked = chunked or header == b"transfer-encoding: chunked"
            body = lines.read(length)
            while chunked and (size := int(lines.readline(), 16)):
                body += lines.read(size)
                lines.readline()
            if chunked:
                lines.readline()
            words = line.split()
            self.seen.append(words[1])
            answer = b" ".join(words[:2]) + b" " + body
            if b"chunked" in words[1]:
                half = len(answer) // 2
                parts = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (answer[:half], answer[half:]))
                sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n")
            else:
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer)
                sock.sendall(head + (b"" if words[0] == b"HEAD" else answer))


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture(params=[True, False], ids=["tapped", "untapped"])
def port(server: Api, web: Web, request: pytest.FixtureRequest) -> Iterator[int]:
    with Upstream(web) as upstream:
        more = {"protocol": "http", "tap": True} if request.param else {}
        yield server.proxy("p", upstream.port, **more)


class Client:
    """Keep-alive; says how each call ended."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def __call__(
        self, path: str = "/x", method: str = "GET", body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        self.connection.request(method, path, body, headers or {})  # type: ignore[arg-type]  # bytes or an iterable
        answer = self.connection.getresponse()
        self.headers = {k.lower(): v for k, v in answer.getheaders()}
        return answer.status, answer.read()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


class TestHttpError:
    def test_a_call_is_answered_in_the_callees_place(self, server: Api, port: int, web: Web) -> None:
        server.toxic("p", "http_error", status=429, body='{"slow": "down"}', headers={"Retry-After": "3"})
        with Client(port) as call:
            for _ in range(3):
                assert call() == (429, b'{"slow": "down"}')
                assert call.headers["retry-after"] == "3" and call.headers["x-chaoskit-toxic"] == "t"
            local = call.connection.sock.getsockname()
            server.ok("DELETE", "/proxies/p/toxics/t")
            assert call("/y") == (200, b"GET /y ")
            assert call.connection.sock.getsockname() == local, "the connection was kept"
        assert web.seen == [b"/y"]

    def test_it_acts_on_connections_that_are_open(self, server: Api, port: int) -> None:
        with Client(port) as call:
            assert call()[0] == 200
            server.toxic("p", "http_error")
            assert call() == (503, b"")
            server.ok("PATCH", "/proxies/p/toxics/t", {"attributes": {"status": 500}})
            assert call()[0] == 500

    @pytest.mark.parametrize(
        ("match", "hit"),
        [
            ({"method": "post"}, [False, True, False, False]),
            ({"path": "/charge*"}, [False, True, True, False]),
            ({"path": "/charge*", "method": "GET"}, [False, False, True, False]),
            ({"header": "X-Tenant"}, [True, False, True, False]),
            ({"header": "x-tenant: a*"}, [True, False, False, False]),
            ({"path": "/none"}, [False] * 4),
        ],
    )
    def test_only_calls_that_match(self, server: Api, port: int, match: dict[str, str], hit: list[bool]) -> None:
        server.toxic("p", "http_error", **match)
        calls = [
            ("/x?charge", "GET", {"X-Tenant": "acme"}),
            ("/charge", "POST", {}),
            ("/charges/1?a=b", "GET", {"X-Tenant": "bolt"}),
            ("/", "DELETE", {}),
        ]
        with Client(port) as call:
            assert [call(path, method, headers=headers)[0] == 503 for path, method, headers in calls] == hit

    def test_the_first_so_many_and_then_no_more(self, server: Api, port: int) -> None:
        server.toxic("p", "http_error", first=3, method="GET")
        found = []
        for _ in range(3):
            with Client(port) as call:
                found += [call(method="POST")[0], call()[0], call()[0]]
        assert found == [200, 503, 503, 200, 503, 200, 200, 200, 200]

    def test_a_share_of_them_the_same_for_the_same_seed(self) -> None:
        def hits(seed: str) -> list[bool]:
            with Upstream(Web()) as upstream, embedded("--seed", seed) as server:
                port = server.proxy("p", upstream.port, protocol="http", tap=True)
                server.toxic("p", "http_error", percentage=30)
                with Client(port) as call:
                    return [call()[0] == 503 for _ in range(300)]

        first = hits("1")
        assert 60 <= sum(first) <= 120
        assert hits("1") == first and hits("2") != first

    def test_bodies_of_requests_that_are_hit_do_not_leak_into_the_next(self, server: Api, port: int, web: Web) -> None:
        server.toxic("p", "http_error", path="/hit")
        with Client(port) as call:
            for body in (b"x" * 200_000, iter([b"GET /evil HTTP/1.1\r\n\r\n", b"y" * 10_000])):
                assert call("/hit", "POST", body)[0] == 503
                assert call("/miss", "POST", b"mine") == (200, b"POST /miss mine")
        assert web.seen == [b"/miss"] * 2

    def test_chunked_messages_that_are_not_hit_are_untouched(self, server: Api, port: int) -> None:
        server.toxic("p", "http_error", path="/hit")
        with Client(port) as call:
            for _ in range(3):
                assert call("/chunked", "POST", iter([b"abc", b"def"])) == (200, b"POST /chunked abcdef")
                assert call("/hit")[0] == 503

    def test_pipelined_calls_are_answered_in_their_order(self, server: Api, port: int) -> None:
        server.toxic("p", "http_error", path="/hit", status=500)
        paths = [b"/a", b"/hit", b"/b", b"/hit", b"/hit", b"/chunked"]
        with connect(port) as sock:
            sock.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % path for path in paths))
            eventually(lambda: sock.recv(1 << 16, socket.MSG_PEEK).endswith(b"0\r\n\r\n"))
            found = [int(part[:3]) for part in sock.recv(1 << 16).split(b"HTTP/1.1 ")[1:]]
            assert found == [200, 500, 200, 500, 500, 200]

    def test_byte_by_byte_it_is_the_same(self, server: Api, port: int) -> None:
        server.toxic("p", "http_error", path="/hit", status=500, body="no")
        with connect(port) as sock:
            for byte in b"POST /hit HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /ok HTTP/1.1\r\n\r\n":
                sock.sendall(bytes([byte]))
            eventually(lambda: sock.recv(1 << 16, socket.MSG_PEEK).endswith(b"GET /ok "))
            text = sock.recv(1 << 16)
        assert text.startswith(b"HTTP/1.1 500") and text.count(b"HTTP/1.1") == 2

    def test_an_answer_to_head_has_no_body(self, server: Api, port: int) -> None:
        server.toxic("p", "http_error", body="words")
        with Client(port) as call:
            assert call(method="HEAD") == (503, b"")
            assert call.headers["content-length"] == "5"
            assert call() == (503, b"words")

    def test_who_asks_for_a_close_gets_one(self, server: Api, port: int) -> None:
        server.toxic("p", "http_error")
        for request in (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
            with connect(port) as sock:
                sock.sendall(request)
                how, data = how_it_ends(sock)
                assert how == "eof" and data.startswith(b"HTTP/1.1 503") and b"Connection: close" in data

    def test_who_waits_for_continue_is_answered_at_once(self, server: Api, port: int) -> None:
        server.toxic("p", "http_error")
        with connect(port) as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            how, data = how_it_ends(sock)
            assert how == "eof" and data.startswith(b"HTTP/1.1 503")

    def test_headers_cannot_break_out(self, server: Api, port: int) -> None:
        server.toxic("p", "http_error", headers={"X-A": "1\r\nX-B: 2", "Content-Length": "99"}, body="ok")
        with Client(port) as call:
            assert call() == (503, b"ok")
            assert call.headers["x-a"] == "1  X-B: 2" and "x-b" not in call.headers

    def test_latency_delays_these_answers_too(self, server: Api, port: int) -> None:
        server.toxic("p", "latency", name="slow", latency=100)
        server.toxic("p", "http_error")
        with Client(port) as call:
            began = time.monotonic()
            assert call()[0] == 503
            assert time.monotonic() - began >= 0.1

    def test_a_call_in_flight_when_it_comes_is_answered_by_its_callee(self, server: Api) -> None:
        def slow(sock: socket.socket) -> None:
            while sock.recv(65536):
                time.sleep(0.2)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        with Upstream(slow) as upstream:
            port = server.proxy("p", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                get = b"GET / HTTP/1.1\r\n\r\n"
                sock.sendall(get)
                time.sleep(0.05)
                server.toxic("p", "http_error", status=500)
                sock.sendall(get)
                eventually(lambda: sock.recv(1 << 16, socket.MSG_PEEK).count(b"HTTP/1.1") == 2)
                text = sock.recv(1 << 16)
        assert text.startswith(b"HTTP/1.1 200") and b"HTTP/1.1 500" in text

    def test_half_a_request_when_it_comes_goes_its_way_whole(self, server: Api, port: int, web: Web) -> None:
        with Client(port) as call, connect(port) as sock:
            assert call()[0] == 200
            sock.sendall(b"POST /half HTTP/1.1\r\nContent-Le")
            time.sleep(0.1)
            server.toxic("p", "http_error", path="/hit")
            sock.sendall(b"ngth: 3\r\n\r\nabc")
            eventually(lambda: sock.recv(1 << 16, socket.MSG_PEEK).endswith(b"POST /half abc"))

    def test_the_callee_being_down_does_not_matter_once_connected(self, server: Api, taps: Taps) -> None:
        with Upstream(Web()) as upstream:
            port = server.proxy("q", upstream.port, protocol="http", tap=True)
            server.toxic("q", "http_error", status=418)
            with Client(port) as call:
                assert call("/tea")[0] == 418
            (told,) = taps.calls()
            assert (told["status"], told["toxics"], told["path"]) == (418, ["t"], "/tea")
            assert taps.counts("statuses") == {"418": 1} and taps.counts("hits") == {"t": 1}


class TestHttpDelay:
    def test_calls_that_match_wait_before_they_go(self, server: Api, port: int, web: Web) -> None:
        server.toxic("p", "http_delay", delay=200, path="/slow")
        with Client(port) as call:
            for path, least, most in (("/fast", 0.0, 0.15), ("/slow", 0.2, 0.5), ("/fast", 0.0, 0.15)):
                began = time.monotonic()
                assert call(path, "POST", b"body") == (200, b"POST %s body" % path.encode())
                assert least <= time.monotonic() - began < most

    def test_jitter_spreads_it(self, server: Api, port: int) -> None:
        server.toxic("p", "http_delay", delay=50, jitter=45)
        with Client(port) as call:
            took = []
            for _ in range(20):
                began = time.monotonic()
                call()
                took.append(time.monotonic() - began)
        assert 0.005 <= min(took) < 0.04 and max(took) > 0.06

    def test_a_delayed_error_comes_late(self, server: Api, port: int) -> None:
        server.toxic("p", "http_delay", name="d", delay=150)
        server.toxic("p", "http_error", name="e")
        with Client(port) as call:
            for body in (None, b"x" * 1000):
                began = time.monotonic()
                assert call("/", "POST", body)[0] == 503
                assert time.monotonic() - began >= 0.15

    def test_a_caller_that_gives_up_meanwhile_leaves_nothing_behind(self, server: Api, web: Web) -> None:
        with Upstream(web) as upstream:
            port = server.proxy("p", upstream.port, protocol="http", tap=True)
            server.toxic("p", "http_delay", delay=400)
            with connect(port) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                time.sleep(0.05)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            eventually(lambda: server.ok("GET", "/chaoskit/proxies/p")["connections"] == [])
            time.sleep(0.5)
            assert web.seen == []


class TestTruncate:
    def test_the_body_is_cut_and_the_connection_closed(self, server: Api, port: int) -> None:
        server.toxic("p", "truncate", bytes=5, path="/cut*")
        with connect(port) as sock:
            sock.sendall(b"GET /whole HTTP/1.1\r\n\r\nGET /cut/me HTTP/1.1\r\n\r\n")
            how, data = how_it_ends(sock)
        assert how == "eof"
        assert data.count(b"HTTP/1.1 200") == 2 and b"GET /whole " in data
        assert data.endswith(b"\r\n\r\nGET /")

    @pytest.mark.parametrize(("limit", "whole"), [(7, True), (6, False), (0, False)])
    def test_a_body_that_fits_is_whole(self, server: Api, port: int, limit: int, whole: bool) -> None:
        server.toxic("p", "truncate", bytes=limit)
        with connect(port) as sock:
            sock.sendall(b"GET /x HTTP/1.1\r\n\r\n")
            how, data = how_it_ends(sock, 0.4)
        assert how == ("open" if whole else "eof")
        assert data.partition(b"\r\n\r\n")[2] == b"GET /x "[:limit]

    def test_chunked_bodies_are_cut_by_their_data(self, server: Api, port: int) -> None:
        server.toxic("p", "truncate", bytes=8)
        with connect(port) as sock:
            sock.sendall(b"GET /chunked HTTP/1.1\r\n\r\n")
            how, data = how_it_ends(sock)
        assert how == "eof" and data.endswith(b"\r\n6\r\nGET /c\r\n7\r\nhu")

    def test_the_tap_says_cut(self, server: Api, taps: Taps, web: Web) -> None:
        with Upstream(web) as upstream:
            port = server.proxy("q", upstream.port, protocol="http", tap=True)
            server.toxic("q", "truncate", bytes=1)
            with connect(port) as sock:
                sock.sendall(b"GET /x HTTP/1.1\r\n\r\n")
                how_it_ends(sock)
            eventually(lambda: taps.so_far("closed") == 1)
            (call,) = taps.calls()
        assert (call["outcome"], call["status"], call["toxics"]) == ("cut", 200, ["t"])


class TestCorruptBodies:
    def test_only_bodies_are_spoilt(self, server: Api, port: int) -> None:
        server.toxic("p", "corrupt", probability=1, only_bodies=True)
        with Client(port) as call:
            for path in ("/x", "/chunked"):
                status, body = call(path)
                clean = b"GET %s " % path.encode()
                assert status == 200 and len(body) == len(clean)
                assert all((a ^ b).bit_count() == 1 for a, b in zip(body, clean, strict=True))
            server.ok("DELETE", "/proxies/p/toxics/t")
            assert call() == (200, b"GET /x ")


def test_what_is_not_http_passes_the_gate_as_it_is(server: Api) -> None:
    def echo_upper(sock: socket.socket) -> None:
        while data := sock.recv(65536):
            sock.sendall(data.upper())

    with Upstream(echo_upper) as upstream:
        for more in ({"protocol": "http", "tap": True}, {}):
            port = server.proxy("p", upstream.port, **more)
            with connect(port) as sock:
                sock.sendall(b"\0ping")
                assert read_exactly(sock, 5) == b"\0PING"
                server.toxic("p", "http_error")
                sock.sendall(b"\0pong")
                assert read_exactly(sock, 5) == b"\0PONG"
            with connect(port) as sock:
                sock.sendall(b"\x16\x03tls")
                assert read_exactly(sock, 5) == b"\x16\x03TLS"
            server.ok("DELETE", "/proxies/p")
