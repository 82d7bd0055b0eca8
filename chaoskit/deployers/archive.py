"""Files as a tar archive in memory: what an engine takes as a build's context, or puts into a container."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

__all__ = ["archive"]


def archive(files: Mapping[str, bytes]) -> bytes:
    """Path → content; scripts can be executed, and so can what lies in a folder called `bin`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(files):
            info = tarfile.TarInfo(path.lstrip("/"))
            info.size = len(files[path])
            info.mode = 0o755 if path.endswith(".sh") or "bin" in path.split("/")[:-1] else 0o644
            tar.addfile(info, io.BytesIO(files[path]))
    return buffer.getvalue()
