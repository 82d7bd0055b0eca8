"""chaoskit doctor: say what is at hand here: Toxiproxy, Docker, real servers, …"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import click

from chaoskit.errors import ChaoskitError, Exit

__all__ = ["Part", "command", "parts"]


class Part(NamedTuple):
    """One thing that chaoskit uses. `found` is empty where it is not here."""

    name: str
    found: str
    purpose: str
    cure: str = ""
    required: bool = False


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(as_json: bool) -> None:
    """Say what is at hand here, what it is for, and how to get what is not.

    Exits 4 where something that everything needs is missing.
    """
    found = list(parts())
    if as_json:
        import json

        click.echo(json.dumps({"format_version": 1, "parts": [part._asdict() for part in found]}, indent=1))
    else:
        width = max(len(part.name) for part in found)
        for part in found:
            mark = (
                click.style("✓", fg="green") if part.found else click.style("✗" if part.required else "–", fg="yellow")
            )
            click.echo(f"{mark} {part.name:<{width}}  {part.found or 'not here'}")
            if not part.found:
                cure = f": {part.cure}" if part.cure else ""
                click.echo(f"  {'':<{width}}  for {part.purpose}{cure}")
    missing = [part for part in found if part.required and not part.found]
    click.get_current_context().exit(Exit.COULD_NOT_RUN if missing else Exit.AS_EXPECTED)


def parts() -> Iterator[Part]:
    """Everything, in the order in which people want to know it."""
    yield from _machine()
    yield Part("state folder", _told(_state), "the journal of what must be undone", "CHAOSKIT_STATE", required=True)
    yield Part("left behind", _told(_left), "runs that were cut short")
    yield Part("locust", _version("locust"), "the load", "pip install chaoskit", required=True)
    yield Part("uvloop", _version("uvloop"), "a faster proxy", "pip install 'chaoskit[uvloop]'")
    yield Part("Toxiproxy (real)", _told(_toxiproxy), "CHAOSKIT_TOXIPROXY=real", "chaoskit proxy install")
    yield Part("Docker", _told(_docker), "the deployer docker", "start dockerd, or set DOCKER_HOST")
    yield from _servers()
    lab = "starlette, uvicorn, …" if _version("starlette") and _version("uvicorn") and _version("asyncpg") else ""
    yield Part("lab", lab, "the demo target `shop`", "pip install 'chaoskit[lab]'")


def _machine() -> Iterator[Part]:
    import os
    import platform
    import sys

    system = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores"
    yield Part("machine", system, "everything", required=True)
    yield Part("Python", f"{platform.python_version()} at {sys.executable}", "everything", required=True)
    yield Part("chaoskit", _version("chaoskit"), "everything", "pip install chaoskit", required=True)
    subreaper = "of the kernel: nothing that a service starts outlives the run" if sys.platform == "linux" else ""
    yield Part("subreaper", subreaper, "ending daemonised processes too (without it, process groups do what they can)")


def _told(ask: Callable[[], str]) -> str:
    """The answer, or empty where the part is not here."""
    try:
        return ask()
    except (ChaoskitError, OSError):
        return ""


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _state() -> str:
    from chaoskit.journal import runs_folder

    return str(runs_folder())


def _left() -> str:
    from chaoskit.journal import journals

    left = [one for one in journals() if not one.in_progress]
    return f"{len(left)} journals: chaoskit recover undoes what is in them" if left else "nothing"


def _toxiproxy() -> str:
    from chaoskit.proxy.install import find_toxiproxy

    return find_toxiproxy()


def _docker() -> str:
    """Version of the engine, asked over its own socket: the SDK takes half a second to load."""
    import json
    import os
    import socket
    from urllib.parse import urlsplit

    url = urlsplit(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
    family = socket.AF_UNIX if url.scheme == "unix" else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(2.0)
        sock.connect(url.path if url.scheme == "unix" else (url.hostname or "", url.port or 2375))
        sock.sendall(b"GET /version HTTP/1.0\r\nHost: docker\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    body = answer.partition(b"\r\n\r\n")[2]
    try:
        return f"engine {json.loads(body)['Version']} at {url.geturl()}"
    except (ValueError, KeyError, TypeError):
        return f"something at {url.geturl()} that does not answer as Docker does"


def _servers() -> Iterator[Part]:
    from chaoskit.registry import kinds

    cures = {"prometheus": "install it, or use direct scrapes"}
    for kind, cls in sorted(kinds("backing").items()):
        cure = cures.get(kind, "pip install 'chaoskit[lab]', or put it on PATH")
        yield Part(kind, _told(cls.found), f"targets with `provides: {kind}`", cure)
