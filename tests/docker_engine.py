"""What tests ask of a Docker engine beside chaoskit: the base of generated images, and what a run has left there."""

from __future__ import annotations

import os
import subprocess
import time

from chaoskit.deployers.docker_engine import RUN_LABEL

__all__ = ["base", "docker", "left", "none_within"]

_OURS = "chaoskit-base:bookworm"


def docker(*words: str) -> str:
    """What the command line of Docker says. It must succeed."""
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()


def base() -> str:
    """CHAOSKIT_DOCKER_BASE, else the base that `.ci/docker` makes where it is there, else empty (the default)."""
    return os.environ.get("CHAOSKIT_DOCKER_BASE") or (_OURS if docker("images", "-q", _OURS) else "")


def left(run_id: str) -> list[str]:
    """Containers, networks and volumes that bear a run's label."""
    label = f"label={RUN_LABEL}={run_id}"
    found = docker("ps", "-a", "--filter", label, "--format", "{{.Names}}").split()
    found += docker("network", "ls", "--filter", label, "--format", "{{.Name}}").split()
    return found + docker("volume", "ls", "--filter", label, "--format", "{{.Name}}").split()


def none_within(seconds: float, run_ids: list[str]) -> None:
    """Fails where something of these runs is still there after so long."""
    assert run_ids
    began = time.monotonic()
    while found := [name for run_id in run_ids for name in left(run_id)]:
        took = time.monotonic() - began
        assert took < seconds, f"after {took:.1f} s these are still there: {found}"
        time.sleep(0.2)
