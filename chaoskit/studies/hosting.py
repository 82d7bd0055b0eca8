"""The process in which a game day lives: started by `up`, on its own from the moment it stands.

up ── fork ──► host, in a session of its own ── say · status · error, JSON lines ──► up
 └─ until it stands: whoever started it goes away, and it goes down again
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec

from chaoskit.control import Message
from chaoskit.errors import ChaoskitError, CouldNotRun, Exit, UsageError
from chaoskit.interrupt import Interrupted
from chaoskit.model.observation import Event, Observation
from chaoskit.studies.gameday import GameDay, UpAsked
from chaoskit.studies.live import Status

__all__ = ["put_up"]

_TAIL = 20
"""Lines of the host's log that an error shows."""


def put_up(asked: UpAsked, tell: Callable[[str], None]) -> Status:
    """Start a host and wait until the game day stands. `tell` gets lines of progress. Call it without other threads.

    Raises ChaoskitError where it does not come to stand; KeyboardInterrupt takes down what stands, and goes on.
    """
    gameday = GameDay(asked)
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _host(gameday, theirs)
    theirs.close()
    with ours:
        said = _Said(ours, tell)
        try:
            status = said.status()
        except KeyboardInterrupt:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            with contextlib.suppress(ChaoskitError):  # that it was interrupted
                said.status()
            os.waitpid(pid, 0)
            raise
        except ChaoskitError:
            os.waitpid(pid, 0)
            raise
        if status is None:
            os.waitpid(pid, 0)
            log = _log(gameday)
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
            raise CouldNotRun("the game day ended before it stood", detail="\n".join(lines[-_TAIL:]))
        return status


class _Said:
    """What the host says while it comes to stand."""

    def __init__(self, connection: socket.socket, tell: Callable[[str], None]) -> None:
        self._lines = connection.makefile("rb")
        self._tell = tell

    def status(self) -> Status | None:
        """Wait until it stands; None where it ended without a word. Raises the error that it met."""
        for line in self._lines:
            said = msgspec.json.decode(line, type=Message)
            if "say" in said:
                self._tell(str(said["say"]))
            elif "status" in said:
                return msgspec.convert(said["status"], Status)
            else:
                kind = UsageError if said["exit"] == Exit.USAGE else CouldNotRun
                raise kind(str(said["error"]), hint=str(said["hint"]), detail=str(said["detail"]))
        return None


# ------------------------------------------------------------------------------------------------------- the host


def _host(gameday: GameDay, connection: socket.socket) -> NoReturn:
    """The life of the forked process: never falls back into what its parent was doing."""
    code = int(Exit.COULD_NOT_RUN)
    try:
        os.setsid()
        _detach(_log(gameday), keep=connection.fileno())
        code = _carry_out(gameday, _Leash(connection))
    except BaseException:  # noqa: BLE001 - a forked child may not return into its parent's code; its log has it all
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):  # a full disk keeps nobody from ending
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _carry_out(gameday: GameDay, leash: _Leash) -> int:
    def stands(status: Status) -> None:
        leash.off({"status": msgspec.to_builtins(status)})

    def hear(seen: Observation) -> None:
        if isinstance(seen, Event) and seen.kind == "say":
            leash.say({"say": seen.text})

    try:
        gameday.carry_out(stands, listeners=[hear])
    except Interrupted:
        leash.say({"error": "interrupted, and taken down again", "hint": "", "detail": "", "exit": 130})
        return int(Exit.INTERRUPTED)
    except ChaoskitError as error:
        code = int(error.exit_code)
        leash.say({"error": error.message, "hint": error.hint, "detail": error.detail, "exit": code})
        traceback.print_exc()
        return code
    return int(Exit.AS_EXPECTED)


class _Leash:
    """Holds the host to the command that started it, until it stands."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._standing = False
        threading.Thread(target=self._watch, name="leash", daemon=True).start()

    def say(self, message: Message) -> None:
        if not self._standing:
            with contextlib.suppress(OSError):  # it went away, which `_watch` hears too
                self._send(message)

    def off(self, message: Message) -> None:
        """It stands: the last thing that is said. Whoever hears it may go at once."""
        self._standing = True
        try:
            self._send(message)
        except OSError:  # nobody heard it
            os.kill(os.getpid(), signal.SIGTERM)

    def _send(self, message: Message) -> None:
        self._connection.sendall(msgspec.json.encode(message) + b"\n")

    def _watch(self) -> None:
        with contextlib.suppress(OSError):  # a reset is an end too
            self._connection.recv(1)
        if not self._standing:
            os.kill(os.getpid(), signal.SIGTERM)


def _log(gameday: GameDay) -> Path:
    return gameday.folder / "logs" / "gameday.log"


def _detach(log: Path, *, keep: int) -> None:
    """No terminal, no pipe, no lock of whoever started us: nobody must wait for ours to be closed."""
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for ours, theirs in ((0, nothing), (1, written), (2, written)):
        os.dup2(theirs, ours)
    os.close(nothing)
    os.close(written)
