"""Deployer `external`: services that run already are looked at, and nothing of theirs is touched."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.deployers.external import External, address_of
from chaoskit.deployers.process import Process
from chaoskit.errors import CouldNotRun, DeployError
from chaoskit.target import ServiceSpec
from tests.deployers.conftest import Stood, target


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/ready" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def running() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_every_edge_is_opened_and_told(stood: Stood, tmp_path: Path, running: str) -> None:
    services = {
        "web": {"url": running, "health": "/ready", "needs": {"X": "http://{pay}"}},
        "pay": {"url": running.replace("127.0.0.1", "localhost")},
    }
    external = External()
    system = external.deploy(target(tmp_path, services), stood.scene())
    assert [edge.name for edge in stood.opened] == ["load->web", "web->pay"]
    assert stood.said == [
        f"web->pay: point web at {system.replica('pay').address} instead of {system.replica('pay').address}"
    ]
    web = system.replica("web")
    assert web.alive() and web.ready()
    assert web.pids() == []
    for what in (web.start, web.undo_kill, web.undo_pause, lambda: web.signal(9)):
        with pytest.raises(CouldNotRun, match="not ours"):
            what()
    external.stop()
    assert web.ready(), "it goes on"


def test_a_service_that_is_not_ready_is_told(stood: Stood, tmp_path: Path, running: str) -> None:
    shape = target(tmp_path, {"web": {"url": running, "health": "/never", "ready_within": "100ms"}})
    with pytest.raises(DeployError, match="GET /never answered 404"):
        External().deploy(shape, stood.scene())


def test_a_service_that_would_have_to_be_started_is_refused(stood: Stood, tmp_path: Path, running: str) -> None:
    shape = target(tmp_path, {"web": {"url": running}, "db": {"provides": "postgres"}})
    with pytest.raises(DeployError, match="db of target t would have to be started"):
        External().deploy(shape, stood.scene())


def test_the_process_deployer_takes_both_kinds(stood: Stood, tmp_path: Path, running: str, server: str) -> None:
    services = {
        "web": {"run": server, "needs": {"X": "{pay}"}},
        "pay": {"url": running, "needs": {"Y": "http://{bank}"}},
        "bank": {"run": server},
    }
    process = Process()
    system = process.deploy(target(tmp_path, services), stood.scene())
    bank = system.replica("bank").address
    assert stood.said == [f"pay->bank: point pay at {bank} instead of {bank}"]
    assert system.replica("pay").ready() and system.replica("web").ready()
    process.stop()
    assert system.replica("pay").ready() and not system.replica("web").alive()


def test_another_host_needs_to_be_allowed() -> None:
    spec = ServiceSpec(url="http://192.0.2.7:8000")
    with pytest.raises(DeployError, match="not this machine") as error:
        address_of("web", spec, ())
    assert "--allow-host 192.0.2.7" in error.value.hint
    assert address_of("web", spec, ("192.0.2.7",)) == ("192.0.2.7", 8000)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("127.0.0.1:8000", "not one of a service"),
        ("file:///etc/passwd", "not one of a service"),
        ("tcp://127.0.0.1", "has no port"),
        ("http://no-such-host.invalid", "not found"),
        ("http://127.0.0.1:70000", "not one of a service"),
    ],
)
def test_a_url_that_names_no_service_is_told(url: str, said: str) -> None:
    with pytest.raises(DeployError, match=said):
        address_of("web", ServiceSpec(url=url), ())


@pytest.mark.parametrize(("url", "port"), [("http://127.0.0.1", 80), ("redis://[::1]", 6379)])
def test_a_scheme_stands_for_its_port(url: str, port: int) -> None:
    assert address_of("x", ServiceSpec(url=url), ()).port == port
