"""Fork, wait at a gate until the process is written down, and become the program. Standard library only."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
from types import TracebackType
from typing import NoReturn

from chaoskit.processes import must_identify, prctl

__all__ = ["Gate", "spawn"]

_PR_SET_PDEATHSIG = 1


class Gate:
    """A forked process that waits. It becomes its program when the gate opens, and ends when that never happens:
    on leaving the block, or because this process died.

    `spec` has argv, env, cwd, log and user, as in `interfaces.LaunchSpec`. For single-threaded processes only.
    """

    def __init__(self, spec: dict[str, object], marks: dict[str, str], stop_signal: int) -> None:
        gate_read, self._gate = os.pipe()
        self._trouble, trouble_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(self._gate)
            _wait_and_become(spec, marks, stop_signal, gate_read, trouble_write)
        os.close(gate_read)
        os.close(trouble_write)
        self.process = must_identify(pid)

    def open(self) -> str:
        """Let it go on; returns what kept it from becoming the program, or an empty string."""
        with contextlib.suppress(BrokenPipeError):  # it failed before it came to the gate, and says why
            os.write(self._gate, b"1")
        said = b""
        while data := os.read(self._trouble, 4096):  # ends once the program has taken the child over, or it is gone
            said += data
        return said.decode(errors="replace")

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._gate)
        os.close(self._trouble)


def spawn(spec: dict[str, object]) -> int:
    """Start a program at once, with our own output, and without it ending when we do. Returns its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            _settle()
            _become(spec, {})
        finally:
            os._exit(127)
    return pid


def _wait_and_become(
    spec: dict[str, object], marks: dict[str, str], stop_signal: int, gate: int, trouble: int
) -> NoReturn:
    try:
        _settle()
        log = str(spec["log"])
        out = os.open(log or os.devnull, os.O_WRONLY | os.O_APPEND | (os.O_CREAT if log else 0), 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        if user := str(spec["user"]):
            entry = pwd.getpwnam(user)
            os.setgroups([])
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
        os.chdir(str(spec["cwd"]))
        # Should the guardian be killed, what it launched goes with it. After setuid, which would clear it.
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL if stop_signal == signal.SIGTERM else stop_signal)
        if os.read(gate, 1) != b"1":
            os._exit(0)  # it was never written down
        _become(spec, marks)
    except BaseException as error:  # noqa: BLE001 - a forked child may not fall back into the guardian's loop
        os.write(trouble, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(127)


def _settle() -> None:
    """Undo what the guardian set up for itself, and what it inherited: a shell starts things in the background with
    SIGINT and SIGQUIT ignored, and PostgreSQL must hear SIGQUIT."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _become(spec: dict[str, object], marks: dict[str, str]) -> NoReturn:
    argv, env = spec["argv"], spec["env"]
    assert isinstance(argv, list) and isinstance(env, dict), "as the client sends them"
    try:
        os.execvpe(argv[0], argv, {**env, **marks})  # noqa: S606 - no shell is the point
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(error.errno, "no such program", argv[0]) from None
