"""The harness' side of the guardian: start it, launch processes through it, tell it what is due, end it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from chaoskit.errors import CouldNotRun, DeployError, UndoError
from chaoskit.interfaces import LaunchSpec
from chaoskit.journal import Journal
from chaoskit.model.undo import Undo
from chaoskit.recover import recover_after_guardian

__all__ = ["GuardedChild", "Guardian"]

_BEAT = 0.25
_ANSWER = 10.0


class GuardedChild:
    """A process that the guardian launched for us: `interfaces.Child`, and when it exited."""

    def __init__(self, guardian: Guardian, number: int, spec: LaunchSpec) -> None:
        self._guardian = guardian
        self._number = number
        self._spec = spec
        self._exited = threading.Event()
        self._status: int | None = None
        self.pid = 0
        self.exited_at: float | None = None
        """Absolute CLOCK_MONOTONIC."""

    @property
    def name(self) -> str:
        return self._spec.name

    def _exit(self, status: int, at: float) -> None:
        self._status, self.exited_at = status, at
        self._exited.set()

    def poll(self) -> int | None:
        """Exit status (negative for a signal), None while it runs."""
        return self._status

    def wait(self, timeout: float) -> int | None:
        """As `poll`, after at most `timeout` seconds."""
        self._exited.wait(timeout)
        return self._status

    def signal(self, number: int, *, tree: bool = True) -> None:
        """Signal it (and all it started). A process that is gone is no error."""
        self._guardian.ask({"op": "signal", "child": self._number, "signal": int(number), "tree": tree})

    def stop(self) -> None:
        """Stop signal, grace, SIGKILL, whole tree; returns when it is gone. Nothing to do where the guardian died:
        what it launched went with it."""
        if self._guardian.alive():
            self._guardian.ask({"op": "stop", "children": [self._number]}, patience=self._spec.stop_grace + _ANSWER)


class Guardian:
    """One run's guardian and journal, as a context manager: whatever ends the block, everything is taken down.

    Thread-safe. Raises CouldNotRun from any method once the guardian is gone.
    """

    def __init__(
        self,
        run_id: str,
        *,
        label: str = "",
        on_exit: Callable[[GuardedChild, int], None] | None = None,
        recover: tuple[str, ...] = (),
    ) -> None:
        """`on_exit` is called in the reading thread when a child exits. `recover` replaces the command that undoes
        what is in the journal (tests)."""
        self.run_id = run_id
        self.lost = ""
        """Why the guardian is gone although nobody asked it to end; empty while all is well."""
        self.left: list[str] = []
        """After the end: ids of undos that may still be in place."""
        self._label = label
        self._on_exit = on_exit
        self._recover = recover or (sys.executable, "-m", "chaoskit.recover", run_id)
        self._lock = threading.Lock()
        self._children: dict[int, GuardedChild] = {}
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, object] | None] = {}
        self._answered = threading.Condition()
        self._ending = False
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._journal: Journal | None = None

    @property
    def journal(self) -> Journal:
        assert self._journal is not None, "started"
        return self._journal

    @property
    def pid(self) -> int:
        assert self._process is not None, "started"
        return self._process.pid

    def __enter__(self) -> Guardian:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------------ beginning

    def start(self) -> None:
        """Begin the journal and start the process; about 60 ms. Raises CouldNotRun."""
        self._journal = Journal.create(self.run_id, label=self._label)
        ours, theirs = socket.socketpair()
        code = Path(__file__).with_name("guardian.py")
        log = self._journal.path.with_suffix(".log")
        # What `recover` needs to find this very package, however it was found here.
        paths = [os.environ.get("PYTHONPATH", ""), str(code.parent.parent)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        isolated = [sys.executable, "-I", "-S", str(code)]
        with theirs, log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *isolated,
                    self.run_id,
                    str(self._journal.path),
                    str(os.getpid()),
                    str(theirs.fileno()),
                    *self._recover,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._socket = ours
        with self._answered:
            self._answers[0] = None
        threading.Thread(target=self._listen, name="guardian", daemon=True).start()
        try:
            self._await(0, _ANSWER)
        except BaseException:
            self.close()
            raise

    # ----------------------------------------------------------------------------------------------- processes

    def launch(self, spec: LaunchSpec) -> GuardedChild:
        """Returns once the process is journaled and released. Raises DeployError where it cannot be started."""
        number = next(self._numbers)
        child = self._children[number] = GuardedChild(self, number, spec)
        if spec.log:
            Path(spec.log).parent.mkdir(parents=True, exist_ok=True)
        answer = self.ask(
            {
                "op": "launch",
                "name": spec.name,
                "argv": list(spec.argv),
                "env": spec.env,
                "cwd": spec.cwd or str(Path.cwd()),
                "log": str(Path(spec.log).absolute()) if spec.log else "",
                "user": spec.user,
                "stop_signal": int(signal.Signals[spec.stop_signal]),
                "grace": spec.stop_grace,
                "order": spec.stop_order,
            },
            number=number,
        )
        if "error" in answer:
            raise DeployError(f"{spec.name} cannot be started: {answer['error']}", detail=" ".join(spec.argv))
        child.pid = int(str(answer["pid"]))
        return child

    def alive(self) -> bool:
        """Whether the guardian is there and in charge with us."""
        return self._process is not None and not self.lost and not self._ending

    # --------------------------------------------------------------------------------------------------- undos

    def will_undo(self, undo: Undo) -> None:
        """Write an undo into the journal, and have the guardian watch its due time. Returns when it is on disk."""
        self.journal.will_undo(undo)
        if undo.due is not None:
            self._send({"op": "due", "undo": undo.id, "at": undo.due})

    def undone(self, undo_id: str) -> None:
        """Mark an undo as done."""
        self.journal.done(undo_id)
        with contextlib.suppress(CouldNotRun):  # then nobody watches the due time any more, and the journal knows
            self._send({"op": "done", "undo": undo_id})

    # ---------------------------------------------------------------------------------------------------- the end

    def close(self) -> None:
        """Stop every process, in order, and end the guardian. `left` says what could not be undone. Idempotent.

        Where the guardian died, this process does its work. Raises UndoError where it could not.
        """
        if self._process is None or self._journal is None:
            return
        if self.alive():
            with contextlib.suppress(CouldNotRun):  # it died just now: handled below, like an earlier death
                self._ending = True
                answer = self._ask({"op": "end"}, patience=150.0)
                left = answer["left"]
                assert isinstance(left, list), "as the guardian sends it"
                self.left = left
        elif not self._ending:
            self._ending = True
        try:
            self._process.wait(timeout=15.0 if self.lost else 5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._socket is not None:
            self._socket.close()
        with contextlib.suppress(CouldNotRun):  # a full disk: recovery waits then until this process has ended
            self._journal.end()
        self._journal.close()
        if self.lost:
            done = recover_after_guardian(self.run_id)
            self.left = [undo.id for undo, _ in done.left]
            if done.still_running:
                raise UndoError(f"processes {done.still_running} do not end", hint=f"chaoskit recover {self.run_id}")
        self._process = None

    # ---------------------------------------------------------------------------------------------- the socket

    def ask(self, message: dict[str, object], *, number: int = 0, patience: float = _ANSWER) -> dict[str, object]:
        """Send a request and return its answer. Raises CouldNotRun where the guardian is gone or ending."""
        if self._ending:
            raise CouldNotRun("the run is ending")
        return self._ask(message, number=number, patience=patience)

    def _ask(self, message: dict[str, object], *, number: int = 0, patience: float) -> dict[str, object]:
        n = number or next(self._numbers)
        with self._answered:
            self._answers[n] = None
        self._send({**message, "n": n})
        return self._await(n, patience)

    def _await(self, n: int, patience: float) -> dict[str, object]:
        with self._answered:
            self._answered.wait_for(lambda: self._answers[n] is not None or self.lost, patience)
            answer = self._answers.pop(n)
        if answer is None:
            raise CouldNotRun(self.lost or f"the guardian did not answer within {patience:g} s")
        return answer

    def _send(self, message: dict[str, object]) -> None:
        data = json.dumps(message).encode() + b"\n"
        with self._lock:
            if self.lost or self._socket is None:
                raise CouldNotRun(self.lost or "the guardian is not started")
            try:
                self._socket.sendall(data)
            except OSError as error:
                raise CouldNotRun(f"the guardian is gone: {error.strerror}") from error

    def _listen(self) -> None:
        """The reading thread: answers, exits, and a beat of the heart every quarter of a second."""
        assert self._socket is not None, "started"
        buffer = bytearray()
        selector = selectors.DefaultSelector()
        selector.register(self._socket, selectors.EVENT_READ)
        next_beat = time.monotonic()
        because = "the guardian died"
        with contextlib.suppress(OSError, ValueError):  # a closed socket: the end, or a loss that is told below
            while True:
                if time.monotonic() >= next_beat:
                    with contextlib.suppress(CouldNotRun):  # its last words, if any, are still to be read
                        self._send({"op": "beat"})
                    next_beat = time.monotonic() + _BEAT
                if not selector.select(max(0.0, next_beat - time.monotonic())):
                    continue
                data = self._socket.recv(1 << 16)
                if not data:
                    break
                buffer += data
                *lines, rest = buffer.split(b"\n")
                buffer = bytearray(rest)
                for line in lines:
                    because = self._hear(json.loads(line)) or because
        selector.close()
        said = self.journal.path.with_suffix(".log")
        last = said.read_text(errors="replace").strip().rpartition("\n")[2] if said.exists() else ""
        with self._answered:
            if not self._ending or any(answer is None for answer in self._answers.values()):
                self.lost = f"{because}: {last}" if last else because
            self._answered.notify_all()
        for child in self._children.values():
            if child.poll() is None and self.lost:
                child._exit(-signal.SIGKILL, time.monotonic())  # the kernel ended it with the guardian

    def _hear(self, message: dict[str, object]) -> str:
        match message:
            case {"exit": int(number), "status": int(status), "at": at}:
                child = self._children[number]
                child._exit(status, float(str(at)))
                if self._on_exit is not None:
                    self._on_exit(child, status)
            case {"took_over": str(because)}:
                return f"the guardian took over: {because}"
            case {"ready": True}:
                self._answer(0, message)
            case {"n": int(n)}:
                self._answer(n, message)
        return ""

    def _answer(self, n: int, message: dict[str, object]) -> None:
        with self._answered:
            if n in self._answers:
                self._answers[n] = message
            self._answered.notify_all()
