"""Small filesystems of their own, for what fills disks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_filesystem(folder: Path) -> Iterator[Path]:
    """4 MB in memory at `folder`, which is made. Skips where nobody may mount one."""
    folder.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", "size=4m,mode=1777", "tmpfs", str(folder)]
    asking = [[], ["sudo", "-n"]] if shutil.which("sudo") else [[]]
    for way in asking:
        if subprocess.run([*way, "mount", *options], capture_output=True, check=False).returncode == 0:
            break
    else:
        pytest.skip("this needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run([*way, "umount", str(folder)], check=True)


def free(folder: Path) -> int:
    """Bytes that a service may still write."""
    left = os.statvfs(folder)
    return left.f_bavail * left.f_frsize
