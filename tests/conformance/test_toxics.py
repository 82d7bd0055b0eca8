"""The data plane: each toxic's exact rule, on new and on live connections, in both directions, by time and by byte."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.proxy.serving import (
    Api,
    Recorder,
    Upstream,
    connect,
    echo,
    eventually,
    how_it_ends,
    read_all,
    read_exactly,
    timed,
)

pytestmark = pytest.mark.live

SLACK = 0.25
"""How much later than its rule says something may happen on a busy machine; never earlier."""
QUICK = 0.25
"""More than an echo takes without a delay, on a busy machine."""
STREAMS = pytest.mark.parametrize("stream", ["upstream", "downstream"])


def in_time(took: float, rule: float, slack: float = SLACK) -> bool:
    return rule - 0.003 <= took <= rule + slack


@pytest.fixture
def port(server: Api) -> int:
    """A proxy `p` in front of an echo server."""
    upstream = Upstream(echo)
    return server.proxy("p", upstream.port)


def ping(sock: socket.socket, data: bytes = b"ping") -> float:
    """Seconds that `data` took to come back."""
    began = time.monotonic()
    sock.sendall(data)
    assert read_exactly(sock, len(data)) == data
    return time.monotonic() - began


class TestLatency:
    @STREAMS
    def test_each_chunk_waits_its_time(self, server: Api, port: int, stream: str) -> None:
        server.toxic("p", "latency", stream=stream, latency=150)
        with connect(port) as sock:
            assert in_time(ping(sock), 0.15)
            assert in_time(ping(sock), 0.15)

    def test_it_acts_on_connections_that_are_open(self, server: Api, port: int) -> None:
        with connect(port) as sock:
            assert ping(sock) < QUICK
            server.toxic("p", "latency", latency=300)
            assert in_time(ping(sock), 0.3)
            server.ok("PATCH", "/proxies/p/toxics/t", {"attributes": {"latency": 600}})
            assert in_time(ping(sock), 0.6)
            server.ok("DELETE", "/proxies/p/toxics/t")
            assert ping(sock) < QUICK

    def test_bursts_are_not_queued_behind_each_other(self, server: Api, port: int) -> None:
        server.toxic("p", "latency", latency=200)
        with connect(port) as sock:
            began = time.monotonic()
            for _ in range(10):
                sock.sendall(b"x")
                time.sleep(0.01)
            read_exactly(sock, 10)
            assert in_time(time.monotonic() - began, 0.29)

    def test_jitter_spreads_around_it_and_order_is_kept(self, server: Api, port: int) -> None:
        server.toxic("p", "latency", latency=60, jitter=50)
        with connect(port) as sock:
            took = [ping(sock) for _ in range(30)]
        assert min(took) >= 0.0095
        assert min(took) < 0.045 and max(took) > 0.075
        with connect(port) as sock:
            sent = bytes(range(100))
            for byte in sent:
                sock.sendall(bytes([byte]))
                time.sleep(0.001)
            assert read_exactly(sock, 100) == sent

    def test_a_negative_jitter_is_none(self, server: Api, port: int) -> None:
        server.toxic("p", "latency", latency=100, jitter=-90)
        with connect(port) as sock:
            assert all(in_time(ping(sock), 0.1) for _ in range(5))

    def test_two_add_up(self, server: Api, port: int) -> None:
        server.toxic("p", "latency", name="a", latency=100)
        server.toxic("p", "latency", name="b", latency=100)
        with connect(port) as sock:
            assert in_time(ping(sock), 0.2)

    def test_the_connect_and_the_close_are_not_delayed(self, server: Api, port: int) -> None:
        server.toxic("p", "latency", latency=1000)
        server.toxic("p", "latency", name="u", stream="upstream", latency=1000)
        assert timed(lambda: connect(port).close()) < 0.5
        with Upstream(lambda sock: None) as closing:
            server.ok("PATCH", "/proxies/p", {"upstream": f"127.0.0.1:{closing.port}"})
            with connect(port) as sock:
                assert timed(lambda: read_all(sock)) < 0.5

    def test_what_waits_is_let_go_when_it_is_removed(self, server: Api, port: int) -> None:
        server.toxic("p", "latency", latency=5000)
        with connect(port) as sock:
            sock.sendall(b"12")
            time.sleep(0.1)
            sock.sendall(b"34")
            time.sleep(0.1)
            began = time.monotonic()
            server.ok("DELETE", "/proxies/p/toxics/t")
            assert read_exactly(sock, 4) == b"1234"
            assert time.monotonic() - began < 1


class TestBandwidth:
    @STREAMS
    def test_bytes_take_their_time(self, server: Api, port: int, stream: str) -> None:
        server.toxic("p", "bandwidth", stream=stream, rate=100)
        with connect(port) as sock:
            assert in_time(ping(sock, b"x" * 50_000), 0.5)

    def test_it_comes_in_pieces_of_a_tenth_of_a_second(self, server: Api) -> None:
        recorder = Recorder()
        with Upstream(recorder) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "bandwidth", stream="upstream", rate=100)
            with connect(port) as sock:
                sock.sendall(b"x" * 25_000)
                eventually(lambda: len(recorder.data) == 25_000)
        sizes = [len(data) for _, data in recorder.pieces]
        assert sizes == [10_000, 10_000, 5_000]
        gaps = [b[0] - a[0] for a, b in zip(recorder.pieces, recorder.pieces[1:], strict=False)]
        assert all(0.02 <= gap <= 0.1 + SLACK for gap in gaps)

    def test_a_large_chunk_is_seen_32_kib_at_a_time(self, server: Api) -> None:
        recorder = Recorder()
        with Upstream(recorder) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "latency", name="gather", stream="upstream", latency=100)
            server.toxic("p", "bandwidth", stream="upstream", rate=1000)
            with connect(port) as sock:
                began = time.monotonic()
                sock.sendall(b"x" * 100_000)
                eventually(lambda: len(recorder.data) == 100_000)
                assert in_time(recorder.pieces[-1][0] - began, 0.2)
        assert max(len(data) for _, data in recorder.pieces) <= 65_536

    def test_each_connection_has_its_own(self, server: Api, port: int) -> None:
        server.toxic("p", "bandwidth", rate=100)
        took: list[float] = []

        def transfer() -> None:
            with connect(port) as sock:
                took.append(ping(sock, b"x" * 30_000))

        threads = [threading.Thread(target=transfer) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(in_time(one, 0.3) for one in took)

    def test_small_ones_are_charged_too(self, server: Api, port: int) -> None:
        server.toxic("p", "bandwidth", rate=10)
        with connect(port) as sock:
            assert in_time(ping(sock, b"x" * 800), 0.08)
            assert in_time(ping(sock, b"x" * 2_000), 0.2)

    def test_rate_zero_stalls_until_it_is_removed(self, server: Api, port: int) -> None:
        server.toxic("p", "bandwidth", rate=0)
        with connect(port) as sock:
            sock.sendall(b"held")
            assert how_it_ends(sock, 0.4) == ("open", b"")
            server.ok("DELETE", "/proxies/p/toxics/t")
            sock.settimeout(5)
            assert read_exactly(sock, 4) == b"held"

    def test_an_update_lets_the_chunk_in_service_go(self, server: Api, port: int) -> None:
        server.toxic("p", "bandwidth", rate=1)
        with connect(port) as sock:
            sock.sendall(b"x" * 5_000)
            time.sleep(0.25)
            server.ok("PATCH", "/proxies/p/toxics/t", {"attributes": {"rate": 1000}})
            assert timed(lambda: read_exactly(sock, 5_000)) < 1


class TestSlowClose:
    def test_data_is_untouched_and_the_end_waits(self, server: Api) -> None:
        with Upstream(lambda sock: sock.sendall(b"bye")) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "slow_close", delay=300)
            with connect(port) as sock:
                began = time.monotonic()
                assert read_exactly(sock, 3) == b"bye"
                assert time.monotonic() - began < 0.2
                assert sock.recv(1) == b""
                assert in_time(time.monotonic() - began, 0.3)

    def test_upstream_it_delays_the_end_that_the_callee_sees(self, server: Api) -> None:
        recorder = Recorder()
        with Upstream(recorder) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "slow_close", stream="upstream", delay=300)
            sock = connect(port)
            sock.sendall(b"x")
            eventually(lambda: recorder.data)
            began = time.monotonic()
            sock.close()
            assert recorder.ended.wait(5)
            assert in_time(time.monotonic() - began, 0.3)

    def test_removing_it_closes_now_and_updating_it_begins_anew(self, server: Api) -> None:
        with Upstream(lambda sock: sock.sendall(b"bye")) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "slow_close", delay=10_000)
            with connect(port) as sock:
                read_exactly(sock, 3)
                time.sleep(0.1)
                began = time.monotonic()
                server.ok("DELETE", "/proxies/p/toxics/t")
                assert sock.recv(1) == b"" and time.monotonic() - began < 1
            server.toxic("p", "slow_close", delay=10_000)
            with connect(port) as sock:
                read_exactly(sock, 3)
                time.sleep(0.1)
                began = time.monotonic()
                server.ok("PATCH", "/proxies/p/toxics/t", {"attributes": {"delay": 200}})
                assert sock.recv(1) == b"" and in_time(time.monotonic() - began, 0.2)


class TestTimeout:
    def test_it_drops_data_and_closes_after_silence(self, server: Api, port: int) -> None:
        server.toxic("p", "timeout", timeout=300)
        with connect(port) as sock:
            began = time.monotonic()
            sock.sendall(b"x")
            assert how_it_ends(sock) == ("eof", b"")
            assert in_time(time.monotonic() - began, 0.3)

    def test_every_chunk_begins_the_silence_anew(self, server: Api, port: int) -> None:
        server.toxic("p", "timeout", stream="upstream", timeout=300)
        with connect(port) as sock:
            for _ in range(5):
                time.sleep(0.1)
                sock.sendall(b"x")
            last = time.monotonic()
            assert how_it_ends(sock) == ("eof", b"")
            assert in_time(time.monotonic() - last, 0.3)

    def test_it_runs_from_the_connect(self, server: Api, port: int) -> None:
        server.toxic("p", "timeout", timeout=200)
        with connect(port) as sock:
            began = time.monotonic()
            assert how_it_ends(sock)[0] == "eof"
            assert in_time(time.monotonic() - began, 0.2)

    def test_data_does_not_reach_the_callee(self, server: Api) -> None:
        recorder = Recorder()
        with Upstream(recorder) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "timeout", stream="upstream", timeout=200)
            with connect(port) as sock:
                sock.sendall(b"lost")
                assert how_it_ends(sock)[0] == "eof"
            assert recorder.ended.wait(5) and recorder.data == b""

    def test_zero_never_closes(self, server: Api, port: int) -> None:
        server.toxic("p", "timeout", timeout=0)
        with connect(port) as sock:
            sock.sendall(b"x")
            assert how_it_ends(sock, 0.6) == ("open", b"")

    def test_removing_it_closes_the_connection(self, server: Api, port: int) -> None:
        server.toxic("p", "timeout", timeout=0)
        with connect(port) as sock:
            sock.sendall(b"x")
            time.sleep(0.1)
            server.ok("DELETE", "/proxies/p/toxics/t")
            assert how_it_ends(sock) == ("eof", b"")
        with connect(port) as sock:
            assert ping(sock) < QUICK

    def test_on_a_live_connection_what_came_before_arrives(self, server: Api, port: int) -> None:
        with connect(port) as sock:
            assert ping(sock) < QUICK
            server.toxic("p", "timeout", timeout=200)
            sock.sendall(b"lost")
            assert how_it_ends(sock) == ("eof", b"")


class TestResetPeer:
    def test_the_first_data_is_dropped_and_the_connection_reset(self, server: Api, port: int) -> None:
        server.toxic("p", "reset_peer", timeout=200)
        with connect(port) as sock:
            began = time.monotonic()
            sock.sendall(b"x")
            assert how_it_ends(sock) == ("reset", b"")
            assert in_time(time.monotonic() - began, 0.2)

    def test_upstream_both_sides_are_reset(self, server: Api) -> None:
        recorder = Recorder()
        with Upstream(recorder) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "reset_peer", stream="upstream", timeout=50)
            with connect(port) as sock:
                sock.sendall(b"x")
                assert how_it_ends(sock) == ("reset", b"")
            assert recorder.ended.wait(5)
            assert (recorder.how, recorder.data) == ("reset", b"")

    def test_without_data_there_is_no_reset(self, server: Api, port: int) -> None:
        server.toxic("p", "reset_peer", timeout=0)
        with connect(port) as sock:
            assert how_it_ends(sock, 0.4) == ("open", b"")

    def test_zero_resets_at_once(self, server: Api, port: int) -> None:
        server.toxic("p", "reset_peer", timeout=0)
        with connect(port) as sock:
            sock.sendall(b"x")
            assert timed(lambda: how_it_ends(sock)) < 0.5

    def test_its_wait_cannot_be_cut_short(self, server: Api, port: int) -> None:
        server.toxic("p", "reset_peer", timeout=700)
        with connect(port) as sock:
            began = time.monotonic()
            sock.sendall(b"x")
            time.sleep(0.1)
            server.ok("DELETE", "/proxies/p/toxics/t")
            assert in_time(time.monotonic() - began, 0.7, 0.5)
            assert how_it_ends(sock)[0] == "reset"

    def test_a_connection_that_is_older_ends_without_a_reset(self, server: Api, port: int) -> None:
        with connect(port) as sock:
            ping(sock)
            server.toxic("p", "reset_peer", timeout=50)
            sock.sendall(b"x")
            assert how_it_ends(sock) == ("eof", b"")

    def test_a_lost_roll_still_makes_every_later_close_a_reset(self, server: Api, port: int) -> None:
        server.toxic("p", "reset_peer", toxicity=0, timeout=50)
        with connect(port) as sock:
            assert ping(sock) < QUICK
            server.ok("PATCH", "/proxies/p", {"enabled": False})
            assert how_it_ends(sock)[0] == "reset"


class TestSlicer:
    def test_pieces_have_the_size_and_come_apart(self, server: Api) -> None:
        recorder = Recorder()
        with Upstream(recorder) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "slicer", stream="upstream", average_size=100, delay=30_000)
            with connect(port) as sock:
                sent = bytes(range(256)) * 2
                began = time.monotonic()
                sock.sendall(sent)
                eventually(lambda: len(recorder.data) == len(sent))
        assert recorder.data == sent
        assert [len(data) for _, data in recorder.pieces] == [64] * 8
        assert in_time(recorder.pieces[-1][0] - began, 0.21)

    def test_sizes_vary_within_their_bounds(self, server: Api) -> None:
        recorder = Recorder()
        with Upstream(recorder) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "slicer", stream="upstream", average_size=100, size_variation=30, delay=5_000)
            with connect(port) as sock:
                sock.sendall(b"x" * 2000)
                eventually(lambda: len(recorder.data) == 2000)
        sizes = [len(data) for _, data in recorder.pieces]
        assert len(set(sizes)) > 3
        assert max(sizes) <= 130

    def test_small_chunks_pass_whole(self, server: Api) -> None:
        recorder = Recorder()
        with Upstream(recorder) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "slicer", stream="upstream", average_size=100, delay=1_000)
            with connect(port) as sock:
                sock.sendall(b"x" * 100)
                eventually(lambda: len(recorder.data) == 100)
        assert [len(data) for _, data in recorder.pieces] == [100]

    def test_what_is_left_goes_at_once_when_it_is_removed(self, server: Api, port: int) -> None:
        server.toxic("p", "slicer", average_size=1, delay=1_000_000)
        with connect(port) as sock:
            sock.sendall(b"123456")
            time.sleep(0.2)
            began = time.monotonic()
            server.ok("DELETE", "/proxies/p/toxics/t")
            assert read_exactly(sock, 6) == b"123456"
            assert time.monotonic() - began < 1


class TestLimitData:
    @pytest.mark.parametrize(
        ("limit", "sent", "passed"), [(5, 3, 3), (5, 5, 5), (5, 9, 5), (0, 3, 0), (40_000, 70_000, 40_000)]
    )
    def test_so_many_bytes_pass_and_then_it_closes(
        self, server: Api, port: int, limit: int, sent: int, passed: int
    ) -> None:
        server.toxic("p", "limit_data", bytes=limit)
        with connect(port) as sock:
            sock.sendall(b"x" * sent)
            how, data = how_it_ends(sock, 5.0 if sent >= limit else 0.4)
        assert len(data) == passed
        assert how == ("open" if sent < limit else "eof")

    def test_it_counts_over_chunks_from_when_it_was_added_and_over_updates(self, server: Api, port: int) -> None:
        with connect(port) as sock:
            ping(sock, b"x" * 100)
            server.toxic("p", "limit_data", bytes=10)
            ping(sock, b"x" * 6)
            server.ok("PATCH", "/proxies/p/toxics/t", {"attributes": {"bytes": 12}})
            sock.sendall(b"y" * 50)
            assert how_it_ends(sock) == ("eof", b"y" * 6)

    def test_each_connection_counts_for_itself(self, server: Api, port: int) -> None:
        server.toxic("p", "limit_data", bytes=5)
        for _ in range(2):
            with connect(port) as sock:
                sock.sendall(b"12345678")
                assert how_it_ends(sock) == ("eof", b"12345")


class TestToxicity:
    def test_zero_never_acts_and_one_always_does(self, server: Api, port: int) -> None:
        server.toxic("p", "latency", toxicity=0, latency=300)
        for _ in range(5):
            with connect(port) as sock:
                assert ping(sock) < QUICK
        server.ok("PATCH", "/proxies/p/toxics/t", {"toxicity": 1})
        for _ in range(2):
            with connect(port) as sock:
                assert in_time(ping(sock), 0.3)

    def test_it_is_rolled_for_each_connection(self, server: Api, port: int) -> None:
        server.toxic("p", "limit_data", toxicity=0.5, bytes=1)
        hit = 0
        for _ in range(200):
            with connect(port) as sock:
                sock.sendall(b"xx")
                hit += len(read_exactly(sock, 2)) == 1
        assert 60 <= hit <= 140

    def test_a_connection_is_hit_for_good_or_not_at_all(self, server: Api, port: int) -> None:
        server.toxic("p", "latency", toxicity=0.5, latency=300)
        for _ in range(6):
            with connect(port) as sock:
                hits = {ping(sock) >= 0.299 for _ in range(3)}
                assert len(hits) == 1

    def test_a_change_rolls_again_on_live_connections(self, server: Api, port: int) -> None:
        server.toxic("p", "latency", toxicity=0, latency=300)
        with connect(port) as sock:
            assert ping(sock) < QUICK
            server.ok("PATCH", "/proxies/p/toxics/t", {"toxicity": 1})
            assert in_time(ping(sock), 0.3)
            server.ok("PATCH", "/proxies/p/toxics/t", {"toxicity": 0})
            assert ping(sock) < QUICK


class TestChains:
    def test_toxics_act_in_the_order_of_creation(self, server: Api, port: int) -> None:
        server.toxic("p", "limit_data", name="limit", bytes=1000)
        server.toxic("p", "bandwidth", name="slow", rate=10)
        with connect(port) as sock:
            began = time.monotonic()
            sock.sendall(b"x" * 5000)
            assert how_it_ends(sock) == ("eof", b"x" * 1000)
            assert in_time(time.monotonic() - began, 0.1)

    def test_both_directions_are_apart(self, server: Api, port: int) -> None:
        server.toxic("p", "latency", name="up", stream="upstream", latency=100)
        server.toxic("p", "latency", name="down", latency=150)
        with connect(port) as sock:
            assert in_time(ping(sock), 0.25)
            server.ok("DELETE", "/proxies/p/toxics/up")
            assert in_time(ping(sock), 0.15)

    def test_no_byte_is_lost_while_toxics_come_and_go(self, server: Api, port: int) -> None:
        total = 3_000_000
        sent = bytes(range(251)) * (total // 251 + 1)
        sent = sent[:total]
        stop = threading.Event()

        def meddle() -> None:
            number = 0
            while not stop.is_set():
                type_, attributes = [
                    ("latency", {"latency": 5}),
                    ("slicer", {"average_size": 1000, "size_variation": 100, "delay": 10}),
                    ("bandwidth", {"rate": 50_000}),
                    ("noop", {}),
                ][number % 4]
                for stream in ("upstream", "downstream"):
                    server.toxic("p", type_, name=f"{stream}{number}", stream=stream, **attributes)
                time.sleep(0.01)
                for stream in ("upstream", "downstream"):
                    server.ok("DELETE", f"/proxies/p/toxics/{stream}{number}")
                number += 1

        thread = threading.Thread(target=meddle)
        thread.start()
        try:
            with connect(port, timeout=30) as sock:
                writer = threading.Thread(target=sock.sendall, args=(sent,))
                writer.start()
                received = read_exactly(sock, total)
                writer.join()
        finally:
            stop.set()
            thread.join()
        assert received == sent


class TestConnections:
    def test_an_upstream_that_is_down_takes_and_closes(self, server: Api) -> None:
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            free = nobody.getsockname()[1]
        port = server.proxy("p", free)
        with connect(port) as sock:
            assert how_it_ends(sock) == ("eof", b"")

    def test_the_callees_end_reaches_the_caller_after_all_its_bytes(self, server: Api) -> None:
        with Upstream(lambda sock: sock.sendall(b"x" * 1_000_000)) as upstream:
            port = server.proxy("p", upstream.port)
            with connect(port) as sock:
                assert len(read_all(sock)) == 1_000_000

    def test_the_callers_end_reaches_the_callee(self, server: Api) -> None:
        recorder = Recorder()
        with Upstream(recorder) as upstream:
            port = server.proxy("p", upstream.port)
            with connect(port) as sock:
                sock.sendall(b"x" * 100_000)
            assert recorder.ended.wait(5)
        assert len(recorder.data) == 100_000

    def test_there_is_no_half_close(self, server: Api) -> None:
        def answer_at_the_end(sock: socket.socket) -> None:
            read_all(sock)
            time.sleep(0.1)
            sock.sendall(b"answer")

        with Upstream(answer_at_the_end) as upstream:
            port = server.proxy("p", upstream.port)
            with connect(port) as sock:
                sock.sendall(b"x")
                time.sleep(0.1)
                sock.shutdown(socket.SHUT_WR)
                assert how_it_ends(sock) == ("eof", b"")

    def test_a_slow_reader_is_waited_for(self, server: Api) -> None:
        size = 20_000_000
        with Upstream(lambda sock: sock.sendall(b"x" * size)) as upstream:
            port = server.proxy("p", upstream.port)
            with connect(port, timeout=30) as sock:
                time.sleep(0.3)
                assert len(read_all(sock)) == size
