"""Where the default mode is better than a real Toxiproxy: each difference that docs/proxy.md names."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.proxy.serving import (
    ROOT,
    Api,
    Recorder,
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


@pytest.mark.parametrize(
    ("toxic", "message"),
    [
        ({"type": "bandwidth", "attributes": {"rate": -1}}, "rate must be at least 0, not -1"),
        ({"type": "latency", "attributes": {"jitter": -1}}, "jitter must be at least 0, not -1"),
        ({"type": "slicer"}, "average_size must be at least 1, not 0"),
        (
            {"type": "slicer", "attributes": {"average_size": 5, "size_variation": 5}},
            "size_variation must be less than average_size, not 5 with 5",
        ),
        ({"type": "noop", "toxicity": 1.5}, "toxicity must be between 0 and 1, not 1.5"),
        ({"type": "noop", "ttl": 0}, "ttl must be at least 1 (ms)"),
        ({"type": "http_error", "attributes": {"status": 99}}, "status must be at least 200, not 99"),
        ({"type": "http_error", "attributes": {"headers": []}}, "headers must be an object"),
        ({"type": "corrupt", "attributes": {"probability": "x"}}, "probability must be a number"),
    ],
)
def test_attributes_out_of_range_are_refused(server: Api, toxic: object, message: str) -> None:
    server.ok("POST", "/proxies", P)
    status, answer = server("POST", "/proxies/p/toxics", toxic)
    assert (status, answer) == (400, {"error": f"bad request body: {message}", "status": 400})
    assert server.ok("GET", "/proxies/p/toxics") == []


def test_a_change_out_of_range_leaves_the_toxic_as_it_was(server: Api) -> None:
    server.ok("POST", "/proxies", P)
    server.toxic("p", "latency", latency=5)
    for change in (
        {"toxicity": 2},
        {"attributes": {"latency": 9, "jitter": -1}},
        {"attributes": {"latency": 9, "jitter": "x"}},
    ):
        assert server("PATCH", "/proxies/p/toxics/t", change)[0] == 400
    assert server.ok("GET", "/proxies/p/toxics/t")["attributes"] == {"latency": 5, "jitter": 0}


def test_errors_are_json_and_say_so(server: Api) -> None:
    status, headers, data = server.raw("GET", "/proxies/nope")
    assert (status, headers["content-type"]) == (404, "application/json")
    assert json.loads(data) == {"error": "proxy not found", "status": 404}


def test_half_close_is_kept(server: Api) -> None:
    def answer_at_the_end(sock: socket.socket) -> None:
        data = read_all(sock)
        time.sleep(0.05)
        sock.sendall(data[::-1])

    with Upstream(answer_at_the_end) as upstream:
        port = server.proxy("p", upstream.port)
        for toxics in (False, True):
            if toxics:
                server.toxic("p", "latency", latency=20)
                server.toxic("p", "latency", name="u", stream="upstream", latency=20)
            with connect(port) as sock:
                sock.sendall(b"abc")
                sock.shutdown(socket.SHUT_WR)
                assert how_it_ends(sock) == ("eof", b"cba")


def test_a_callee_that_does_not_take_connections_holds_up_nobody_else(server: Api) -> None:
    with Upstream(echo) as upstream:
        port = server.proxy("p", upstream.port)
        server.toxic("p", "connect_stall", toxicity=0.5, delay=0)
        begun = time.monotonic()
        socks = [connect(port) for _ in range(12)]
        answered = 0
        for sock in socks:
            sock.sendall(b"x")
        time.sleep(0.2)
        for sock in socks:
            answered += how_it_ends(sock, 0.05)[1] == b"x"
            sock.close()
        assert 0 < answered < 12
        assert time.monotonic() - begun < 5


def test_disabling_does_not_wait_for_a_dial(server: Api) -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    fill = [socket.socket() for _ in range(4)]
    for sock in fill:
        sock.setblocking(False)
        sock.connect_ex(full.getsockname())
    try:
        port = server.proxy("p", full.getsockname()[1])
        socks = [connect(port) for _ in range(3)]
        eventually(lambda: server.ok("GET", "/chaoskit/proxies/p")["accepted"] == 3)
        began = time.monotonic()
        server.ok("PATCH", "/proxies/p", {"enabled": False})
        assert time.monotonic() - began < 1
        assert [how_it_ends(sock)[0] for sock in socks] == ["eof"] * 3
    finally:
        for sock in (*fill, *socks, full):
            sock.close()


def test_a_dial_that_takes_too_long_ends_the_connection() -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    fill = [socket.socket() for _ in range(4)]
    for sock in fill:
        sock.setblocking(False)
        sock.connect_ex(full.getsockname())
    try:
        with embedded("--dial-timeout", "0.2") as server, connect(server.proxy("p", full.getsockname()[1])) as sock:
            assert how_it_ends(sock)[0] in ("eof", "reset")
    finally:
        for sock in (*fill, full):
            sock.close()


def test_the_same_seed_rolls_the_same(tmp_path: Path) -> None:
    def rolls(seed: str) -> list[bool]:
        with Upstream(echo) as upstream, embedded("--seed", seed) as server:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "limit_data", toxicity=0.5, bytes=1)
            found = []
            for _ in range(40):
                with connect(port) as sock:
                    sock.sendall(b"xx")
                    found.append(len(read_exactly(sock, 2)) == 1)
            return found

    first = rolls("3")
    assert rolls("3") == first
    assert rolls("4") != first


def test_toxics_may_stand_in_populate_and_in_the_config_file(server: Api, tmp_path: Path) -> None:
    described = [{**P, "toxics": [{"type": "latency", "attributes": {"latency": 7}}]}]
    made = server.ok("POST", "/populate", described)["proxies"][0]
    assert made["toxics"][0]["attributes"] == {"latency": 7, "jitter": 0}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(described))
    with embedded("--config", str(file)) as other:
        assert other.ok("GET", "/proxies/p")["toxics"] == made["toxics"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"name":\n"a",]', ":2:5: bad request body: invalid character"),
        ('[{"name":"a","upstream":"b:1","enabled":"x"}]', "of type bool at proxy 1"),
        ('[{"name":"a","upstream":"b:1","toxics":[{"type":"x"}]}]', "invalid toxic type at toxic 1 at proxy 1 (a)"),
        ('[{"name":"a","upstream":"b:1","protocol":"smtp"}]', "protocol was invalid"),
    ],
)
def test_a_bad_config_file_keeps_the_server_from_starting(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    ran = run_server("--port", "0", "--config", str(file))
    assert ran.returncode == 2 and message in ran.stderr and str(file) in ran.stderr


def run_server(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chaoskit.proxy.server", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_a_strict_server_goes_on_without_its_config(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "chaoskit.proxy.server", "--strict", "--port", "0", "-config", str(tmp_path / "none")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert Api(json.loads(process.stdout.readline())["port"]).ok("GET", "/proxies") == {}
        process.terminate()
        assert b"Error reading config file" in process.stderr.read()


def test_a_control_port_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = run_server("--port", str(taken.getsockname()[1]))
    assert ran.returncode == 2 and "address already in use" in ran.stderr


def test_a_toxic_with_a_time_to_live_goes_by_itself(server: Api) -> None:
    with Upstream(echo) as upstream:
        port = server.proxy("p", upstream.port)
        body = {"name": "t", "type": "latency", "attributes": {"latency": 2000}, "ttl": 150}
        assert server.ok("POST", "/proxies/p/toxics", body)["ttl"] == 150
        with connect(port) as sock:
            began = time.monotonic()
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            assert 0.1 < time.monotonic() - began < 1
        assert server.ok("GET", "/proxies/p/toxics") == []


def test_counters_are_live_and_say_what_each_toxic_hit(server: Api) -> None:
    with Upstream(echo) as upstream:
        port = server.proxy("p", upstream.port)
        server.toxic("p", "latency", latency=1)
        with connect(port) as sock:
            sock.sendall(b"12345")
            sock.recv(5)
            text = server.raw("GET", "/metrics")[2].decode()
            assert f'toxiproxy_proxy_sent_bytes_total{{direction="upstream",listener="127.0.0.1:{port}"' in text
            assert 'chaoskit_proxy_connections{proxy="p"} 1' in text
            assert 'chaoskit_toxic_hits_total{proxy="p",toxic="t"} 1' in text
            inside = server.ok("GET", "/chaoskit/proxies/p")
            assert inside["hits"] == {"t": 1} and inside["accepted"] == 1
            assert inside["bytes"]["upstream"] == {"received": 5, "sent": 5}
            assert inside["connections"][0]["bytes"]["sent_down"] == 5


class TestResets:
    def test_only_a_roll_that_is_won_resets(self, server: Api) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "reset_peer", toxicity=0, timeout=10)
            with connect(port) as sock:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
                server.ok("PATCH", "/proxies/p", {"enabled": False})
                assert how_it_ends(sock)[0] == "eof"

    def test_connections_that_are_older_are_reset_too(self, server: Api) -> None:
        recorder = Recorder()
        with Upstream(recorder) as upstream:
            port = server.proxy("p", upstream.port)
            with connect(port) as sock:
                sock.sendall(b"x")
                eventually(lambda: recorder.data)
                server.toxic("p", "reset_peer", stream="upstream", timeout=10)
                sock.sendall(b"y")
                assert how_it_ends(sock)[0] == "reset"
            assert recorder.ended.wait(5) and (recorder.how, recorder.data) == ("reset", b"x")

    def test_removing_one_in_progress_answers_at_once_and_resets_then(self, server: Api) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "reset_peer", timeout=600_000)
            with connect(port) as sock:
                sock.sendall(b"x")
                eventually(lambda: server.ok("GET", "/chaoskit/proxies/p")["hits"] == {"t": 1})
                server.ok("DELETE", "/proxies/p/toxics/t")
                assert how_it_ends(sock)[0] == "reset"


def test_a_timeout_that_lost_its_roll_leaves_connections_alone_when_it_goes(server: Api) -> None:
    with Upstream(echo) as upstream:
        port = server.proxy("p", upstream.port)
        server.toxic("p", "timeout", toxicity=0, timeout=0)
        with connect(port) as sock:
            sock.sendall(b"a")
            assert sock.recv(1) == b"a"
            server.ok("DELETE", "/proxies/p/toxics/t")
            sock.sendall(b"b")
            assert sock.recv(1) == b"b"


def test_a_neighbour_that_comes_disturbs_nothing_in_flight(server: Api) -> None:
    with Upstream(echo) as upstream:
        port = server.proxy("p", upstream.port)
        server.toxic("p", "latency", latency=400)
        with connect(port) as sock:
            began = time.monotonic()
            sock.sendall(b"x")
            time.sleep(0.1)
            server.toxic("p", "noop", name="n")
            assert sock.recv(1) == b"x"
            assert time.monotonic() - began >= 0.397


class TestWhoMayAsk:
    def test_a_name_that_points_at_us_is_not_enough(self, server: Api) -> None:
        for host in ("evil.example", "evil.example:8474", "127.0.0.1.evil.example"):
            assert server.raw("GET", "/proxies", headers={"Host": host})[0] == 403

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1:99", "[::1]:8474", "LOCALHOST:1"])
    def test_loopback_is(self, server: Api, host: str) -> None:
        assert server.raw("GET", "/proxies", headers={"Host": host})[0] == 200

    def test_a_web_pages_origin_is_turned_away(self, server: Api) -> None:
        for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
            assert server.raw("POST", "/reset", headers={"Origin": origin})[0] == 403
        assert server.raw("POST", "/reset", headers={"Origin": "http://localhost:3000"})[0] == 204

    def test_listening_elsewhere_needs_a_token(self) -> None:
        ran = run_server("--port", "0", "--host", "0.0.0.0")
        assert ran.returncode == 2 and "--token" in ran.stderr

    def test_with_a_token_everybody_else_is_turned_away(self) -> None:
        with embedded("--host", "0.0.0.0", "--token", "secret") as server:
            assert server.raw("GET", "/proxies")[0] == 401
            assert server.raw("GET", "/proxies", headers={"Authorization": "Bearer wrong"})[0] == 401
            assert server.raw("GET", "/proxies", headers={"Authorization": "Bearer secret"})[0] == 200


def test_the_server_tells_its_port_to_whoever_started_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "chaoskit.proxy.server",
                "--port",
                "0",
                "--announce",
                f"127.0.0.1:{door.getsockname()[1]}",
            ],
            cwd=ROOT,
        )
        try:
            door.settimeout(10)
            connection, _ = door.accept()
            with connection, connection.makefile() as lines:
                assert Api(json.loads(lines.readline())["port"]).ok("GET", "/proxies") == {}
        finally:
            process.terminate()
            process.wait()


def test_it_runs_on_plain_asyncio_too() -> None:
    with Upstream(echo) as upstream, embedded("--loop", "asyncio") as server:
        port = server.proxy("p", upstream.port, protocol="tcp", tap=True)
        server.toxic("p", "latency", latency=30)
        with connect(port) as sock:
            began = time.monotonic()
            sock.sendall(b"x")
            assert sock.recv(1) == b"x" and time.monotonic() - began >= 0.03
            server.ok("PATCH", "/proxies/p", {"enabled": False})
            assert how_it_ends(sock)[0] == "eof"


def test_a_signal_ends_it_with_everything_closed() -> None:
    with Upstream(echo) as upstream, embedded_process() as (server, process):
        port = server.proxy("p", upstream.port)
        with connect(port) as sock:
            sock.sendall(b"x")
            sock.recv(1)
            process.terminate()
            assert how_it_ends(sock)[0] == "eof"
        assert process.wait(5) == 0
