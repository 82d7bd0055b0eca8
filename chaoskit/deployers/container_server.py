"""Starts a real server inside a container: `python -m chaoskit.deployers.container_server KIND PORT`.

The same plan as for processes, carried out where the container's own packages are: prepare, then become the server.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

from chaoskit.interfaces import Address, ServerPlan
from chaoskit.registry import find

__all__ = ["DATA", "main", "warm"]

DATA = "/var/lib/chaoskit"
"""Where its data lie inside: a volume, so that what it writes goes to a disk and not through the image's layers."""


def main(kind: str, port: int) -> None:
    """Does not return: the process becomes the server."""
    folder = Path(DATA) / kind
    prepared = folder / ".prepared"
    plan = _plan(kind, port, folder) if prepared.exists() else _prepared(kind, port, folder)
    prepared.touch()
    spec = plan.server
    os.chdir(spec.cwd or "/")
    if spec.user:
        _become(spec.user)
    os.execve(spec.argv[0], list(spec.argv), {**os.environ, **spec.env})  # noqa: S606 - becoming it is the point


def warm(kind: str) -> None:
    """Prepare one and throw it away, while an image is built: what it keeps for the next (a template) stays."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        _prepared(kind, 1, Path(folder) / kind)


def _plan(kind: str, port: int, folder: Path) -> ServerPlan:
    plan: ServerPlan = find("backing", kind).plan(kind, Address("0.0.0.0", port), folder)  # noqa: S104 - in a container
    return plan


def _prepared(kind: str, port: int, folder: Path) -> ServerPlan:
    folder.mkdir(parents=True, exist_ok=True, mode=0o711)
    plan = _plan(kind, port, folder)
    for step in plan.prepare:
        user = step.user or None
        subprocess.run(list(step.argv), env=dict(step.env), cwd=step.cwd or "/", check=True, user=user, group=None)
    return plan


def _become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


if __name__ == "__main__":
    if sys.argv[1] == "--warm":
        for asked in sys.argv[2:]:
            warm(asked)
    else:
        main(sys.argv[1], int(sys.argv[2]))
