"""The control socket: asked and answered, errors carried over, nobody else's, and nothing left of it."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaoskit.control import ControlServer, Message, ask, control_folder, standing
from chaoskit.errors import CouldNotRun, CouldNotTell, UsageError

RUN = "gameday-shop-1"


@pytest.fixture
def serve(state_folder: Path) -> Iterator[Callable[..., ControlServer]]:
    made: list[ControlServer] = []

    def start(answer: Callable[[Message], Message], run: str = RUN) -> ControlServer:
        server = ControlServer(run, answer)
        server.start()
        made.append(server)
        return server

    yield start
    for server in made:
        server.close()


def test_what_is_asked_is_answered(serve: Callable[..., ControlServer]) -> None:
    serve(lambda asked: {"heard": asked["op"]})
    assert ask(RUN, {"op": "status"}) == {"heard": "status"}
    assert standing() == [RUN]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UsageError("no edge 'a->b'", hint="did you mean 'a->c'?"), UsageError),
        (CouldNotTell("nobody could tell it from chance"), CouldNotTell),
        (CouldNotRun("it is going down"), CouldNotRun),
        (ValueError("a bug"), CouldNotRun),
    ],
)
def test_an_error_is_raised_where_it_was_asked(
    serve: Callable[..., ControlServer], error: Exception, kind: type[Exception]
) -> None:
    def fail(_asked: Message) -> Message:
        raise error

    serve(fail)
    with pytest.raises(kind, match=str(error)) as caught:
        ask(RUN, {"op": "inject"})
    assert type(caught.value) is kind
    if isinstance(error, UsageError):
        assert caught.value.hint == error.hint  # type: ignore[attr-defined]  # it is one of ours


def test_what_is_no_request_is_refused_and_the_next_one_answered(serve: Callable[..., ControlServer]) -> None:
    serve(lambda asked: asked)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5.0)
        connection.connect(str(control_folder(RUN) / "control"))
        connection.sendall(b"GET / HTTP/1.1\n")
        assert b"not a request" in connection.recv(4096)
    assert ask(RUN, {"op": "a"}) == {"op": "a"}


def test_nobody_else_may_connect(serve: Callable[..., ControlServer]) -> None:
    serve(lambda asked: asked)
    folder = control_folder(RUN)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "control").stat().st_mode) == 0o600


def test_closed_it_leaves_nothing_but_who_is_connected_is_answered(serve: Callable[..., ControlServer]) -> None:
    go_on, heard = threading.Event(), threading.Event()

    def slow(asked: Message) -> Message:
        heard.set()
        go_on.wait(5.0)
        return asked

    server = serve(slow)
    answers: list[Message] = []
    thread = threading.Thread(target=lambda: answers.append(ask(RUN, {"op": "down"})))
    thread.start()
    assert heard.wait(5.0)
    server.close()
    assert not control_folder(RUN).exists()
    assert standing() == []
    go_on.set()
    server.finish(5.0)
    thread.join(5.0)
    assert answers == [{"op": "down"}]


def test_one_that_is_gone_says_so(serve: Callable[..., ControlServer]) -> None:
    with pytest.raises(CouldNotRun, match="is gone"):
        ask(RUN, {"op": "status"})


def test_a_socket_that_nobody_serves_is_not_one_that_stands(state_folder: Path) -> None:
    folder = control_folder(RUN)
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "control"))
    assert standing() == []


def test_a_long_state_folder_is_no_obstacle(
    serve: Callable[..., ControlServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    monkeypatch.setenv("CHAOSKIT_STATE", str(tmp_path / ("x" * 120)))
    before = _open_files()
    server = serve(lambda asked: asked)
    assert ask(RUN, {"op": "a"}) == {"op": "a"}
    assert standing() == [RUN]
    server.close()
    assert _open_files() <= before + 1


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
