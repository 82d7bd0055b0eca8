"""The client: several servers in one process, time limits, errors of every kind, names that need quoting."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest

from chaoskit.errors import ProxyError
from chaoskit.proxy import client as client_module
from chaoskit.proxy.client import Gone, NotThere, Toxiproxy
from tests.proxy.serving import ROOT, Api, Upstream, embedded, read_all


@pytest.fixture
def client(server: Api) -> Toxiproxy:
    return Toxiproxy(server.url)


def test_a_proxy_and_its_toxics(client: Toxiproxy) -> None:
    made = client.create("a/b->c?d%", "127.0.0.1:9", colour="blue")
    assert made.enabled and client.proxy("a/b->c?d%") == made and client.proxies() == {made.name: made}
    client.add_toxic(made.name, "x/y", "latency", stream="upstream", toxicity=0.5, attributes={"latency": 5})
    (toxic,) = client.toxics(made.name)
    assert (toxic.name, toxic.type, toxic.stream, toxic.toxicity) == ("x/y", "latency", "upstream", 0.5)
    client.update_toxic(made.name, "x/y", toxicity=1.0, attributes={"jitter": 1})
    assert client.toxics(made.name)[0].attributes == {"latency": 5, "jitter": 1}
    client.set_enabled(made.name, False)
    assert client.proxy(made.name).enabled is False
    assert client.remove_toxic(made.name, "x/y") is True and client.remove_toxic(made.name, "x/y") is False
    client.reset()
    assert client.proxy(made.name).enabled is True
    assert client.delete(made.name) is True and client.delete(made.name) is False
    assert client.remove_toxic("nope", "nope") is False


def test_two_servers_at_once_from_many_threads() -> None:
    with embedded() as one, embedded() as two:
        clients = [Toxiproxy(one.url), Toxiproxy(two.url)]
        for number, client in enumerate(clients):
            client.create(f"p{number}", "127.0.0.1:9")
        errors: list[Exception] = []

        def work(number: int) -> None:
            try:
                for turn in range(20):
                    clients[number % 2].add_toxic(f"p{number % 2}", f"t{number}.{turn}", "noop")
                    clients[number % 2].set_enabled(f"p{number % 2}", True)
            except ProxyError as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert len(clients[0].toxics("p0")) == len(clients[1].toxics("p1")) == 60


def test_refusals_carry_the_servers_words(client: Toxiproxy) -> None:
    with pytest.raises(NotThere, match="proxy not found"):
        client.proxy("nope")
    client.create("p", "127.0.0.1:9")
    with pytest.raises(ProxyError, match="proxy already exists"):
        client.create("p", "127.0.0.1:9")
    with pytest.raises(ProxyError, match="missing port in address"):
        client.create("q", "127.0.0.1:9", listen="bad")
    with pytest.raises(ProxyError, match="rate must be at least 0"):
        client.add_toxic("p", "t", "bandwidth", attributes={"rate": -1})


def test_nobody_there_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(Gone):
        Toxiproxy(f"http://127.0.0.1:{port}").version()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"garbage",
        b"",
    ],
)
def test_something_else_there_is_an_error_and_no_crash(answer: bytes) -> None:
    def handle(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_WR)
        read_all(sock)

    with Upstream(handle) as upstream:
        client = Toxiproxy(f"http://127.0.0.1:{upstream.port}")
        with pytest.raises(ProxyError):
            client.version()
        with pytest.raises(ProxyError):
            client.proxies()


def test_a_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_TIMEOUT", (0.2, 0.2))
    with Upstream(lambda sock: read_all(sock) and None) as upstream:
        client = Toxiproxy(f"http://127.0.0.1:{upstream.port}")
        with pytest.raises(ProxyError, match="did not answer"):
            client.version()


def test_a_web_proxy_in_the_environment_is_not_used(client: Toxiproxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert client.version() == "2.12.0"


def test_the_package_of_others_is_left_as_it_is(client: Toxiproxy) -> None:
    client.create("p", "127.0.0.1:9")
    client.set_enabled("p", False)
    import toxiproxy.api
    import toxiproxy.server

    assert toxiproxy.server.APIConsumer is toxiproxy.api.APIConsumer
    assert toxiproxy.api.APIConsumer.port == 8474


def test_neither_the_mesh_nor_the_undos_load_the_library_before_it_is_needed() -> None:
    code = (
        "import sys, chaoskit.proxy.mesh, chaoskit.proxy.undo\n"
        "assert not {'requests', 'toxiproxy', 'asyncio.base_events'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_server_loads_nothing_heavy() -> None:
    code = (
        "import sys, chaoskit.proxy.server\n"
        "heavy = {'pydantic', 'click', 'numpy', 'docker', 'requests', 'locust', 'bokeh', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
