"""Marks for tests that need a part of the machine: skipped with the reason, or failed where CHAOSKIT_REQUIRE=all."""

from __future__ import annotations

import functools
import os
import shutil
import socket
from pathlib import Path

import pytest

KEPT_FROM_A_CORE = r"the run was kept from the processor in \d+ of"
"""What the gate `host` says of a run whose machine was busy with something else."""


def _docker() -> str:
    path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    if path.startswith("/"):
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(2)
                sock.connect(path)
        except OSError as error:
            return f"no Docker engine at {path} ({error})"
    return ""


def _toxiproxy() -> str:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "chaoskit/bin/toxiproxy-server"
    found = shutil.which("toxiproxy-server") or cache.exists()
    return "" if found else f"no toxiproxy-server on PATH or at {cache} (chaoskit proxy install)"


def _on_path(*names: str) -> str:
    return "" if any(shutil.which(name) for name in names) else f"none of {', '.join(names)} is on PATH"


_CHECKS = {
    "chromium": lambda: _on_path("chromium", "chromium-browser", "google-chrome"),
    "docker": _docker,
    "npm": lambda: _on_path("npm"),
    "prometheus": lambda: _on_path("prometheus"),
    "toxiproxy": _toxiproxy,
}


@functools.cache
def missing(part: str) -> str:
    """Why a part is not here; empty where it is."""
    return _CHECKS[part]()


def requires(part: str) -> pytest.MarkDecorator:
    """`@requires("docker")`: see tests/conftest.py for what happens where the part is missing."""
    return pytest.mark.requires(part)
