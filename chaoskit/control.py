"""How commands talk to a game day that is up: one JSON line asked, one answered, over a Unix socket of the user's own.

    $CHAOSKIT_STATE/up/<run>/control      mode 0600 in a folder of mode 0700; who connects must be the same user

An answer with `error` is raised where it was asked, with the hint and the exit code that it had over there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from chaoskit.errors import ChaoskitError, CouldNotRun, CouldNotTell, Exit, UndoError, UsageError
from chaoskit.journal import state_folder
from chaoskit.model.undo import JSON

__all__ = ["ControlServer", "Message", "ask", "control_folder", "standing"]

Message = dict[str, JSON]

_NAME = "control"
_LONGEST_PATH = 100
"""Bytes of a socket's path that every system takes (Linux 108, macOS 104)."""
_MOST = 1 << 20
_READ = 5.0
"""Seconds that who connects may take to say what it wants."""
_ERRORS: dict[int, type[ChaoskitError]] = {
    Exit.USAGE: UsageError,
    Exit.INCONCLUSIVE: CouldNotTell,
    Exit.UNDO_LEFT: UndoError,
}


def control_folder(run: str) -> Path:
    """Where the socket of a run is; gone when the run is."""
    return state_folder() / "up" / run


class ControlServer:
    """Answers whoever asks. `answer` is called in a thread of each connection; a ChaoskitError of it is an answer."""

    def __init__(self, run: str, answer: Callable[[Message], Message]) -> None:
        self._folder = control_folder(run)
        self._answer = answer
        self._listener: socket.socket | None = None
        self._answering: set[threading.Thread] = set()

    def start(self) -> None:
        """Raises CouldNotRun where the socket cannot be made."""
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder.mkdir(mode=0o700)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with _short(self._folder) as path:
                listener.bind(path)
            (self._folder / _NAME).chmod(0o600)
            listener.listen(16)
        except OSError as error:
            raise CouldNotRun(f"no socket can be made in {self._folder}: {error.strerror or error}") from error
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="control", daemon=True).start()

    def close(self) -> None:
        """Nobody finds it any more; who is connected is still answered. Idempotent."""
        if self._listener is not None:
            with contextlib.suppress(OSError):  # where it was shut down already
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed
                return
            thread = threading.Thread(target=self._serve, args=(connection,), name="control-answer", daemon=True)
            self._answering.add(thread)
            thread.start()

    def finish(self, patience: float) -> None:
        """Wait until everybody who is connected has been answered, for at most so long."""
        until = time.monotonic() + patience
        for thread in list(self._answering):
            thread.join(max(until - time.monotonic(), 0.0))

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._serve_one(connection)
        finally:
            self._answering.discard(threading.current_thread())

    def _serve_one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # whoever asked has gone
            if not _same_user(connection):
                return
            connection.settimeout(_READ)
            asked = _line(connection)
            connection.settimeout(None)
            connection.sendall(msgspec.json.encode(self._answered(asked)) + b"\n")

    def _answered(self, asked: bytes) -> Message:
        try:
            return self._answer(msgspec.json.decode(asked, type=Message))
        except ChaoskitError as error:
            return {"error": error.message, "hint": error.hint, "detail": error.detail, "exit": int(error.exit_code)}
        except msgspec.DecodeError as error:
            return {"error": f"not a request: {error}", "exit": int(Exit.USAGE)}
        except Exception as error:  # noqa: BLE001 - the game day goes on, whatever one request does to it
            return {"error": f"{type(error).__name__}: {error}", "exit": int(Exit.COULD_NOT_RUN)}


def ask(run: str, message: Message, *, patience: float = 30.0) -> Message:
    """Ask a game day and return its answer. Raises the error that it answered with, CouldNotRun where it is gone or
    does not answer in time."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(patience)
            with _short(control_folder(run)) as path:
                connection.connect(path)
            connection.sendall(msgspec.json.encode(message) + b"\n")
            said = _line(connection)
    except TimeoutError:
        raise CouldNotRun(f"{run} did not answer within {patience:g} s", hint=f"chaoskit stop {run}") from None
    except OSError as error:
        raise CouldNotRun(f"{run} is gone: {error.strerror or error}") from error
    if not said:
        raise CouldNotRun(f"{run} ended before it answered")
    answer = msgspec.json.decode(said, type=Message)
    if "error" in answer:
        code = answer.get("exit")
        kind = _ERRORS.get(code if isinstance(code, int) else 0, CouldNotRun)
        raise kind(str(answer["error"]), hint=str(answer.get("hint", "")), detail=str(answer.get("detail", "")))
    return answer


def standing() -> list[str]:
    """Runs that answer on their socket, oldest first."""
    found = []
    for place in (state_folder() / "up").glob(f"*/{_NAME}"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            with _short(place.parent) as path:
                connection.connect(path)
            found.append((place.stat().st_mtime, place.parent.name))
    return [run for _, run in sorted(found)]


def _line(connection: socket.socket) -> bytes:
    """What comes up to the end of a line; empty where the other side hung up before it."""
    data = bytearray()
    while not data.endswith(b"\n"):
        more = connection.recv(1 << 16)
        if not more or len(data) > _MOST:
            return b""
        data += more
    return bytes(data)


def _same_user(connection: socket.socket) -> bool:
    """Whether the same user asks, where the system tells; the folder's mode keeps others out anyway."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", raw)
    return user in (os.geteuid(), 0)


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A path of the socket in this folder that is short enough for one. Raises OSError."""
    path = str(folder / _NAME)
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield path
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not Path("/proc/self/fd").is_dir():
            raise OSError(f"{path} is too long for a socket: name a shorter folder in CHAOSKIT_STATE")
        yield f"/proc/self/fd/{handle}/{_NAME}"
    finally:
        os.close(handle)
