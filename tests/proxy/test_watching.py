"""Whether what serves is there: a server that hangs is as dead as one that ended, and nobody waits to be told so."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from chaoskit.errors import UndoError
from chaoskit.model.undo import Undo
from chaoskit.proxy import mesh as mesh_module
from chaoskit.proxy import servers
from chaoskit.proxy.client import Toxiproxy
from chaoskit.proxy.mesh import Mesh
from chaoskit.proxy.servers import Server
from chaoskit.proxy.undo import DeleteProxy, Place, delete_undo
from tests.proxy.serving import Upstream, eventually, read_all

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"version": "2.12.0"}'


class Theirs:
    """Somebody else's server, which answers until it hangs."""

    def __init__(self) -> None:
        self.hangs = threading.Event()
        self.closes_after_each = False
        self.asked = 0

    def __call__(self, sock: socket.socket) -> None:
        while sock.recv(65536):
            self.asked += 1
            if self.hangs.is_set():
                read_all(sock)
                return
            sock.sendall(OK)
            if self.closes_after_each:
                return


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Theirs, Server]]:
    monkeypatch.setattr(servers, "_EVERY", 0.005)
    monkeypatch.setattr(servers, "_ALIVE", 0.5)
    behaviour = Theirs()
    with Upstream(behaviour) as upstream:
        client = Toxiproxy(f"http://127.0.0.1:{upstream.port}")
        yield behaviour, Server(client, f"{client.url} (toxiproxy 2.12.0)")


class Watched:
    def __init__(self, server: Server) -> None:
        self.stop = threading.Event()
        self.thread = threading.Thread(target=server.watch, args=(self.stop,))

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(5)
        assert not self.thread.is_alive()


def test_one_that_hangs_is_lost_and_asking_about_it_waits_for_nothing(theirs: tuple[Theirs, Server]) -> None:
    behaviour, server = theirs
    with Watched(server):
        eventually(lambda: behaviour.asked > 3)
        assert server.lost() == ""
        behaviour.hangs.set()
        eventually(lambda: server.lost())
        assert server.lost() == f"{server.says} does not answer"
    assert server._answers is False


def test_asking_whether_it_is_lost_asks_nobody(theirs: tuple[Theirs, Server]) -> None:
    behaviour, server = theirs
    behaviour.hangs.set()
    assert [server.lost() for _ in range(100)] == [""] * 100
    assert behaviour.asked == 0


def test_one_that_closes_its_connections_between_answers_is_there(theirs: tuple[Theirs, Server]) -> None:
    behaviour, server = theirs
    behaviour.closes_after_each = True
    with Watched(server):
        eventually(lambda: behaviour.asked > 20)
        assert server.lost() == ""


def test_a_second_is_the_most_that_an_answer_may_take() -> None:
    assert servers._ALIVE <= 1.0
    assert servers._EVERY + servers._ALIVE < 2.0, "a run whose proxy is gone ends within 2 s"


def test_proxies_on_a_server_that_hangs_are_waited_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Barrier(3, timeout=5)
    done: list[str] = []

    def apply(cls: type[DeleteProxy], undo: Undo, system: object) -> None:
        waiting.wait()
        if "b" in undo.id:
            raise UndoError("it hangs")

    monkeypatch.setattr(mesh_module.DeleteProxy, "apply_undo", classmethod(apply))
    mesh = Mesh(None, "http://127.0.0.1:1", None, lambda undo: None, done.append)  # type: ignore[arg-type]  # launches nothing
    for name in "abc":
        mesh._promise(delete_undo(name, Place("http://127.0.0.1:1", name, ours=False)))
    with pytest.raises(UndoError, match="it hangs"):
        mesh.close()
    assert len(done) == 2 and not any("b" in undo for undo in done)


class Runs:
    """A process that runs until it is ended."""

    def __init__(self) -> None:
        self.signals: list[int] = []

    def poll(self) -> int | None:
        return -9 if self.signals else None

    def signal(self, number: int) -> None:
        self.signals.append(number)


def test_one_of_ours_that_hangs_is_ended_and_others_are_not(theirs: tuple[Theirs, Server]) -> None:
    behaviour, server = theirs
    mesh = Mesh(None, "real", None, lambda undo: None, lambda id_: None)  # type: ignore[arg-type]  # launches nothing
    mesh._real = server
    behaviour.hangs.set()
    mesh.end_hung()  # somebody else's: not ours to end
    server.child = child = Runs()  # type: ignore[assignment]  # as much of a child as is asked
    mesh.end_hung()
    assert child.signals == [signal.SIGKILL]
    assert mesh.lost() == "its process ended"


def test_one_of_ours_that_answers_is_left_alone(theirs: tuple[Theirs, Server]) -> None:
    _, server = theirs
    mesh = Mesh(None, "real", None, lambda undo: None, lambda id_: None)  # type: ignore[arg-type]  # launches nothing
    mesh._real = server
    server.child = child = Runs()  # type: ignore[assignment]  # as much of a child as is asked
    mesh.end_hung()
    assert child.signals == [] and mesh.lost() == ""
