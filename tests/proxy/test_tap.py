"""What the tap sees of calls: HTTP in all its shapes, turns of other protocols, ends of every kind, slots, sampling."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable

import pytest

from chaoskit.model.histogram import Histogram
from chaoskit.model.observation import SLOT, TapSlot, slot_start
from chaoskit.proxy.meter import HttpMeter, TurnMeter
from chaoskit.proxy.tap import Call, Hub, Tap
from chaoskit.proxy.tap_stream import read_taps
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

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
GET = f"GET /a?b=c HTTP/1.1\r\nHost: h\r\ntraceparent: 00-{TRACE}-{SPAN}-01\r\n\r\n".encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answering(*answers: bytes) -> Callable[[socket.socket], None]:
    """An upstream that gives one answer for each head (or body end) that it reads, then waits for the end."""

    def handle(sock: socket.socket) -> None:
        for answer in answers:
            seen = b""
            while b"\r\n\r\n" not in seen:
                data = sock.recv(65536)
                if not data:
                    return
                seen += data
            sock.sendall(answer)
        read_all(sock)

    return handle


class TestHttp:
    def test_the_token_in_a_query_crosses_and_is_not_told(self, server: Api, taps: Taps) -> None:
        crossed: list[bytes] = []

        def handle(sock: socket.socket) -> None:
            crossed.append(sock.recv(65536))
            sock.sendall(OK)

        with Upstream(handle) as upstream:
            port = server.proxy("a->b", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                sock.sendall(GET.replace(b"b=c", b"token=s3cret&b=c"))
                read_exactly(sock, len(OK))
                (call,) = taps.calls()
        assert crossed[0].startswith(b"GET /a?token=s3cret&b=c ")
        assert "s3cret" not in call["path"]
        assert call["path"].startswith("/a?token=(hidden-") and call["path"].endswith(")&b=c")

    def test_a_call_is_told_with_all_that_its_head_says(self, server: Api, taps: Taps) -> None:
        with Upstream(answering(OK, OK)) as upstream:
            port = server.proxy("a->b", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                before = time.monotonic()
                sock.sendall(GET)
                read_exactly(sock, len(OK))
                after = time.monotonic()
                sock.sendall(b"POST /x HTTP/1.1\r\nHost: h\r\nidempotency-KEY: 1\r\n\r\n")
                read_exactly(sock, len(OK))
                first, second = taps.calls()
        assert before <= first.pop("start") <= first.pop("end") <= after + 0.005
        assert first == {
            "method": "GET",
            "path": "/a?b=c",
            "status": 200,
            "trace_id": TRACE,
            "span_id": SPAN,
            "connection": 1,
            "first": True,
            "bytes_up": len(GET),
            "bytes_down": len(OK),
        }
        assert (second["method"], second["path"], second["key"]) == ("POST", "/x", True)
        assert "first" not in second and "trace_id" not in second

    def test_counts_add_up(self, server: Api, taps: Taps) -> None:
        with Upstream(answering(*[OK] * 5)) as upstream:
            port = server.proxy("a->b", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                for _ in range(5):
                    sock.sendall(GET)
                    read_exactly(sock, len(OK))
            eventually(lambda: taps.so_far("closed") == 1)
            assert {field: taps.total(field) for field in ("opened", "closed", "cut", "started", "ended")} == {
                "opened": 1,
                "closed": 1,
                "cut": 0,
                "started": 5,
                "ended": 5,
            }
            assert taps.counts("statuses") == {"200": 5} and taps.counts("outcomes") == {"answered": 5}
            assert taps.total("bytes_up") == 5 * len(GET) and taps.total("bytes_down") == 5 * len(OK)

    def test_slots_lie_on_the_grid_and_only_where_something_happened(self, server: Api) -> None:
        slots: list[TapSlot] = []
        stop, ready = threading.Event(), threading.Event()
        from chaoskit.proxy.client import Toxiproxy

        reader = threading.Thread(target=read_taps, args=(Toxiproxy(server.url), slots.append, stop, ready))
        reader.start()
        assert ready.wait(5)
        with Upstream(answering(OK, OK)) as upstream:
            port = server.proxy("a->b", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                sock.sendall(GET)
                read_exactly(sock, len(OK))
                time.sleep(0.35)
                began = time.monotonic()
                sock.sendall(GET)
                read_exactly(sock, len(OK))
                stop.set()
                reader.join(5)
        busy = [slot for slot in slots if slot.started]
        assert len(busy) == 2
        assert all(slot.at == slot_start(slot.at + 0.05) and slot.source == "tap" for slot in slots)
        assert busy[1].at <= began < busy[1].at + 2 * SLOT
        assert len({slot.at for slot in slots}) <= 4
        merged = Histogram.merged(slot.took for slot in slots)
        assert merged.total == 2
        call = busy[1].calls[0]
        assert call.end is not None and merged.quantile(1.0) < 1

    def test_half_a_request_waits_and_a_long_body_is_counted(self, server: Api, taps: Taps) -> None:
        with Upstream(answering(OK)) as upstream:
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                head = b"POST /upload HTTP/1.1\r\nContent-Length: 100000\r\n\r\n"
                sock.sendall(head[:10])
                time.sleep(0.15)
                sock.sendall(head[10:])
                sock.sendall(b"x" * 100_000)
                read_exactly(sock, len(OK))
                (call,) = taps.calls()
        assert call["end"] - call["start"] >= 0.15
        assert call["bytes_up"] >= len(head) and call["status"] == 200

    def test_chunked_answers_end_with_their_last_chunk(self, server: Api, taps: Taps) -> None:
        def handle(sock: socket.socket) -> None:
            sock.recv(65536)
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            time.sleep(0.15)
            sock.sendall(b"0\r\n\r\n")
            sock.recv(65536)
            sock.sendall(OK)
            read_all(sock)

        with Upstream(handle) as upstream:
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                sock.sendall(GET)
                eventually(lambda: read_exactly(sock, 1) == b"\n" and read_exactly(sock, 0) == b"")
                time.sleep(0.3)
                sock.sendall(GET)
                time.sleep(0.1)
                first, second = taps.calls()
        assert first["end"] - first["start"] >= 0.15 and second["status"] == 200

    @pytest.mark.parametrize(
        ("request_", "answer"),
        [
            (b"HEAD / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
            (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
            (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
            (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK),
        ],
    )
    def test_answers_without_a_body_and_interim_ones(
        self, server: Api, taps: Taps, request_: bytes, answer: bytes
    ) -> None:
        with Upstream(answering(answer, OK)) as upstream:
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                sock.sendall(request_)
                read_exactly(sock, len(answer))
                sock.sendall(GET)
                read_exactly(sock, len(OK))
                first, second = taps.calls()
        assert first["bytes_down"] == len(answer) and first["status"] != 103 and second["status"] == 200

    def test_a_caller_that_waits_for_continue_makes_one_call(self, server: Api, taps: Taps) -> None:
        def handle(sock: socket.socket) -> None:
            sock.recv(65536)
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            read_exactly(sock, 4)
            sock.sendall(OK)
            read_all(sock)

        with Upstream(handle) as upstream:
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                sock.sendall(b"PUT / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
                assert sock.recv(100).startswith(b"HTTP/1.1 100")
                sock.sendall(b"body")
                read_exactly(sock, len(OK))
                (call,) = taps.calls()
        assert (call["method"], call["status"]) == ("PUT", 200)

    def test_pipelined_calls_keep_their_answers(self, server: Api, taps: Taps) -> None:
        def handle(sock: socket.socket) -> None:
            read_exactly(sock, 3 * len(GET))
            for status in (200, 404, 503):
                sock.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % status)
            read_all(sock)

        with Upstream(handle) as upstream:
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                sock.sendall(GET * 3)
                read_exactly(sock, 3 * (len(OK) - 1))
                eventually(lambda: taps.so_far("ended") == 3)
                assert [call["status"] for call in taps.calls()] == [200, 404, 503]

    def test_an_answer_until_the_end_is_answered_by_the_end(self, server: Api, taps: Taps) -> None:
        def handle(sock: socket.socket) -> None:
            sock.recv(65536)
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nsome")
            time.sleep(0.1)

        with Upstream(handle) as upstream:
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                sock.sendall(GET)
                read_all(sock)
            eventually(lambda: taps.so_far("closed") == 1)
            (call,) = taps.calls()
        assert call.get("outcome", "answered") == "answered" and call["end"] - call["start"] >= 0.1

    def test_an_upgrade_is_one_call_and_then_bytes(self, server: Api, taps: Taps) -> None:
        def handle(sock: socket.socket) -> None:
            sock.recv(65536)
            sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
            echo(sock)

        with Upstream(handle) as upstream:
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                sock.sendall(b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
                sock.recv(1000)
                sock.sendall(b"GET /looks-like-one HTTP/1.1\r\n\r\n")
                sock.recv(1000)
                (call,) = taps.calls()
        assert call["status"] == 101 and call.get("outcome", "answered") == "answered"

    def test_what_is_not_http_is_only_bytes(self, server: Api, taps: Taps) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                sock.sendall(b"\x16\x03\x01tls or so")
                sock.recv(1000)
                assert taps.calls() == [] and taps.total("bytes_up") == 12 and taps.total("started") == 0


class TestEnds:
    def one(
        self, server: Api, handle: Callable[[socket.socket], None], act: Callable[[Api, socket.socket], None]
    ) -> dict:  # type: ignore[type-arg]  # JSON
        with Taps(server) as taps, Upstream(handle) as upstream:
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                sock.sendall(GET)
                act(server, sock)
            eventually(lambda: taps.so_far("closed") == 1)
            (call,) = taps.calls()
            call["cut_connections"] = taps.total("cut")
            return call

    def test_a_callee_that_closes_first_cuts_it(self, server: Api) -> None:
        call = self.one(server, lambda sock: sock.recv(100) and None, lambda _, sock: how_it_ends(sock) and None)  # type: ignore[func-returns-value]  # run for what it does
        assert (call["outcome"], call.get("status"), call["cut_connections"]) == ("cut", None, 1)

    def test_a_callee_that_breaks_off_cuts_it_with_its_status(self, server: Api) -> None:
        def handle(sock: socket.socket) -> None:
            sock.recv(100)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

        call = self.one(server, handle, lambda _, sock: how_it_ends(sock) and None)  # type: ignore[func-returns-value]  # run for what it does
        assert (call["outcome"], call["status"]) == ("cut", 200)

    def test_a_caller_that_hangs_up_abandons_it_at_that_moment(self, server: Api) -> None:
        def give_up(_: Api, sock: socket.socket) -> None:
            time.sleep(0.2)
            sock.close()

        call = self.one(server, lambda sock: time.sleep(0.6), give_up)
        assert (call["outcome"], call["cut_connections"]) == ("abandoned", 0)
        assert 0.19 <= call["end"] - call["start"] < 0.5

    def test_a_callee_that_is_down_cuts_what_was_asked(self, server: Api, taps: Taps) -> None:
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            free = nobody.getsockname()[1]
        port = server.proxy("e", free, protocol="http", tap=True)
        for _ in range(5):
            with connect(port) as sock:
                sock.sendall(GET)
                how_it_ends(sock)
        eventually(lambda: taps.so_far("closed") == 5)
        assert taps.total("cut") == 5
        assert all(call["outcome"] == "cut" and call["path"] == "/a?b=c" for call in taps.calls())

    def test_a_partition_cuts_what_is_open(self, server: Api) -> None:
        def partition(api: Api, sock: socket.socket) -> None:
            time.sleep(0.05)
            api.ok("PATCH", "/proxies/e", {"enabled": False})
            how_it_ends(sock)

        call = self.one(server, lambda sock: time.sleep(0.3), partition)
        assert (call["outcome"], call["cut_connections"]) == ("cut", 1)

    def test_what_nothing_ended_is_open_at_the_end(self) -> None:
        with Upstream(lambda sock: time.sleep(1)) as upstream, embedded() as server, Taps(server) as taps:
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                sock.sendall(GET)
                time.sleep(0.1)
                (call,) = taps.calls()
                assert call["outcome"] == "open" and "end" not in call

    def test_a_server_that_ends_says_what_was_open(self) -> None:
        with (
            Upstream(lambda sock: time.sleep(1)) as upstream,
            embedded_process() as (server, process),
            Taps(server) as taps,
            connect(server.proxy("e", upstream.port, protocol="http", tap=True)) as sock,
        ):
            sock.sendall(GET)
            time.sleep(0.15)
            process.terminate()
            assert taps.ended.wait(5)
        assert [call["outcome"] for slot in taps.slots for call in slot.get("calls", ())] == ["open"]


class TestListening:
    def test_a_closed_listener_is_said_in_every_slot(self, server: Api, taps: Taps) -> None:
        server.proxy("e", 9, protocol="http", tap=True)
        time.sleep(0.25)
        before = len(taps.flush())
        server.ok("PATCH", "/proxies/e", {"enabled": False})
        began = time.monotonic()
        time.sleep(0.5)
        server.ok("PATCH", "/proxies/e", {"enabled": True})
        ended = time.monotonic()
        time.sleep(0.3)
        slots = taps.flush()[before:]
        closed = sorted({slot["at"] for slot in slots if slot.get("listening", True) is False})
        assert closed[0] <= began and closed[-1] <= ended < closed[-1] + 2 * SLOT
        assert len(closed) >= 5 and all(round(b - a, 3) == SLOT for a, b in itertools.pairwise(closed))
        assert not [slot for slot in slots if slot["at"] > closed[-1] + SLOT]


class TestToxics:
    def test_they_are_named_on_the_calls_that_they_acted_on(self, server: Api, taps: Taps) -> None:
        with Upstream(answering(*[OK] * 4)) as upstream:
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                for toxics in ((), ("slow",), ("slow", "narrow"), ()):
                    for name in toxics:
                        type_, attributes = (
                            ("latency", {"latency": 5}) if name == "slow" else ("bandwidth", {"rate": 50})
                        )
                        server.toxic("e", type_, name=name, **attributes)
                    sock.sendall(GET)
                    read_exactly(sock, len(OK))
                    for name in toxics:
                        server.ok("DELETE", f"/proxies/e/toxics/{name}")
            calls = taps.calls()
        assert [call.get("toxics", []) for call in calls] == [[], ["slow"], ["slow", "narrow"], []]
        assert taps.counts("hits") == {"slow": 2, "narrow": 1}

    def test_a_toxic_without_effect_is_not_named(self, server: Api, taps: Taps) -> None:
        with Upstream(answering(OK)) as upstream:
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            server.toxic("e", "noop", name="a")
            server.toxic("e", "latency", name="b", toxicity=0, latency=50)
            server.toxic("e", "limit_data", name="c", bytes=10_000)
            with connect(port) as sock:
                sock.sendall(GET)
                read_exactly(sock, len(OK))
            (call,) = taps.calls()
        assert "toxics" not in call and taps.counts("hits") == {}

    @pytest.mark.parametrize(
        ("type_", "attributes", "outcome"),
        [
            ("timeout", {"timeout": 50}, "cut"),
            ("reset_peer", {"timeout": 5}, "cut"),
            ("limit_data", {"bytes": 5}, "cut"),
        ],
    )
    def test_those_that_end_connections_cut_the_call(
        self, server: Api, taps: Taps, type_: str, attributes: dict[str, int], outcome: str
    ) -> None:
        with Upstream(answering(OK)) as upstream:
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            server.toxic("e", type_, **attributes)
            with connect(port) as sock:
                sock.sendall(GET)
                how_it_ends(sock)
            eventually(lambda: taps.so_far("closed") == 1)
            (call,) = taps.calls()
        assert (call["outcome"], call["toxics"], taps.total("cut")) == (outcome, ["t"], 1)

    def test_a_black_hole_leaves_the_caller_to_give_up(self, server: Api, taps: Taps) -> None:
        with Upstream(answering(OK)) as upstream:
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            server.toxic("e", "timeout", timeout=0)
            with connect(port) as sock:
                sock.sendall(GET)
                assert how_it_ends(sock, 0.2)[0] == "open"
            eventually(lambda: taps.so_far("closed") == 1)
            (call,) = taps.calls()
        assert (call["outcome"], call["toxics"]) == ("abandoned", ["t"])


class TestTurns:
    @pytest.mark.parametrize("protocol", ["tcp", "postgres", "redis"])
    def test_a_turn_is_what_the_caller_says_and_the_answer(self, server: Api, taps: Taps, protocol: str) -> None:
        def handle(sock: socket.socket) -> None:
            while sock.recv(65536):
                time.sleep(0.05)
                sock.sendall(b"an")
                time.sleep(0.05)
                sock.sendall(b"swer")

        with Upstream(handle) as upstream:
            port = server.proxy("e", upstream.port, protocol=protocol, tap=True)
            with connect(port) as sock:
                for _ in range(3):
                    sock.sendall(b"ask")
                    assert read_exactly(sock, 6) == b"answer"
            eventually(lambda: taps.so_far("closed") == 1)
            calls = taps.calls()
        assert [(call["bytes_up"], call["bytes_down"]) for call in calls] == [(3, 6)] * 3
        assert all(0.095 <= call["end"] - call["start"] < 0.5 for call in calls)
        assert [call.get("first", False) for call in calls] == [True, False, False]
        assert taps.counts("outcomes") == {"answered": 3}

    def test_the_last_one_is_told_before_the_caller_speaks_again(self, server: Api, taps: Taps) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("e", upstream.port, protocol="tcp", tap=True)
            with connect(port) as sock:
                sock.sendall(b"ask")
                sock.recv(3)
                time.sleep(0.45)
                assert sum(slot.get("ended", 0) for slot in taps.slots) == 1

    def test_an_unanswered_turn_is_cut_or_abandoned(self, server: Api, taps: Taps) -> None:
        with Upstream(lambda sock: sock.recv(3) and time.sleep(0.1)) as upstream:  # type: ignore[arg-type,func-returns-value]  # run for what it does
            port = server.proxy("e", upstream.port, protocol="redis", tap=True)
            with connect(port) as sock:
                sock.sendall(b"ask")
                how_it_ends(sock)
            with connect(port) as sock:
                sock.sendall(b"ask")
            eventually(lambda: taps.so_far("closed") == 2)
            assert taps.counts("outcomes") == {"cut": 1, "abandoned": 1}

    def test_postgres_says_itself_when_a_turn_is_over(self) -> None:
        hub = Hub()
        tap = Tap(hub, "e")
        meter = TurnMeter(tap, 1, tap.start, "postgres")
        meter.sent(b"Q\0\0\0\rselect 1\0", tap.start)
        meter.received(b"T....D....C....Z\0\0\0\x05I", tap.start + 0.01)
        assert tap.ended == 1 and tap.calls[0].method == "query"
        meter.sent(b"X\0\0\0\x04", tap.start + 0.02)
        meter.closed(True, tap.start + 0.02)
        assert tap.started == 1 and tap.outcomes == {"answered": 1}

    def test_redis_commands_are_named(self) -> None:
        tap = Tap(Hub(), "e")
        meter = TurnMeter(tap, 1, tap.start, "redis")
        meter.sent(b"*2\r\n$3\r\nget\r\n$1\r\nk\r\n", tap.start)
        meter.received(b"$-1\r\n", tap.start + 0.001)
        meter.closed(True, tap.start + 0.002)
        assert tap.calls[0].method == "GET"

    def test_a_callee_that_speaks_first_begins_no_turn(self, server: Api, taps: Taps) -> None:
        def greet(sock: socket.socket) -> None:
            sock.sendall(b"hello")
            read_all(sock)

        with Upstream(greet) as upstream:
            port = server.proxy("e", upstream.port, protocol="tcp", tap=True)
            with connect(port) as sock:
                assert sock.recv(5) == b"hello"
                assert taps.total("started") == 0 and taps.total("bytes_down") == 5


class TestSampling:
    def ended(self, trace_id: str, connection: int = 1) -> Call:
        from chaoskit.proxy.http1 import Head

        call = Call(1.0, connection, False)
        call.head = Head(b"GET / HTTP/1.1\r\ntraceparent: 00-%s-%s-01\r\n\r\n" % (trace_id.encode(), SPAN.encode()))
        call.end, call.status, call.outcome = 1.5, 200, "answered"
        return call

    def test_up_to_the_number_all_are_kept(self) -> None:
        tap = Tap(Hub(calls_per_second=100), "e")
        for number in range(99):
            tap.end_call(self.ended(f"{number:032x}"))
        assert (tap.left_out, len(tap.calls)) == (0, 99)

    def test_beyond_it_whole_traces_are_left_out_on_every_edge(self) -> None:
        hub = Hub(calls_per_second=50)
        one, two = Tap(hub, "one"), Tap(hub, "two")
        for number in range(4000):
            call = self.ended(f"{number * 2654435761 % 2**128:032x}")
            for tap in (one, two):
                tap.end_call(call)
        hub.mask, late = hub.mask, hub.level
        before = len(one.calls), len(two.calls)
        kept: dict[str, set[str]] = {"one": set(), "two": set()}
        for number in range(4000, 6000):
            call = self.ended(f"{number * 2654435761 % 2**128:032x}")
            if hub.level != late:
                break
            for tap in (one, two):
                tap.end_call(call)
        for tap, begin in zip((one, two), before, strict=True):
            kept[tap.edge] = {call.trace_id for call in tap.calls[begin:]}
        assert one.left_out + len(one.calls) == one.ended
        assert len(one.calls) < 50 * 8 and late >= 3
        assert kept["one"] == kept["two"]

    def test_the_share_goes_up_again_when_it_is_calm(self) -> None:
        hub = Hub(calls_per_second=10)
        tap = Tap(hub, "e")
        for number in range(200):
            tap.end_call(self.ended(f"{number:032x}"))
        level = hub.level
        assert level > 0
        now = tap.start
        for second in range(1, 60):
            hub.tick(now + second)
        assert hub.level == 0 and hub.mask == 0

    def test_a_flood_is_counted_whole_and_kept_in_part(self) -> None:
        with (
            Upstream(_serve) as upstream,
            embedded("--calls-per-second", "20") as server,
            Taps(server) as taps,
        ):
            port = server.proxy("e", upstream.port, protocol="http", tap=True)
            with connect(port) as sock:
                for number in range(600):
                    sock.sendall(GET.replace(TRACE.encode(), b"%032x" % (number * 7919 + 1)))
                    read_exactly(sock, len(OK))
            slots = taps.flush()
        ended = sum(slot.get("ended", 0) for slot in slots)
        kept = sum(len(slot.get("calls", ())) for slot in slots)
        assert ended == 600 and kept + sum(slot.get("left_out", 0) for slot in slots) == 600
        assert 20 <= kept < 300


def _serve(sock: socket.socket) -> None:
    while sock.recv(65536):
        sock.sendall(OK)


def test_slots_that_nobody_reads_are_let_go(server: Api) -> None:
    with Upstream(_serve) as upstream:
        port = server.proxy("e", upstream.port, protocol="http", tap=True)
        with connect(port) as sock:
            sock.sendall(GET)
            read_exactly(sock, len(OK))
            time.sleep(0.3)
            with Taps(server) as taps:
                assert taps.total("started") == 0


def test_calls_of_one_meter_survive_any_cut() -> None:
    """Fed byte by byte, the same calls come out."""
    stream_up = GET + b"POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello" + GET
    stream_down = OK + b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n" + OK
    tap = Tap(Hub(), "e")
    meter = HttpMeter(tap, 1, tap.start)
    for at in range(len(stream_up)):
        meter.sent(stream_up[at : at + 1], tap.start)
    for at in range(len(stream_down)):
        meter.received(stream_down[at : at + 1], tap.start + 0.01)
    assert [(call.method, call.path, call.status) for call in tap.calls] == [
        ("GET", "/a?b=c", 200),
        ("POST", "/p", 500),
        ("GET", "/a?b=c", 200),
    ]
    assert sum(call.bytes_up for call in tap.calls) == len(stream_up)
    assert sum(call.bytes_down for call in tap.calls) == len(stream_down)
