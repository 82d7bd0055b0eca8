"""The process that launches every other one of a run, outlives the harness, and undoes what is due.

    python -I -S …/chaoskit/guardian.py RUN JOURNAL HARNESS_PID SOCKET_FD RECOVER_COMMAND…

    harness ──socketpair, JSON lines──► guardian ──fork──► services, proxy, load worker, backing servers
       ╳ dies, or hangs past a due time      └─ starts `recover` for faults, folders, containers; ends what it launched

It is a subreaper in a session of its own: a terminal's Ctrl-C does not reach it or its children, and whatever they
daemonise becomes its child. It runs on the standard library, `processes.py` and `spawning.py` alone, so that nothing
in site-packages and nothing that the harness loads can break it. It never blocks: one thread, one selector.

Requests carry `n`, which the answer repeats: launch · signal · stop · end. Told without an answer: beat · due · done.
Told to the harness: {"exit": child, "status": …} and {"took_over": because}.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time

if __name__ == "__main__":  # started as a file and without site-packages: only the standard library and this folder
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100,PTH120 - starts fast

from chaoskit.processes import (
    CHILD_MARK,
    RUN_MARK,
    Ending,
    ProcessId,
    descendants,
    family,
    marked,
    must_identify,
    prctl,
    send,
    state,
    table,
)
from chaoskit.spawning import Gate, spawn

__all__ = ["LATE", "SILENT", "STOPPED", "main"]

STOPPED = 1.0
"""Seconds after a due time from which a harness that is stopped (SIGSTOP, Ctrl-Z) counts as hung."""
SILENT = 5.0
"""The same for one that only says nothing: on a busy machine it may merely wait for its turn."""
LATE = 10.0
"""The same for one whose heart beats."""

_HURRY = 0.7  # grace of stop signals once the harness is gone: everything must be gone within 5 s
_FAULTS_FIRST = 2.5  # head start of `recover`, which takes faults out before processes end
_RECOVER = 60.0  # a `recover` that takes longer hangs; the journal stays for the next one
_PASSES = 2.0  # between two sweeps
_NOTICE = 1.0  # between two looks for what has shed every mark
_PR_SET_CHILD_SUBREAPER = 36


class _Launched:
    """One process that was launched, as long as the run lasts."""

    def __init__(self, number: int, name: str, process: ProcessId, mark: str, stop: int, grace: float, order: int):
        self.number, self.name, self.process, self.mark = number, name, process, mark
        self.stop, self.grace, self.order = stop, grace, order
        self.status: int | None = None
        self.gone = False


class Guardian:
    """The state of one run. Not for use outside its own process: the harness has `guardian_client`."""

    def __init__(self, run: str, journal: str, harness: int, sock: socket.socket, recover: list[str]) -> None:
        self._run, self._path, self._harness, self._sock, self._recover = run, journal, harness, sock, recover
        self._journal = os.open(journal, os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._me = os.getpid()
        self._subreaper = prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._launched: dict[int, _Launched] = {}
        self._by_pid: dict[int, _Launched] = {}
        self._endings: dict[int, Ending] = {}
        self._waiting: list[tuple[int, set[int]]] = []  # (n of the request, children that are not gone yet)
        self._ending_run: int | None = None
        self._due: dict[str, float] = {}
        self._heard = time.monotonic()
        self._input, self._output = bytearray(), bytearray()
        self._connected = True
        self._took_over = 0.0  # when; 0 while the harness is in charge
        self._recovering = 0  # pid of `recover`
        self._recovering_since = 0.0
        self._recoveries = 0
        self._quiet_since = 0.0
        self._told_to_end = False
        self._finished = False
        self._noticed: set[tuple[int, str]] = set()
        self._notice_at = 0.0

    # ------------------------------------------------------------------------------------------------ the loop

    def serve(self) -> None:
        """Until nothing is left of the run."""
        wake_read, wake_write = socket.socketpair()
        wake_read.setblocking(False)
        wake_write.setblocking(False)
        signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_told_to_end", True))
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        self._sock.setblocking(False)
        selector = selectors.DefaultSelector()
        selector.register(wake_read, selectors.EVENT_READ)
        selector.register(self._sock, selectors.EVENT_READ)
        with contextlib.suppress(AttributeError, OSError):  # no pidfd here: the pipe and the parent's pid tell too
            selector.register(os.pidfd_open(self._harness), selectors.EVENT_READ)
        self._append({"type": "guardian", "guardian": [self._me, must_identify(self._me).started]})
        self._say({"ready": True, "subreaper": self._subreaper})
        while not self._finished:
            for key, _ in selector.select(0.02 if self._endings or self._took_over else 0.1):
                if key.fileobj is wake_read:
                    with contextlib.suppress(BlockingIOError):
                        wake_read.recv(4096)
                elif key.fileobj is self._sock:
                    self._receive()
                else:  # the harness' pidfd: it is dead, whoever holds a copy of its socket
                    selector.unregister(key.fileobj)
                    self._disconnect()
            if not self._connected and self._sock.fileno() >= 0:
                selector.unregister(self._sock)
                self._sock.close()
            self._reap()
            self._step()
            self._flush()

    def _step(self) -> None:
        now = time.monotonic()
        if not self._took_over:
            if not self._connected or os.getppid() != self._harness:
                self._take_over("the harness is gone")
            elif self._told_to_end:
                self._take_over("the guardian was told to end")
            elif late := self._overdue(now):
                self._take_over(f"the harness hangs: {late} is overdue")
        if self._endings:
            rows = table()
            self._reap()  # who ended since the last look is a zombie in there: its exit is told before its end
            for number in [n for n, ending in self._endings.items() if ending.step(rows)]:
                self._gone(number)
        if self._took_over:
            self._clean_up(now)
        elif self._ending_run is not None:
            if not self._endings:
                self._end_next()
        elif now >= self._notice_at:
            self._notice(now)

    def _overdue(self, now: float) -> str:
        """The undo that a hung harness owes, or an empty string."""
        undo, at = min(self._due.items(), key=lambda item: item[1], default=("", now))
        if now <= at + STOPPED:
            return ""
        silent = now - self._heard
        hung = now > at + LATE or (now > at + SILENT and silent > SILENT)
        return undo if hung or (silent > STOPPED and state(self._harness) in "Tt") else ""

    # ----------------------------------------------------------------------------------------------- the harness

    def _receive(self) -> None:
        try:
            data = self._sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:  # reset: as good as closed
            data = b""
        if not data:
            self._disconnect()
            return
        self._heard = time.monotonic()
        self._input += data
        *lines, rest = self._input.split(b"\n")
        self._input = bytearray(rest)
        for line in lines:
            if not self._took_over:
                self._handle(json.loads(line))

    def _disconnect(self) -> None:
        self._connected = False
        self._output.clear()

    def _say(self, message: dict[str, object]) -> None:
        if self._connected:
            self._output += json.dumps(message).encode() + b"\n"
            self._flush()

    def _flush(self) -> None:
        if not (self._output and self._connected):
            return
        try:
            sent = self._sock.send(self._output)
        except BlockingIOError:
            return
        except OSError:  # it is gone, which its pidfd or the next recv will say
            self._output.clear()
            return
        del self._output[:sent]

    def _handle(self, message: dict[str, object]) -> None:
        match message:
            case {"op": "launch", "n": int(n)}:
                self._say({"n": n, **self._launch(n, message)})
            case {"op": "signal", "n": int(n), "child": int(child), "signal": int(number), "tree": bool(tree)}:
                self._say({"n": n, "at": self._signal(self._launched[child], number, tree=tree)})
            case {"op": "stop", "n": int(n), "children": list(children)}:
                for child in children:
                    self._end(self._launched[child])
                self._waiting.append((n, set(children)))
                self._answer_waiting()
            case {"op": "end", "n": int(n)}:
                self._ending_run = n
            case {"op": "due", "undo": str(undo), "at": at}:
                self._due[undo] = float(str(at))
            case {"op": "done", "undo": str(undo)}:
                self._due.pop(undo, None)
            case {"op": "beat"}:
                pass  # that it was heard is all it says

    # ---------------------------------------------------------------------------------------------- processes

    def _launch(self, number: int, spec: dict[str, object]) -> dict[str, object]:
        mark = f"{self._run}/{number}"
        stop = int(str(spec["stop_signal"]))
        name = str(spec["name"])
        with Gate(spec, {RUN_MARK: self._run, CHILD_MARK: mark}, stop) as gate:
            try:
                self._append(_process_record(number, name, gate.process.pid, gate.process.started, stop))
            except OSError as error:  # a full disk: what cannot be written down may not run
                return {"error": f"the journal cannot be written: {error.strerror}"}
            child = _Launched(
                number, name, gate.process, mark, stop, float(str(spec["grace"])), int(str(spec["order"]))
            )
            self._launched[number] = self._by_pid[gate.process.pid] = child
            trouble = gate.open()
        if trouble:
            return {"error": trouble}
        return {"pid": gate.process.pid, "started": gate.process.started, "at": time.monotonic()}

    def _signal(self, child: _Launched, number: int, *, tree: bool) -> float:
        """The process first, then all that came from it; returns when the process was signalled.

        Who belongs to it is asked before, while descent tells, and again after, for what it forked meanwhile.
        """
        first = family(child.process, child.mark, table(), reaper=self._me) if tree else set()
        if child.status is None:  # not reaped yet: the pid is still its own
            os.kill(child.process.pid, number)
        at = time.monotonic()
        send(first - {child.process.pid}, number)
        if tree:
            late = family(child.process, child.mark, table(), reaper=self._me) - first
            send(late - {child.process.pid}, number)
        return at

    def _end(self, child: _Launched, grace: float | None = None) -> None:
        if child.gone:
            return
        ending = self._endings.get(child.number)
        if ending is None:
            ending = Ending(
                child.process, child.mark, child.stop, child.grace if grace is None else grace, reaper=self._me
            )
            self._endings[child.number] = ending
        elif grace is not None:
            ending.hurry(grace)

    def _gone(self, number: int) -> None:
        self._endings.pop(number)
        self._launched[number].gone = True
        with contextlib.suppress(
            OSError
        ):  # its start time protects whoever gets its pid; a full disk is no reason to stay
            self._append({"type": "gone", "child": number}, sync=False)
        self._answer_waiting()

    def _answer_waiting(self) -> None:
        self._waiting, waiting = [], self._waiting
        for n, children in waiting:
            if children & self._endings.keys():
                self._waiting.append((n, children))
            else:
                self._say({"n": n})

    def _reap(self) -> None:
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            status = os.waitstatus_to_exitcode(wait_status)
            if pid == self._recovering:
                self._recovering = 0
            child = self._by_pid.pop(pid, None)
            if child is not None:
                child.status = status
                self._say({"exit": child.number, "status": status, "at": time.monotonic()})

    def _notice(self, now: float) -> None:
        """Journal what came from our processes and bears no mark of the run: nobody could find it without us."""
        self._notice_at = now + _NOTICE
        rows = table()
        fresh = {pid for pid in descendants(rows, self._me) if (pid, rows[pid].started) not in self._noticed}
        self._noticed |= {(pid, rows[pid].started) for pid in fresh}
        with contextlib.suppress(OSError):  # a full disk: it is still known here, by descent
            for pid in fresh - self._by_pid.keys() - marked(RUN_MARK, self._run, fresh):
                self._append(_process_record(-pid, "(descendant)", pid, rows[pid].started, signal.SIGKILL))

    # ------------------------------------------------------------------------------------------------ the end

    def _end_next(self) -> None:
        """A clean end: stop what is left in its order, then everything that it daemonised, then say so."""
        left = [child for child in self._launched.values() if not child.gone]
        if left:
            first = min(child.order for child in left)
            for child in left:
                if child.order == first:
                    self._end(child)
            return
        strays = self._strays()
        if strays:
            send(strays, signal.SIGKILL)
            return
        if self._recovering_or_started():
            return
        open_undos = self._open_undos()
        if not open_undos:
            self._forget()
        self._say({"n": self._ending_run, "left": open_undos})
        self._finished = True

    def _recovering_or_started(self) -> bool:
        """Whether `recover` is at work on what the journal says is left; it gets two chances and a minute for each."""
        if not self._recovering:
            self._start_recover()
        elif time.monotonic() - self._recovering_since > _RECOVER:
            os.kill(self._recovering, signal.SIGKILL)
        return self._recovering != 0

    def _take_over(self, because: str) -> None:
        """Nobody else will: undo everything."""
        print(f"guardian of {self._run}: {because}; undoing", file=sys.stderr, flush=True)  # noqa: T201 - its log
        self._say({"took_over": because})
        self._disconnect()
        self._took_over = time.monotonic()
        self._start_recover()

    def _start_recover(self) -> None:
        if self._recoveries >= 2 or not self._open_undos():
            return
        self._recoveries += 1
        env = {name: value for name, value in os.environ.items() if name not in (RUN_MARK, CHILD_MARK)}
        self._recovering = spawn({"argv": self._recover, "env": env})
        self._recovering_since = time.monotonic()

    def _clean_up(self, now: float) -> None:
        """One step of an end without the harness."""
        waited = now - self._took_over
        if self._recovering and waited < _FAULTS_FIRST:
            return
        for child in self._launched.values():
            self._end(child, _HURRY)
        if self._endings:
            return
        strays = self._strays()
        send(strays, signal.SIGKILL)
        if strays:
            self._quiet_since = 0.0
            return
        # The second chance of `recover`: what failed beside live processes may work without them.
        if self._recovering_or_started():
            return
        self._quiet_since = self._quiet_since or now
        # A subreaper without children has no descendants, and nobody else can make one: that needs no second look.
        if not self._subreaper and now - self._quiet_since < _PASSES:
            return
        if not self._open_undos():
            self._forget()
        self._finished = True

    def _strays(self) -> set[int]:
        """What the run started and no ending has reached: daemonised, its environment dropped, its session its own."""
        rows = table()
        recovering = {self._recovering} | descendants(rows, self._recovering) if self._recovering else set()
        below = descendants(rows, self._me) - recovering
        if self._subreaper:
            return below
        return (below | marked(RUN_MARK, self._run, rows)) - recovering - {self._me}

    # ------------------------------------------------------------------------------------------------ the journal

    def _append(self, record: dict[str, object], *, sync: bool = True) -> None:
        data = b"\n" + json.dumps(record, separators=(",", ":")).encode() + b"\n"
        if os.write(self._journal, data) != len(data):
            raise OSError(28, "No space left on device")
        if sync:
            os.fsync(self._journal)

    def _open_undos(self) -> list[str]:
        """Ids in the journal that are not done. A line that cannot be read was never finished."""
        undos: dict[str, None] = {}
        with open(self._path, "rb") as file:  # noqa: PTH123 - pathlib would double the guardian's start
            for line in file:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    record = json.loads(line)
                    if record["type"] == "undo":
                        undos[record["undo"]["id"]] = None
                    elif record["type"] == "done":
                        undos.pop(record["id"], None)
        return list(undos)

    def _forget(self) -> None:
        """Nothing is left: neither is the journal, nor the guardian's log."""
        for path in (self._path, self._path.removesuffix(".journal") + ".log"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - pathlib would double the guardian's start


def _process_record(child: int, name: str, pid: int, started: str, stop: int) -> dict[str, object]:
    return {"type": "process", "child": child, "name": name, "pid": pid, "started": started, "signal": stop}


def main() -> None:
    """Entry point of the process; the arguments are those in the module's docstring."""
    run, journal, harness, handle, *recover = sys.argv[1:]
    sock = socket.socket(fileno=int(handle))
    sock.set_inheritable(False)  # else a service that outlives the guardian keeps the harness from seeing it die
    Guardian(run, journal, int(harness), sock, recover).serve()


if __name__ == "__main__":
    main()
