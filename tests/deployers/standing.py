"""Containers of somebody else, for tests: a front that calls a back by its name, as Compose would have started them."""

from __future__ import annotations

import http.client
import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaoskit.interfaces import Address
from tests.docker_engine import base, docker

__all__ = ["Project", "get", "project", "within"]

_SERVER = """
import http.server, os, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        status, body = 200, os.environ["HOSTNAME"].encode()
        if os.environ.get("BACK") and self.path != "/ready":
            try:
                body = urllib.request.urlopen(os.environ["BACK"], timeout=1).read()
            except OSError as error:
                status, body = 502, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""


@dataclass
class Project:
    """A project with the services `front` (publishes its port) and `back` (does not), in one network."""

    name: str
    network: str
    containers: dict[str, str] = field(default_factory=dict)
    """Service → name of its container."""
    idents: list[str] = field(default_factory=list)

    def start(
        self, service: str, *aliases: str, name: str = "", env: str = "", labels: bool = True, number: int = 1
    ) -> str:
        called = name or f"{self.name}-{service}-{number}"
        words = ["run", "--detach", "--name", called, "--network", self.network, "--stop-timeout", "0", "--init"]
        words += [word for alias in aliases for word in ("--network-alias", alias)]
        if labels:
            words += [
                "--label",
                f"com.docker.compose.project={self.name}",
                "--label",
                f"com.docker.compose.service={service}",
            ]
            words += ["--label", f"com.docker.compose.container-number={number}"]
        words += ["--env", f"BACK={env}", "--publish", "127.0.0.1::8000"] if env else []
        self.idents.append(docker(*words, base(), "python3", "-c", _SERVER))
        self.containers[service] = called
        return called

    def as_it_is(self) -> dict[str, Any]:
        """What of its containers may not have changed in the end."""
        found = {}
        for service, name in self.containers.items():
            (told,) = json.loads(docker("inspect", name))
            places = told["NetworkSettings"]["Networks"]
            names = {network: sorted(set(place["Aliases"]) - {told["Id"][:12]}) for network, place in places.items()}
            fixed = {network: place["IPAMConfig"] for network, place in places.items()}
            limits = (told["HostConfig"]["Memory"], told["HostConfig"]["NanoCpus"])
            state = told["State"]
            found[service] = (told["Id"], told["Name"], names, fixed, state["Running"], state["Paused"], limits)
        return found

    def at(self, service: str) -> Address:
        """Where this machine finds it."""
        return Address("127.0.0.1", int(docker("port", self.containers[service], "8000").split(":")[-1]))

    def reaches(self, service: str = "front") -> bool:
        """Whether the front gets an answer from the back, by its name."""
        return get(self.at(service))[0] == 200

    def target(self, folder: Path, adopt: str = "", back: str = "", more: str = "", which: str = "") -> Path:
        """A target that adopts it as a project; `back` is what is said of that service beside, `which` of its
        replicas are called, `more` its further services."""
        (folder / "targets" / "theirs").mkdir(parents=True, exist_ok=True)
        file = folder / "targets" / "theirs" / "target.yaml"
        file.write_text(
            f"name: theirs\nentry: front\nadopt: {{compose: {adopt or self.name}}}\nservices:\n"
            f'  front: {{port: 8000, health: /ready, needs: {{BACK: "http://{{back{which}}}/"}}}}\n'
            f"  back: {{port: 8000, health: /{back}}}\n{more}"
        )
        return file


@contextmanager
def project() -> Iterator[Project]:
    """One that is gone in the end, whatever happens to it."""
    made = Project(f"theirs{secrets.token_hex(3)}", "")
    made.network = f"{made.name}_default"
    docker("network", "create", made.network)
    try:
        yield made
    finally:
        label = f"network={made.network}"
        for name in {*docker("ps", "-aq", "--no-trunc", "--filter", label).split(), *made.idents}:
            subprocess.run(["docker", "rm", "-f", "-v", name], capture_output=True, check=False)
        docker("network", "rm", made.network)


def get(address: Address | None, path: str = "/") -> tuple[int, str]:
    """Status and body; (0, why) where nobody answers."""
    assert address is not None
    connection = http.client.HTTPConnection(*address, timeout=3)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


def within(seconds: float, so: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not so() and time.monotonic() < until:
        time.sleep(0.05)
    return so()
