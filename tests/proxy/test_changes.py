"""What a change of a toxic, or of a proxy, does to what is there already; no test waits for a clock."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest

from chaoskit.proxy.proxy import Proxy
from tests.proxy.inside import Inside, inside
from tests.proxy.serving import Api, Upstream, connect, echo, eventually, how_it_ends

P = {"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}
FAR = 3_600_000
"""An hour in ms: what comes then does not come in a test."""


@contextmanager
def web() -> Iterator[int]:
    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "8")
            self.end_headers()
            self.wfile.write(b"a" * 8)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield listening.server_port
        listening.shutdown()
        thread.join()


class TestToxicity:
    """It is rolled again by every change, on connections that are open too."""

    @pytest.mark.parametrize(
        ("toxic", "bitten"),
        [
            ({"type": "http_error"}, lambda status, body: status == 503),
            (
                {"type": "corrupt", "attributes": {"only_bodies": True, "probability": 1}},
                lambda status, body: body != b"a" * 8,
            ),
        ],
        ids=["http_error", "corrupt"],
    )
    def test_of_toxics_on_calls(self, server: Api, toxic: object, bitten: Callable[[int, bytes], bool]) -> None:
        with web() as upstream:
            port = server.proxy("p", upstream, protocol="http", tap=True)
            server.ok("POST", "/proxies/p/toxics", {"name": "t", **toxic})  # type: ignore[dict-item]  # a JSON object
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)

            def bites() -> bool:
                connection.request("GET", "/")
                answer = connection.getresponse()
                return bitten(answer.status, answer.read())

            assert bites()
            own = connection.sock
            for toxicity in (0, 1, 0):
                server.ok("PATCH", "/proxies/p/toxics/t", {"toxicity": toxicity})
                assert {bites() for _ in range(3)} == {bool(toxicity)}
            assert connection.sock is own, "on the connection that was open"
            connection.close()

    def test_truncate_is_rolled_again_too(self, server: Api) -> None:
        with web() as upstream:
            port = server.proxy("p", upstream, protocol="http", tap=True)
            server.toxic("p", "truncate", toxicity=0, bytes=2)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"a" * 8
            server.ok("PATCH", "/proxies/p/toxics/t", {"toxicity": 1})
            connection.request("GET", "/")
            with pytest.raises(http.client.IncompleteRead):
                connection.getresponse().read()
            connection.close()

    def test_open_connections_are_rolled_for_in_the_order_in_which_they_came(self) -> None:
        def rolls(seed: int) -> list[bool]:
            with inside(seed=seed) as server, Upstream(echo) as upstream:
                made = server.ok("POST", "/proxies", {**P, "upstream": f"127.0.0.1:{upstream.port}"})
                proxy = server.collection.get("p")
                socks = [connect(int(made["listen"].rpartition(":")[2])) for _ in range(40)]
                while sum(connection.up is not None for connection in proxy.connections) < 40:
                    server.wait(0.001)
                server.ok("POST", "/proxies/p/toxics", {"name": "t", "type": "noop", "toxicity": 0.5})
                found = sorted(proxy.connections, key=lambda connection: connection.number)
                acting = [connection.down.stubs[0].acting for connection in found if connection.down is not None]
                for sock in socks:
                    sock.close()
                return acting

        first = rolls(3)
        assert rolls(3) == first and len(first) == 40 and 0 < sum(first) < 40
        assert rolls(4) != first


class TestFlap:
    """Its turns are an hour long, and come when the test says so."""

    @contextmanager
    def flapping(self, **toxic: object) -> Iterator[tuple[Inside, Proxy]]:
        with inside() as server:
            server.ok("POST", "/proxies", P)
            server.ok("POST", "/proxies/p/toxics", {"name": "t", "type": "flap", **toxic})
            yield server, server.collection.get("p")

    @staticmethod
    def turn(server: Inside, proxy: Proxy) -> bool:
        """Let the next turn come now; returns whether it is up then."""
        timer = proxy._flap
        assert timer is not None and timer.call is not None, "it stopped flapping"
        call = timer.call
        timer.cancel()
        call()
        server.wait()
        return proxy.admitting

    def test_a_lost_roll_leaves_it_up_for_one_turn_and_not_for_good(self) -> None:
        attributes = {"down": FAR, "up": FAR}
        with self.flapping(toxicity=0.5, attributes=attributes) as (server, proxy):
            turns = [self.turn(server, proxy) for _ in range(60)]
            assert 10 < turns.count(False) < 50
            assert not any(not a and not b for a, b in pairwise(turns)), "down twice in a row"

    def test_a_change_takes_hold_while_it_is_down_and_while_it_is_up(self) -> None:
        with self.flapping(attributes={"down": FAR, "up": FAR}) as (server, proxy):
            assert not proxy.admitting
            server.ok("PATCH", "/proxies/p/toxics/t", {"attributes": {"down": 1}})
            self.until(server, lambda: proxy.admitting)
            server.ok("PATCH", "/proxies/p/toxics/t", {"attributes": {"down": FAR, "up": 1}})
            self.until(server, lambda: not proxy.admitting)

    def test_toxicity_can_be_raised_from_nothing(self) -> None:
        with self.flapping(toxicity=0, attributes={"down": FAR, "up": FAR}) as (server, proxy):
            assert proxy.admitting
            server.ok("PATCH", "/proxies/p/toxics/t", {"toxicity": 1, "attributes": {"up": 1}})
            self.until(server, lambda: not proxy.admitting)
            server.ok("DELETE", "/proxies/p/toxics/t")
            server.wait()
            assert proxy.admitting and proxy._flap is None

    @staticmethod
    def until(server: Inside, condition: Callable[[], bool]) -> None:
        for _ in range(5000):
            if condition():
                return
            server.wait(0.001)
        pytest.fail("it did not come")


class TestPopulate:
    TOXIC = {"name": "t", "type": "latency", "attributes": {"latency": 7}}

    def made(self, server: Inside) -> dict[str, object]:
        made: dict[str, object] = server.ok("POST", "/proxies", {**P, "toxics": [{"name": "old", "type": "noop"}]})
        return {name: made[name] for name in ("name", "listen", "upstream")}

    def test_toxics_of_an_unchanged_proxy_take_the_place_of_those_it_had(self) -> None:
        with inside() as server:
            same = self.made(server)
            shown = server.ok("POST", "/populate", [{**same, "toxics": [self.TOXIC]}])["proxies"][0]
            assert shown["listen"] == same["listen"]
            assert [toxic["name"] for toxic in shown["toxics"]] == ["t"]

    @pytest.mark.parametrize("given", [{}, {"toxics": None}, {"toxics": []}], ids=["absent", "null", "empty"])
    def test_where_none_are_given_it_keeps_its_own(self, given: dict[str, object]) -> None:
        with inside() as server:
            shown = server.ok("POST", "/populate", [{**self.made(server), **given}])["proxies"][0]
            assert [toxic["name"] for toxic in shown["toxics"]] == ["old"]

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            ({"toxics": [TOXIC, {"type": "latancy"}]}, "invalid toxic type at toxic 2 at proxy 2 (p)"),
            ({"toxics": [TOXIC, TOXIC]}, "toxic already exists at toxic 2 at proxy 2 (p)"),
            ({"upstream": "nohostport"}, "upstream: address nohostport: missing port in address at proxy 2 (p)"),
            ({"upstream": "db:99999"}, "upstream: address 99999: invalid port at proxy 2 (p)"),
        ],
        ids=["no such type", "twice", "no port", "no such port"],
    )
    def test_one_mistake_changes_nothing(self, bad: dict[str, object], message: str) -> None:
        with inside() as server:
            same = self.made(server)
            before = server.ok("GET", "/proxies")
            body = [{**P, "name": "first"}, {**same, "listen": "127.0.0.1:0", **bad}]
            status, answer = server("POST", "/populate", body)
            assert status in (400, 409) and answer["error"].endswith(message)
            assert answer["proxies"] is None
            assert server.ok("GET", "/proxies") == before
            socket.create_connection(("127.0.0.1", int(str(same["listen"]).rpartition(":")[2])), 5).close()


@pytest.mark.parametrize("upstream", ["nohost", "a:99999", "[::1", "a:\0", "a:nosuchservice"])
def test_an_upstream_that_is_no_address_is_refused(upstream: str) -> None:
    with inside() as server:
        status, answer = server("POST", "/proxies", {**P, "upstream": upstream})
        assert status == 400 and answer["error"].startswith("bad request body: upstream: ")
        server.ok("POST", "/proxies", P)
        assert server("PATCH", "/proxies/p", {"upstream": upstream})[0] == 400
        assert server.ok("GET", "/proxies/p")["upstream"] == P["upstream"]


def test_bodies_of_requests_cannot_be_corrupted_and_that_is_said() -> None:
    with inside() as server:
        server.ok("POST", "/proxies", P)
        body = {"name": "t", "type": "corrupt", "stream": "upstream"}
        status, answer = server("POST", "/proxies/p/toxics", {**body, "attributes": {"only_bodies": True}})
        assert (status, answer["error"]) == (
            400,
            "bad request body: only_bodies is of answers: it needs the stream downstream",
        )
        server.ok("POST", "/proxies/p/toxics", body)
        assert server("PATCH", "/proxies/p/toxics/t", {"attributes": {"only_bodies": True}})[0] == 400


def test_a_reset_that_waits_comes_when_its_toxic_is_removed_and_not_later(server: Api) -> None:
    with Upstream(echo) as upstream:
        port = server.proxy("p", upstream.port)
        server.toxic("p", "reset_peer", stream="upstream", timeout=FAR)
        with connect(port) as sock:
            sock.sendall(b"x")
            eventually(lambda: server.ok("GET", "/chaoskit/proxies/p")["hits"] == {"t": 1})
            server.ok("DELETE", "/proxies/p/toxics/t")
            assert how_it_ends(sock) == ("reset", b"")
        with connect(port) as sock:
            sock.sendall(b"y")
            assert sock.recv(1) == b"y"


def test_a_strict_server_waits_for_a_reset_as_a_real_one_does() -> None:
    with inside(strict=True) as server, Upstream(echo) as upstream:
        made = server.ok("POST", "/proxies", {**P, "upstream": f"127.0.0.1:{upstream.port}"})
        body = {"name": "t", "type": "reset_peer", "stream": "upstream", "attributes": {"timeout": FAR}}
        server.ok("POST", "/proxies/p/toxics", body)
        proxy = server.collection.get("p")
        with connect(int(made["listen"].rpartition(":")[2])) as sock:
            sock.sendall(b"x")
            while not proxy.toxics[0].hits:
                server.wait(0.001)
            assert proxy.remove_toxic(proxy.toxics[0]) > 3000
            server.wait()
            assert len(proxy.connections) == 1
