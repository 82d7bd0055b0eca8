"""What must be undone, written down and fsynced before it exists, so that any later process can undo it.

One file a run, of JSON lines, in the user's own state folder. The harness and the guardian append to it at the same
time: each record is one write of one line with O_APPEND, so that none can split another. A line that cannot be read
was never finished, and then what it announces was never done.

    {"type": "header", "format_version": 1, "run": …, "label": …, "harness": [pid, started], "boot": …,
     "at": …, "wall": …}                                     (on one line, like all of them)
    {"type": "guardian", "guardian": [pid, started]}
    {"type": "undo", "undo": {"id": …, "owner": …, "args": {…}, "due": …, "says": …}}
    {"type": "done", "id": …}
    {"type": "process", "child": 3, "name": "orders", "pid": …, "started": …, "signal": 15}
    {"type": "gone", "child": 3}
    {"type": "end"}

Format versions: 1 is the first.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from chaoskit.errors import CouldNotRun, UsageError
from chaoskit.model.undo import Undo
from chaoskit.processes import ProcessId, boot_id, identify, running

__all__ = [
    "Journal",
    "JournaledProcess",
    "Left",
    "forget",
    "journals",
    "lock",
    "read",
    "runs_folder",
    "state_folder",
]

_FORMAT = 1
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def state_folder() -> Path:
    """`$CHAOSKIT_STATE`, else `$XDG_STATE_HOME/chaoskit`, else `~/.local/state/chaoskit`; it may not exist yet."""
    own = os.environ.get("CHAOSKIT_STATE")
    if own:
        return Path(own).absolute()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "chaoskit"


def runs_folder() -> Path:
    """Where journals lie: made with mode 0700 where it is missing. Raises UsageError where it is somebody else's."""
    folder = state_folder() / "runs"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        info = folder.lstat()
    except OSError as error:
        raise _unwritable(folder, error) from error
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
        raise UsageError(
            f"{folder} belongs to user {info.st_uid}, not to you ({os.geteuid()})",
            hint="name a folder of your own in CHAOSKIT_STATE",
        )
    if stat.S_IMODE(info.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


def _unwritable(path: Path, error: OSError) -> CouldNotRun:
    return CouldNotRun(
        f"{path} cannot be written: {(error.strerror or str(error)).lower()}",
        hint="nothing is broken that could not be undone: name a folder that can be written in CHAOSKIT_STATE",
    )


def _path(run: str) -> Path:
    if not _RUN_ID.fullmatch(run):
        raise UsageError(f"{run!r} is not the id of a run")
    return runs_folder() / f"{run}.journal"


def _open(path: Path, flags: int) -> int:
    """Open a journal that is ours alone. Raises UsageError where somebody else wrote it or could have."""
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise UsageError(
            f"there is no journal of run {path.stem!r}", hint="`chaoskit recover` lists those that are left"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be opened: {error.strerror}") from error
    info = os.fstat(handle)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o022:
        os.close(handle)
        raise UsageError(f"{path} is refused: only you may be able to write a journal that is acted on")
    return handle


class Journal:
    """The open journal of one run, for writing. Every method returns when the record is on disk; any thread.

    Raises CouldNotRun where a record cannot be written; then what it announces must not be made.
    """

    def __init__(self, run: str, handle: int, path: Path) -> None:
        self.run = run
        self.path = path
        self._handle = handle
        self._lock = threading.Lock()

    @classmethod
    def create(cls, run: str, *, label: str = "") -> Journal:
        """Begin the journal of a run whose harness is this process. Raises UsageError where there is one already."""
        path = _path(run)
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise UsageError(f"there is a journal of run {run!r} already", hint=f"chaoskit recover {run}") from None
        except OSError as error:
            raise _unwritable(path, error) from error
        journal = cls(run, handle, path)
        me = identify(os.getpid())
        assert me is not None, "this process is in the process table"
        journal._append(
            {
                "type": "header",
                "format_version": _FORMAT,
                "run": run,
                "label": label,
                "harness": [me.pid, me.started],
                "boot": me.boot,
                "at": time.monotonic(),
                "wall": time.time(),
            }
        )
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return journal

    @classmethod
    def append_to(cls, run: str) -> Journal:
        """Open the journal of an earlier run. Raises UsageError where it is missing or not ours."""
        path = _path(run)
        return cls(run, _open(path, os.O_APPEND | os.O_WRONLY), path)

    def _append(self, record: dict[str, object]) -> None:
        # A newline before it too: what an interrupted write left behind then spoils its own line only.
        data = b"\n" + json.dumps(record, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                whole = os.write(self._handle, data) == len(data)
                os.fsync(self._handle)
            except OSError as error:
                raise _unwritable(self.path, error) from error
        if not whole:
            raise _unwritable(self.path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def will_undo(self, undo: Undo) -> None:
        """Announce what is about to exist. Only after this may it be made."""
        self._append({"type": "undo", "undo": msgspec.to_builtins(undo)})

    def done(self, undo_id: str) -> None:
        """It is gone again."""
        self._append({"type": "done", "id": undo_id})

    def gone(self, child: int) -> None:
        """A process that the journal names has ended, with all that came from it."""
        self._append({"type": "gone", "child": child})

    def end(self) -> None:
        """The harness is through with the run: what is left now is for `recover`, though this process lives on."""
        self._append({"type": "end"})

    def close(self) -> None:
        with self._lock:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1


@dataclass(frozen=True, slots=True)
class JournaledProcess:
    """A process that the guardian launched. `child` is its number within the run."""

    child: int
    name: str
    process: ProcessId
    stop_signal: int


@dataclass(slots=True)
class Left:
    """What one journal says: who wrote it, and what is still to be undone."""

    run: str
    path: Path
    label: str = ""
    boot: str = ""
    started_at: float = 0.0
    """Wall clock, seconds since 1970."""
    harness: ProcessId | None = None
    guardian: ProcessId | None = None
    undos: list[Undo] = field(default_factory=list)
    """Oldest first; undo them from the end."""
    processes: list[JournaledProcess] = field(default_factory=list)
    ended: bool = False
    unreadable: int = 0
    """Lines that were never finished."""

    @property
    def in_progress(self) -> bool:
        """Whether the harness is still at it, or the guardian, who cleans up after it."""
        return bool(self.in_charge())

    def in_charge(self) -> list[ProcessId]:
        """Whoever still sees to this run."""
        candidates = (None if self.ended else self.harness, self.guardian)
        return [process for process in candidates if process is not None and running(process)]

    @property
    def this_boot(self) -> bool:
        """Whether the machine has run on since: else its processes, shared memory and due times mean nothing."""
        return self.boot == boot_id()


def read(run: str) -> Left:
    """Read the journal of a run. Raises UsageError where it is missing, not ours, or not understood."""
    path = _path(run)
    with open(_open(path, os.O_RDONLY), "rb") as file:
        lines = file.read().split(b"\n")
    left = Left(run=run, path=path)
    undos: dict[str, Undo] = {}
    processes: dict[int, JournaledProcess] = {}
    for line in filter(None, lines):
        try:
            record = json.loads(line)
        except ValueError:
            left.unreadable += 1
            continue
        try:
            _apply(record, left, undos, processes)
        except (ValueError, KeyError, TypeError) as error:
            # Never passed over: what it announces may well exist, and a journal without it would be forgotten.
            raise UsageError(
                f"{path} holds a record that this chaoskit does not understand: {error}",
                hint="recover with the version that wrote it",
            ) from error
    left.undos = list(undos.values())
    left.processes = list(processes.values())
    return left


def _apply(
    record: dict[str, object], left: Left, undos: dict[str, Undo], processes: dict[int, JournaledProcess]
) -> None:
    match record:
        case {"type": "header", "format_version": version, "label": str(label), "boot": str(boot)}:
            if version != _FORMAT:
                raise UsageError(f"{left.path} is of format {version}; this chaoskit reads {_FORMAT}")
            left.label, left.boot = label, boot
            left.started_at = float(str(record["wall"]))
            left.harness = _identity(record["harness"], boot)
        case {"type": "guardian", "guardian": who}:
            left.guardian = _identity(who, left.boot)
        case {"type": "undo", "undo": undo}:
            readable = msgspec.convert(undo, Undo)
            undos[readable.id] = readable
        case {"type": "done", "id": str(undo_id)}:
            undos.pop(undo_id, None)
        case {"type": "process", "child": int(child), "name": str(name), "signal": int(number)}:
            process = _identity([record["pid"], record["started"]], left.boot)
            processes[child] = JournaledProcess(child, name, process, number)
        case {"type": "gone", "child": int(child)}:
            processes.pop(child, None)
        case {"type": "end"}:
            left.ended = True
        case _:
            raise ValueError("not a record of this format")


def _identity(value: object, boot: str) -> ProcessId:
    pid, started = msgspec.convert(value, tuple[int, str])
    return ProcessId(pid, started, boot)


def journals() -> Iterator[Left]:
    """Every journal that is left, oldest first. Those that are not ours are passed over: they are never acted on."""
    found = []
    for path in runs_folder().glob("*.journal"):
        with contextlib.suppress(UsageError):  # refused, or gone meanwhile
            found.append(read(path.stem))
    return iter(sorted(found, key=lambda left: left.started_at))


def forget(run: str) -> None:
    """Remove the journal of a run of which nothing is left, and its guardian's log."""
    path = _path(run)
    path.unlink(missing_ok=True)
    path.with_suffix(".log").unlink(missing_ok=True)


@contextlib.contextmanager
def lock(run: str) -> Iterator[None]:
    """Let only one process at a time undo what a journal says; waits for its turn."""
    handle = _open(_path(run), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
