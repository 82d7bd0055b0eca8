"""A proxy on every edge, whichever Toxiproxy serves; its undos work from their JSON alone; its death is noticed."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from chaoskit.deployers.ports import reserve
from chaoskit.errors import MissingPart, ProxyError, UndoError
from chaoskit.interfaces import Address, Child, LaunchSpec, ProxyControl
from chaoskit.model.observation import TapSlot
from chaoskit.model.topology import Edge
from chaoskit.model.undo import Undo
from chaoskit.proxy.install import find_toxiproxy
from chaoskit.proxy.mesh import Mesh
from chaoskit.registry import undo_owners
from tests.proxy.serving import Upstream, eventually, real
from tests.requires import requires

pytestmark = pytest.mark.live

EDGE = Edge("orders", "payments.1", "http")


class Process:
    """A child without a guardian."""

    def __init__(self, spec: LaunchSpec) -> None:
        self.name = spec.name
        self._process = subprocess.Popen(spec.argv, env={**spec.env, "LOG_LEVEL": "error"}, stdout=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.poll()

    def wait(self, timeout: float) -> int | None:
        return self._process.wait(timeout)

    def signal(self, number: int, *, tree: bool = True) -> None:
        self._process.send_signal(number)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(5)


class Launcher:
    def __init__(self) -> None:
        self.children: list[Process] = []

    def launch(self, spec: LaunchSpec) -> Child:
        child = Process(spec)
        self.children.append(child)
        return child


class Journal:
    """What was promised to be undone, and the order of things."""

    def __init__(self) -> None:
        self.open: dict[str, Undo] = {}
        self.seen: list[str] = []

    def will_undo(self, undo: Undo) -> None:
        self.open[undo.id] = undo
        self.seen.append(undo.owner)

    def done(self, undo_id: str) -> None:
        del self.open[undo_id]


def answer(sock: socket.socket) -> None:
    while sock.recv(65536):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Stage:
    """A mesh over one upstream."""

    def __init__(self, toxiproxy: str) -> None:
        self.launcher = Launcher()
        self.journal = Journal()
        self.mesh = Mesh(self.launcher, toxiproxy, 7, self.journal.will_undo, self.journal.done)
        self.upstream = Upstream(answer)
        self.mesh.start()
        self.listen = self.mesh.open(EDGE, Address("127.0.0.1", self.upstream.port))
        self.control: ProxyControl = self.mesh.control(EDGE)

    def call(self, path: str = "/") -> tuple[int, float]:
        """Status (0 refused, -1 cut) and seconds."""
        began = time.monotonic()
        connection = http.client.HTTPConnection(*self.listen, timeout=3)
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
        except ConnectionRefusedError:
            status = 0
        except (http.client.HTTPException, OSError):
            status = -1
        finally:
            connection.close()
        return status, time.monotonic() - began

    def close(self) -> None:
        self.mesh.close()
        self.upstream.__exit__()
        for child in self.launcher.children:
            child.stop()


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("real", marks=requires("toxiproxy")),
        pytest.param("url", marks=requires("toxiproxy")),
    ]
)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    if request.param != "url":
        made = Stage(request.param)
        yield made
        made.close()
        return
    with real(find_toxiproxy()) as server:
        made = Stage(server.url)
        yield made
        made.close()
        assert server.ok("GET", "/proxies") == {}, "a user's Toxiproxy is left as it was"


def by_hand(undo: Undo) -> None:
    """Apply an undo as a fresh process does: from its JSON, through the registry."""
    fresh = msgspec.json.decode(msgspec.json.encode(undo), type=Undo)
    undo_owners()[fresh.owner].apply_undo(fresh, None)


def test_a_proxy_listens_on_the_port_that_it_is_given_and_says_where_somebody_else_does() -> None:
    reserved, journal, launcher = reserve(), Journal(), Launcher()
    ports = {EDGE.name: reserved.address.port}
    mesh = Mesh(launcher, "embedded", 7, journal.will_undo, journal.done, ports=ports)
    mesh.start()
    try:
        with pytest.raises(ProxyError, match=f"orders->payments.1.*{reserved.address.port}"):
            mesh.open(EDGE, Address("127.0.0.1", 1))
        reserved.release()
        assert mesh.open(EDGE, Address("127.0.0.1", 1)) == reserved.address
    finally:
        mesh.close()
        for child in launcher.children:
            child.stop()


def test_calls_cross_it_and_it_says_who_serves(stage: Stage) -> None:
    assert stage.call()[0] == 200
    assert stage.control.listen == stage.listen and stage.control.edge == EDGE
    assert stage.control.served_by == stage.mesh.served_by
    assert stage.mesh.served_by.startswith(("embedded", "toxiproxy 2.12.0 at /", "http://127.0.0.1:"))
    assert stage.mesh.lost() == ""


@pytest.mark.parametrize(
    ("type_", "attributes", "hit"),
    [
        ("latency", {"latency": 120}, lambda status, took: status == 200 and took >= 0.12),
        ("http_error", {"status": 418}, lambda status, took: status == 418),
        ("limit_data", {"bytes": 5}, lambda status, took: status == -1),
        ("connect_stall", {"delay": 120}, lambda status, took: status == 200 and took >= 0.12),
    ],
)
def test_a_toxic_is_in_force_at_once_and_out_by_its_undo(
    stage: Stage, type_: str, attributes: dict[str, int], hit: Callable[[int, float], bool]
) -> None:
    undo = stage.control.undo_toxics(["f.1", "f.2"])
    assert undo == stage.control.undo_toxics(["f.1", "f.2"]) and undo.owner == "proxy.toxic"
    stage.control.add_toxic("f.1", type_, attributes=attributes)
    assert hit(*stage.call())
    for _ in range(2):
        by_hand(undo)
        status, took = stage.call()
        assert status == 200 and took < 0.12
    stage.control.add_toxic("f.1", type_, attributes=attributes)
    stage.control.remove_toxic("f.1")
    stage.control.remove_toxic("f.1")
    assert stage.call()[1] < 0.12


def test_a_partition_refuses_and_its_undo_opens_again(stage: Stage) -> None:
    undo = stage.control.undo_enabled()
    stage.control.set_enabled(False)
    assert stage.call()[0] == 0
    for _ in range(2):
        by_hand(undo)
        assert stage.call()[0] == 200
    stage.control.set_enabled(False)
    stage.control.set_enabled(True)
    assert stage.call()[0] == 200


def test_of_two_partitions_of_one_edge_the_last_to_go_opens_it(stage: Stage) -> None:
    undos = [stage.control.undo_enabled(by) for by in ("short", "long")]
    for by in ("short", "long"):
        stage.control.set_enabled(False, by)
    stage.control.set_enabled(True, "short")
    stage.control.set_enabled(True, "short")  # twice is once
    assert stage.call()[0] == 0
    stage.control.set_enabled(True, "long")
    assert stage.call()[0] == 200
    stage.control.set_enabled(False, "long")
    by_hand(undos[0])  # whoever comes after the run opens it, whoever closed it
    assert stage.call()[0] == 200


def test_a_refusal_of_the_server_is_an_error_with_its_words(stage: Stage) -> None:
    stage.control.add_toxic("twice", "noop")
    with pytest.raises(ProxyError, match="toxic already exists"):
        stage.control.add_toxic("twice", "noop")
    with pytest.raises(ProxyError, match="invalid toxic type"):
        stage.control.add_toxic("other", "nonsense")


def test_taps_tell_every_call_whoever_serves(stage: Stage) -> None:
    slots: list[TapSlot] = []
    stop = threading.Event()
    thread = threading.Thread(target=stage.mesh.taps, args=(slots.append, stop))
    thread.start()
    time.sleep(0.15)
    for number in range(5):
        stage.call(f"/{number}")
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    calls = [call for slot in slots for call in slot.calls]
    assert [call.path for call in calls] == [f"/{number}" for number in range(5)]
    assert {slot.edge for slot in slots} == {EDGE.name}


def test_the_death_of_the_tap_ends_its_stream_with_an_error(stage: Stage) -> None:
    errors: list[Exception] = []

    def read() -> None:
        try:
            stage.mesh.taps(lambda slot: None, threading.Event())
        except ProxyError as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.15)
    began = time.monotonic()
    os.kill(stage.launcher.children[0].pid, signal.SIGKILL)
    thread.join(5)
    assert errors and "died" in str(errors[0]) and time.monotonic() - began < 2
    eventually(lambda: stage.mesh.lost() == "its process ended")


def test_a_tap_that_hangs_counts_as_dead(stage: Stage) -> None:
    pid = stage.launcher.children[0].pid
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(ProxyError, match="died"):
            stage.mesh.taps(lambda slot: None, threading.Event())
        assert time.monotonic() - began < 2.5
    finally:
        os.kill(pid, signal.SIGCONT)


def test_each_edge_has_one_proxy_and_unknown_ones_none(stage: Stage) -> None:
    with pytest.raises(ProxyError, match="already"):
        stage.mesh.open(EDGE, Address("127.0.0.1", 9))
    with pytest.raises(ProxyError, match="no proxy on a->b"):
        stage.mesh.control(Edge("a", "b"))


@pytest.mark.parametrize("toxiproxy", ["embedded", pytest.param("real", marks=requires("toxiproxy"))])
def test_what_was_ours_is_undone_when_it_is_gone(toxiproxy: str) -> None:
    stage = Stage(toxiproxy)
    undos = [stage.control.undo_toxics(["a"]), stage.control.undo_enabled()]
    stage.control.add_toxic("a", "latency", attributes={"latency": 1})
    stage.close()
    for undo in undos:
        by_hand(undo)


@requires("toxiproxy")
def test_a_users_toxiproxy_that_is_gone_may_still_hold_it() -> None:
    with real(find_toxiproxy()) as server:
        stage = Stage(server.url)
        assert stage.journal.seen == ["proxy.delete"], "written down before the proxy was made"
        undos = [stage.control.undo_toxics(["a"]), stage.control.undo_enabled(), *stage.journal.open.values()]
    for undo in undos:
        with pytest.raises(UndoError, match="no Toxiproxy answers"):
            by_hand(undo)
    with pytest.raises(UndoError, match="no Toxiproxy answers"):
        stage.mesh.close()
    assert stage.journal.open, "it stays in the journal"
    stage.close()


@requires("toxiproxy")
def test_proxies_left_on_a_users_toxiproxy_are_deleted_by_their_undo() -> None:
    with real(find_toxiproxy()) as server:
        server.ok("POST", "/proxies", {"name": "mine", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"})
        stage = Stage(server.url)
        assert len(server.ok("GET", "/proxies")) == 2
        (undo,) = stage.journal.open.values()
        for _ in range(2):
            by_hand(undo)
            assert list(server.ok("GET", "/proxies")) == ["mine"]
        by_hand(stage.control.undo_toxics(["gone with it"]))
        stage.close()


def test_a_url_where_nothing_answers_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    mesh = Mesh(Launcher(), url, None, lambda undo: None, lambda id_: None)
    with pytest.raises(ProxyError, match="no Toxiproxy answers"):
        mesh.start()
    with pytest.raises(ProxyError, match="no address"):
        Mesh(Launcher(), "toxiproxy", None, lambda undo: None, lambda id_: None).start()


def test_a_real_one_that_is_not_here_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaoskit.proxy.servers.find_toxiproxy", lambda: "")
    monkeypatch.setattr("chaoskit.proxy.servers.shutil.which", lambda name: None)
    launcher = Launcher()
    mesh = Mesh(launcher, "real", None, lambda undo: None, lambda id_: None)
    with pytest.raises(MissingPart) as caught:
        mesh.start()
    assert "chaoskit proxy install" in caught.value.hint
    mesh.close()
    assert all(child.poll() is not None for child in launcher.children)


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaoskit.proxy.servers.sys.executable", "/bin/false")
    with pytest.raises(ProxyError, match="ended with status 1"):
        Mesh(Launcher(), "embedded", None, lambda undo: None, lambda id_: None).start()


@requires("toxiproxy")
def test_where_there_is_only_its_image_a_container_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for Docker that runs the real program."""
    docker = tmp_path / "docker"
    docker.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/asked
if [ "$1" = rm ]; then echo "Error: No such container: $3" >&2; exit 1; fi
while [ "${{1#-host}}" = "$1" ]; do shift; done
exec {find_toxiproxy()} "$@"
"""
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("chaoskit.proxy.servers.find_toxiproxy", lambda: "")
    stage = Stage("real")
    assert stage.mesh.served_by.startswith("toxiproxy 2.12.0 at ghcr.io/shopify/toxiproxy:2.12.0")
    assert stage.journal.seen == ["proxy.container"], "written down before it was started"
    assert stage.call()[0] == 200
    (undo,) = stage.journal.open.values()
    stage.close()
    assert stage.journal.open == {}
    by_hand(undo)
    run, *removals = (tmp_path / "asked").read_text().splitlines()
    assert "--network host" in run and str(undo.args["name"]) in run
    assert removals == [f"rm --force {undo.args['name']}"] * 2
