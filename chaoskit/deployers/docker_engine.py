"""A Docker engine, or whatever answers the same API: the one file that knows the docker SDK, its errors mapped here."""

from __future__ import annotations

import io
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from chaoskit.deployers.archive import archive
from chaoskit.deployers.docker_pull import Pulling
from chaoskit.deployers.docker_where import Where, find_engine
from chaoskit.deployers.ports import Reserved, reserve
from chaoskit.errors import ChaoskitError, CouldNotRun, DeployError, MissingPart
from chaoskit.interfaces import Address
from chaoskit.model.undo import JSON

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

__all__ = ["RUN_LABEL", "ContainerSpec", "Endpoint", "Engine", "Found", "Made", "Started", "is_here"]

RUN_LABEL = "chaoskit.run"
"""Label of every container, network and volume that a run makes; its value is the run's id."""

_TIMEOUT = 60
_LAST_LINES = 25
_PORT_TRIES = 5
_PORT_TAKEN = re.compile(r"port is already allocated|address already in use", re.IGNORECASE)
_WORKS = re.compile(r"Step \d+/\d+ : .*|Successfully tagged .*")


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One container to start. `ports`: port inside → port on this machine's loopback."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    alias: str
    """Its name in the run's network."""
    ports: tuple[int, ...] = ()
    """Ports inside that are published on this machine's loopback."""
    mounts: dict[str, str] = {}
    """Folder of this machine → folder inside, read-only."""
    data: str = ""
    """Folder inside that gets a volume of its own, which bears the container's labels and goes with it."""
    files: dict[str, bytes] = {}
    """Path inside → what is written there before it starts."""
    workdir: str = ""


class Made(NamedTuple):
    """A container that was made, and the ports of this machine that are kept for it until it is started."""

    ident: str
    reserved: Mapping[int, Reserved]

    def release(self) -> None:
        for port in self.reserved.values():
            port.release()


class Started(NamedTuple):
    """A container that was started, and where its ports are found on this machine."""

    ident: str
    ports: Mapping[int, Address]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A container's place in one network."""

    network: str
    aliases: tuple[str, ...] = ()
    """Names beside the container's own and the short form of its id, which engines add themselves."""
    links: tuple[str, ...] = ()
    fixed: dict[str, Any] = {}
    """Addresses that its owner asked for."""
    address: str = ""
    """The one that it has now; empty while it does not run."""

    @property
    def resolves(self) -> bool:
        """Whether names are found in that network: in those that users made."""
        return self.network not in ("bridge", "host", "none")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A container that somebody made."""

    ident: str
    name: str
    running: bool
    paused: bool
    labels: dict[str, str]
    endpoints: tuple[Endpoint, ...]
    exposed: tuple[int, ...]
    published: dict[int, Address]
    """Port inside → where it is found on this machine."""

    @property
    def short(self) -> str:
        """What every network knows it by, whatever else it is called."""
        return self.ident[:12]


class Engine:
    """One engine. Thread-safe. Raises MissingPart, DeployError or CouldNotRun, never the SDK's own errors."""

    def __init__(self, written: JSON = "") -> None:
        """`written` is a journal's word for an engine (a URL is one too); else it is found in the environment."""
        self.where = Where.read(written) if written else find_engine(os.environ, Path.home())
        self._client = self._connect()

    @property
    def url(self) -> str:
        return self.where.url

    def _connect(self) -> DockerClient:
        import docker
        from docker.errors import DockerException
        from docker.tls import TLSConfig

        client: DockerClient | None = None
        where = self.where
        try:
            if self.url.startswith("unix://"):  # the SDK leaves its own socket open where this fails
                with socket.socket(socket.AF_UNIX) as trial:
                    trial.connect(self.url.removeprefix("unix://"))
            own = (where.cert, where.key) if where.cert else None
            tls = TLSConfig(client_cert=own, ca_cert=where.ca or None, verify=where.verify) if where.tls else False
            client = docker.DockerClient(base_url=self.url, timeout=_TIMEOUT, tls=tls)
            client.ping()
        except (DockerException, OSError) as error:
            if client is not None:
                client.close()
            text = str(error)
            if "Permission denied" in text or "PermissionError" in text:
                raise MissingPart(
                    f"no permission to talk to the Docker engine at {self.url}",
                    hint="join its group, use a rootless engine, or name another one in DOCKER_HOST",
                ) from error
            raise MissingPart(
                f"no Docker engine answers at {self.url}",
                hint="start one, or name it in DOCKER_HOST; --deployer process needs none",
                detail=text,
            ) from error
        return client

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except APIError as error:
            raise DeployError(f"{doing} failed: {error.explanation or error}") from error
        except (DockerException, RequestException, HTTPError, OSError) as error:
            raise CouldNotRun(f"{doing} failed: the engine at {self.url} does not answer ({error})") from error

    # --------------------------------------------------------------------------------------------------- images

    def has_image(self, tag: str) -> bool:
        from docker.errors import ImageNotFound

        with self._errors(f"looking for image {tag}"):
            try:
                self._client.images.get(tag)
            except ImageNotFound:
                return False
            return True

    def pull(self, tag: str, say: Callable[[str], None]) -> None:
        """Raises DeployError where it cannot be had."""
        say(f"pulling image {tag}")
        with self._errors(f"pulling image {tag}"):
            pulling = Pulling(time.monotonic)
            for line in self._client.api.pull(tag, stream=True, decode=True):
                if "error" in line:
                    raise DeployError(f"image {tag} cannot be pulled: {line['error']}")
                if news := pulling.heard(line):
                    say(f"{tag}: {news}")

    def build(self, tag: str, context: bytes, say: Callable[[str], None], *, dockerfile: str = "Dockerfile") -> None:
        """Build an image from a tar archive. Raises DeployError with the build's last lines."""
        say(f"building image {tag}")
        lines: list[str] = []
        pulling = Pulling(time.monotonic)
        with self._errors(f"building image {tag}"):
            stream = self._client.api.build(
                fileobj=io.BytesIO(context), custom_context=True, tag=tag, dockerfile=dockerfile, rm=True, decode=True,
                forcerm=True,
            )  # fmt: skip
            for part in stream:
                if "error" in part:
                    tail = "\n".join(lines[-_LAST_LINES:])
                    raise DeployError(f"building image {tag} failed: {str(part['error']).strip()}", detail=tail)
                if "status" in part and (news := pulling.heard(part)):  # the image that it starts from
                    say(f"{tag}: {news}")
                for line in str(part.get("stream", "")).splitlines():
                    if line.strip():
                        lines.append(line)
                        if _WORKS.fullmatch(line):
                            say(f"{tag}: {line}")

    # --------------------------------------------------------------------------------------- networks, containers

    def make_network(self, name: str, labels: Mapping[str, str]) -> None:
        with self._errors(f"making network {name}"):
            self._client.networks.create(name, driver="bridge", labels=dict(labels))

    def connect(self, network: str, container: str, alias: str) -> None:
        """Put a container (back) into a network; no-op where it is in, or where one of both is gone."""
        from docker.errors import NotFound

        with self._errors(f"connecting {container} to {network}"):
            try:
                net = self._client.networks.get(network)
                found = self._client.containers.get(container)
            except NotFound:
                return
            if network not in found.attrs["NetworkSettings"]["Networks"]:
                net.connect(found, aliases=[alias])

    def disconnect(self, network: str, container: str) -> None:
        """Take a container out of a network: what it sends is dropped, and nothing reaches it."""
        with self._errors(f"disconnecting {container} from {network}"):
            self._client.networks.get(network).disconnect(container, force=True)

    def make(self, spec: ContainerSpec, network: str, labels: Mapping[str, str]) -> Made:
        """Create a container, to be started later. Its PID 1 is an init that reaps and passes signals on."""
        reserved = {inside: reserve() for inside in spec.ports}
        try:
            return Made(self._create(spec, network, labels, reserved), reserved)
        except BaseException:
            Made("", reserved).release()
            raise

    def start(self, spec: ContainerSpec, network: str, labels: Mapping[str, str], made: Made | None = None) -> Started:
        """Start a container that was made, or make it first; and again where somebody takes its port meanwhile."""
        for _ in range(_PORT_TRIES):
            made = made or self.make(spec, network, labels)
            made.release()
            if self._started(made.ident, spec.name):
                return Started(made.ident, {inside: port.address for inside, port in made.reserved.items()})
            made = None
        raise DeployError(f"starting container {spec.name} failed: the engine finds every port taken that we chose")

    def _create(
        self, spec: ContainerSpec, network: str, labels: Mapping[str, str], reserved: Mapping[int, Reserved]
    ) -> str:
        from docker.types import Mount

        with self._errors(f"making container {spec.name}"):
            api = self._client.api
            volume = [Mount(spec.data, None, type="volume", labels=dict(labels))] if spec.data else []
            host = api.create_host_config(
                init=True,
                port_bindings={inside: tuple(port.address) for inside, port in reserved.items()},
                binds=[f"{here}:{there}:ro" for here, there in spec.mounts.items()],
                mounts=volume,
            )
            endpoint = api.create_endpoint_config(aliases=[spec.alias])
            networking = api.create_networking_config({network: endpoint})  # type: ignore[arg-type]  # a mapping, says its docs
            made = api.create_container(
                spec.image,
                command=list(spec.command) or None,
                name=spec.name,
                environment=spec.env,
                labels=dict(labels),
                hostname=spec.alias,
                ports=list(spec.ports),
                host_config=host,
                networking_config=networking,
                working_dir=spec.workdir or None,
            )
            ident = str(made["Id"])
            if spec.files:
                api.put_archive(ident, "/", archive(spec.files))
            return ident

    def _started(self, ident: str, name: str) -> bool:
        """False where somebody took one of its ports meanwhile: the container is removed again."""
        from docker.errors import APIError

        with self._errors(f"starting container {name}"):
            try:
                self._client.api.start(ident)
            except APIError as error:
                if not _PORT_TAKEN.search(str(error)):
                    raise
                self._client.api.remove_container(ident, v=True, force=True)
                return False
            return True

    def container(self, ident: str) -> Container:
        with self._errors(f"looking for container {ident}"):
            return self._client.containers.get(ident)

    def state(self, ident: str) -> tuple[bool, int | None]:
        """(whether it runs, exit status or None). A container that is gone does not run."""
        from docker.errors import NotFound

        with self._errors(f"looking at container {ident}"):
            try:
                state = self._client.api.inspect_container(ident)["State"]
            except NotFound:
                return False, None
            return bool(state["Running"]), None if state["Running"] else int(state["ExitCode"])

    def pid(self, ident: str) -> int:
        """Pid of its init as this machine sees it; 0 where it does not run, or runs on another machine."""
        from docker.errors import NotFound

        with self._errors(f"looking at container {ident}"):
            try:
                pid = int(self._client.api.inspect_container(ident)["State"]["Pid"])
            except NotFound:
                return 0
        return pid if is_here(pid, ident) else 0

    def signal(self, ident: str, number: int) -> None:
        """To its init, which passes it on. A container that does not run is no error."""
        from docker.errors import APIError

        with self._errors(f"signalling container {ident}"):
            try:
                self._client.api.kill(ident, signal=number)
            except APIError as error:
                if error.status_code not in (404, 409):
                    raise

    def pause(self, ident: str) -> None:
        """Freeze every process in it; no-op where it is frozen or does not run."""
        self._unless_conflict(ident, "pausing", lambda: self._client.api.pause(ident))

    def unpause(self, ident: str) -> None:
        self._unless_conflict(ident, "continuing", lambda: self._client.api.unpause(ident))

    def _unless_conflict(self, ident: str, doing: str, act: Callable[[], object]) -> None:
        from docker.errors import APIError

        with self._errors(f"{doing} container {ident}"):
            try:
                act()
            except APIError as error:
                # 404: gone; 409, 500: already so, or not running
                if error.status_code not in (404, 409) and "is not paused" not in str(error):
                    raise

    def start_again(self, ident: str) -> None:
        with self._errors(f"starting container {ident} again"):
            self._client.api.start(ident)

    def stop(self, ident: str, signal: str, grace: float) -> None:
        """Its stop signal, then SIGKILL; then it is removed, with its volumes. A container that is gone is no error."""
        from docker.errors import APIError, NotFound

        with self._errors(f"stopping container {ident}"):
            try:
                container = self._client.containers.get(ident)
                if container.status == "paused":
                    container.unpause()
                if container.status in ("running", "paused"):
                    self.signal(ident, int(_signal_number(signal)))
                    self._wait(container, grace)
                container.remove(force=True, v=True)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != 409:  # somebody else removes it already: the guardian, or a recover
                    raise

    @staticmethod
    def _wait(container: Container, grace: float) -> None:
        from docker.errors import APIError
        from requests.exceptions import ConnectionError as NoConnection
        from requests.exceptions import ReadTimeout

        try:
            container.wait(timeout=grace)
        except (ReadTimeout, NoConnection, APIError):
            return  # still there after its grace: removed by force

    def logs(self, ident: str) -> Iterator[bytes]:
        """What it prints, from its start on, until it stops; blocks its thread."""
        with self._errors(f"reading the log of container {ident}"):
            yield from self._client.api.logs(ident, stream=True, follow=True)

    def tail(self, ident: str, lines: int) -> str:
        with self._errors(f"reading the log of container {ident}"):
            return self._client.api.logs(ident, tail=lines).decode("utf-8", "replace")

    # ---------------------------------------------------------------------------------- what somebody else runs

    def inspect(self, container: str) -> Found | None:
        """By name or id; None where there is none."""
        from docker.errors import NotFound

        with self._errors(f"looking at container {container}"):
            try:
                return _found(self._client.api.inspect_container(container))
            except NotFound:
                return None

    def find(self, **filters: str) -> list[Found]:
        """All containers with a label, or in a network; those that stopped too. Sorted by name."""
        with self._errors("looking for containers"):
            rows = self._client.api.containers(all=True, filters=dict(filters))
        found = (self.inspect(str(row["Id"])) for row in rows)
        return sorted((one for one in found if one is not None), key=lambda one: one.name)

    def join(self, network: str, ident: str, aliases: Sequence[str]) -> None:
        """Put a container of ours into somebody's network."""
        with self._errors(f"connecting {ident[:12]} to {network}"):
            self._client.networks.get(network).connect(ident, aliases=list(aliases))

    def put(self, ident: str, wanted: Endpoint) -> None:
        """Make a container's place in a network what `wanted` says: out and in again, as engines change names in no
        other way. No-op where it is so, and where the container or the network is gone."""
        from docker.errors import NotFound

        with self._errors(f"connecting {ident[:12]} to {wanted.network}"):
            now = self.inspect(ident)
            try:
                network = self._client.networks.get(wanted.network)
            except NotFound:
                return
            if now is None:
                return
            place = next((one for one in now.endpoints if one.network == wanted.network), None)
            if place is not None:
                if (set(place.aliases), place.fixed) == (set(wanted.aliases), wanted.fixed):
                    return
                network.disconnect(ident, force=True)
            network.connect(
                ident,
                aliases=list(wanted.aliases),
                links=dict(link.split(":", 1) for link in wanted.links) or None,
                ipv4_address=wanted.fixed.get("IPv4Address"),
                ipv6_address=wanted.fixed.get("IPv6Address"),
                link_local_ips=wanted.fixed.get("LinkLocalIPs"),
            )

    def leave(self, network: str, ident: str) -> None:
        """Take a container out of a network; no-op where it is not in, or one of both is gone."""
        now = self.inspect(ident)
        if now is not None and any(one.network == network for one in now.endpoints):
            self.disconnect(network, ident)

    def rename(self, ident: str, name: str) -> None:
        """No-op where it is called so, or gone."""
        now = self.inspect(ident)
        if now is not None and now.name != name:
            with self._errors(f"renaming container {now.name} to {name}"):
                self._client.api.rename(ident, name)

    def follow(self, heard: Callable[[str, str], None]) -> Callable[[], None]:
        """Call `heard(container's id, what)` in a thread of its own when one dies, starts, or changes networks (`die`,
        `start`, `connect`), until what this returns is called."""
        with self._errors("listening for events"):
            stream = self._client.api.events(decode=True)

        def work() -> None:
            with suppress(ChaoskitError), self._errors("listening for events"):  # a dead engine tells whoever asks it
                for event in stream:
                    actor = event.get("Actor", {})
                    if event.get("Type") == "container" and event.get("Action") in ("die", "start"):
                        heard(str(actor.get("ID", "")), str(event["Action"]))
                    elif event.get("Type") == "network" and event.get("Action") == "connect":
                        heard(str(actor.get("Attributes", {}).get("container", "")), "connect")

        def stop() -> None:
            stream.close()
            thread.join(2.0)

        thread = threading.Thread(target=work, name="docker-events", daemon=True)
        thread.start()
        return stop

    # --------------------------------------------------------------------------------------------------- clean-up

    def sweep(self, run_id: str) -> list[str]:
        """Remove every container, network and volume that bears the run's label; returns their names."""
        from docker.errors import APIError, NotFound

        found: list[str] = []
        wanted: dict[str, str | list[str] | bool] = {"label": f"{RUN_LABEL}={run_id}"}
        with self._errors(f"sweeping what run {run_id} left"):
            groups: Sequence[Sequence[Any]] = (
                self._client.containers.list(all=True, filters=wanted, ignore_removed=True),
                self._client.networks.list(filters=wanted),
                self._client.volumes.list(filters=wanted),
            )
            for index, group in enumerate(groups):
                for thing in group:
                    found.append(str(thing.name))
                    try:
                        thing.remove(**({"force": True, "v": True} if index == 0 else {}))
                    except NotFound:
                        continue
                    except APIError as error:
                        if error.status_code != 409:  # being removed already, or still in use: the next pass tells
                            raise
        return found

    def close(self) -> None:
        self._client.close()


def _found(told: dict[str, Any]) -> Found:
    """What an engine tells of a container, as far as we ask."""
    ident, settings = str(told["Id"]), told["NetworkSettings"]
    endpoints = tuple(
        Endpoint(
            network=str(network),
            aliases=tuple(name for name in place.get("Aliases") or () if name != ident[:12]),
            links=tuple(place.get("Links") or ()),
            fixed={key: value for key, value in (place.get("IPAMConfig") or {}).items() if value},
            address=str(place.get("IPAddress") or ""),
        )
        for network, place in sorted((settings.get("Networks") or {}).items())
    )
    published = {}
    for inside, bound in (settings.get("Ports") or {}).items():
        port, _, kind = str(inside).partition("/")
        for one in (bound or ()) if kind == "tcp" else ():
            host = str(one.get("HostIp") or "")
            if ":" not in host:  # the same again for IPv6
                published[int(port)] = Address("127.0.0.1" if host in ("", "0.0.0.0") else host, int(one["HostPort"]))  # noqa: S104 - read, not bound
    exposed = sorted(int(one.partition("/")[0]) for one in told["Config"].get("ExposedPorts") or {} if "/tcp" in one)
    return Found(
        ident=ident,
        name=str(told["Name"]).lstrip("/"),
        running=bool(told["State"]["Running"]),
        paused=bool(told["State"].get("Paused")),
        labels=dict(told["Config"].get("Labels") or {}),
        endpoints=endpoints,
        exposed=tuple(exposed),
        published=published,
    )


def is_here(pid: int, ident: str, *, root: Path = Path("/")) -> bool:
    """Whether a container's process is this machine's, and not another one's that has its pid there.

    Its cgroup bears its id, until a limit of ours moves it to another; so do the files that engines mount into it.
    `root` is for tests.
    """
    try:
        return any(ident in (root / f"proc/{pid}" / name).read_text() for name in ("cgroup", "mountinfo"))
    except OSError:  # no such process here
        return False


def _signal_number(name: str) -> int:
    import signal

    return int(signal.Signals[name])
