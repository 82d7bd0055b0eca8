"""Target: the services of a system under test, how each is started, and what each needs (every need is an edge)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from chaoskit.described import Described
from chaoskit.model.topology import LOAD, Edge, Service, Topology
from chaoskit.model.units import Duration

__all__ = ["WAYS", "Adopt", "Health", "Need", "ServiceSpec", "Target", "is_service_name", "place_of", "scalars_as_text"]

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_PLACE = re.compile(r"\{([a-z][a-z0-9_-]*)(?:\.([0-9]+))?(:all)?\}")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://[^{}]*$")
_PROTOCOLS = {"http": "http", "https": "tcp", "postgres": "postgres", "postgresql": "postgres", "redis": "redis"}

Protocol = Literal["http", "tcp", "postgres", "redis"]

_PORTS = {"http": 80, "https": 443, "tcp": None, "postgres": 5432, "postgresql": 5432, "redis": 6379, "nats": 4222}


def is_service_name(text: str) -> bool:
    """Whether a service may be called so."""
    return _NAME.fullmatch(text) is not None and text != LOAD


def place_of(url: str) -> tuple[str, int]:
    """Host and port of a service's `url`. Raises ValueError with what is wrong with it."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError as error:
        raise ValueError(f"is not one of a service: {error}") from None
    if not parts.hostname or parts.scheme not in _PORTS:
        raise ValueError("is not one of a service; such as http://127.0.0.1:8000")
    if port is None:
        raise ValueError("has no port; such as tcp://127.0.0.1:8000")
    return parts.hostname, port


def scalars_as_text(value: object) -> object:
    """Numbers among the values of a mapping as text, so that an environment may say `10` without quotes."""
    if not isinstance(value, Mapping):
        return value
    return {k: str(v) if isinstance(v, int | float) and not isinstance(v, bool) else v for k, v in value.items()}


WAYS = ("run", "provides", "url", "image", "build")
"""Keys that say how a service is put up, beside `adopt`."""


class _Written(Described):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Health(_Written):
    """Paths of the health endpoints. A plain string in YAML means readiness."""

    ready: str = ""
    """Whether it can serve."""
    live: str = ""
    """Whether it should be left alone (or started again)."""


class Need(_Written):
    """One reference to another service inside a `needs` value."""

    variable: str
    service: str
    replica: int | None = None
    """The replica that is named (counted from 1); None with `every` or for the first."""
    every: bool = False
    protocol: str = ""
    """From the scheme of the URL that it stands in; empty where it stands in none."""


class Adopt(_Written):
    """Which container that runs already is meant (deployer `external`). A service's own says more than its target's."""

    compose: str = ""
    """Compose project: its containers are known by the labels that Compose gives them."""
    service: str = ""
    """Service of that project (default: what the service is called here)."""
    container: str = ""
    """Name of the container."""
    label: str = ""
    """A label that the container bears: `key=value`, or `key`."""
    alias: str = ""
    """Name under which callers know it in their network (default: its service in Compose, else the service's name
    here, else the container's)."""

    @model_validator(mode="after")
    def _one_way_to_find(self) -> Adopt:
        ways = [key for key in ("compose", "container", "label") if getattr(self, key)]
        if len(ways) > 1:
            raise ValueError(f"expected one of compose, container, label, not {' and '.join(ways)}")
        return self

    @property
    def says(self) -> str:
        """It in words."""
        if self.container:
            return f"container {self.container}"
        if self.label:
            return f"the container with label {self.label}"
        return f"service {self.service} of compose project {self.compose}"


class ServiceSpec(_Written):
    """One service of a target: exactly one of `run`, `provides`, `url`, `image`, `build` or `adopt`."""

    run: str = ""
    """Command line; `{host}` and `{port}` are where it must listen (in `env` for one that reads them there)."""
    provides: str = ""
    """A real server: `postgres`, `redis`, `nats`, …"""
    url: str = ""
    """Where it runs already (deployer `external`)."""
    adopt: Adopt | None = None
    """The container in which it runs already (deployer `external`); beside another way it is for that deployer."""
    image: str = ""
    """Container image (deployer `docker`)."""
    build: str = ""
    """Folder with a Dockerfile (deployer `docker`)."""
    port: int | None = None
    """Port inside its container, where the image does not take `{port}`."""
    replicas: int = Field(default=1, ge=1, le=64)
    """How many of it; each is an edge of its own, counted from 1."""
    needs: dict[str, str] = {}
    """Environment variable → value with `{service}` in place of an address; every need is an edge."""
    env: dict[str, str] = {}
    """Environment variables that name no service."""
    proxies: dict[str, Annotated[int, Field(ge=1, le=65535)]] = {}
    """Service that it needs → port of this machine on which the proxy on that edge listens (deployers `process` and
    `external`; default: any that is free). For a service with a `url`, whose `needs` nobody can set: point it there
    yourself. Between runs nothing listens there."""
    health: Health = Health()
    """Paths of its health endpoints: `/ready`, or `{ready: /ready, live: /live}`."""
    metrics: str = ""
    """Path of the Prometheus metrics."""
    protocol: Protocol | None = None
    """What a call is on the edges to it (default: from the scheme of the URL that names it)."""
    ready_within: Duration = 30.0
    """How long it may take to get ready."""
    stop_signal: Literal["SIGTERM", "SIGINT", "SIGQUIT", "SIGKILL"] = "SIGTERM"
    """How it is asked to stop."""
    stop_within: Duration = 2.0
    """How long that may take before it is killed."""

    @field_validator("health", mode="before", json_schema_input_type=str | Health)
    @classmethod
    def _string_is_readiness(cls, value: object) -> object:
        return {"ready": value} if isinstance(value, str) else value

    @field_validator("env", "needs", mode="before", json_schema_input_type=dict[str, str | int | float])
    @classmethod
    def _scalars_are_text(cls, value: object) -> object:
        return scalars_as_text(value)

    def references(self) -> list[Need]:
        """Every `{service}` in its needs, in the order written."""
        found = []
        for variable, text in self.needs.items():
            for match in _PLACE.finditer(text):
                scheme = _SCHEME.search(text[: match.start()])
                protocol = _PROTOCOLS.get(scheme.group(1), "tcp") if scheme else ""
                replica = int(match.group(2)) if match.group(2) else None
                need = Need(
                    variable=variable,
                    service=match.group(1),
                    replica=replica,
                    every=bool(match.group(3)),
                    protocol=protocol,
                )
                found.append(need)
        return found

    def databases_of(self, service: str) -> list[str]:
        """Database names in the paths of its URLs to `service`: `postgresql://{postgres}/shop` → `shop`."""
        pattern = re.compile(r"\{" + re.escape(service) + r"(?:\.[0-9]+)?(?::all)?\}/([A-Za-z0-9_-]+)")
        return [name for text in self.needs.values() for name in pattern.findall(text)]


class Target(_Written):
    """A system under test. Read with `chaoskit.reading.load_target`; services are in the order of the file."""

    name: str
    """What experiments call it: the name of its folder."""
    description: str = ""
    """What it is, for readers."""
    entry: str
    """The service that the load talks to."""
    adopt: Adopt | None = None
    """Where its services run already (deployer `external`): `{compose: myproject}`."""
    services: dict[str, ServiceSpec]
    """By name: small letters, digits, - and _."""
    file: Path | None = Field(default=None, exclude=True)
    """Where it was read from."""

    @property
    def workdir(self) -> Path:
        """Folder that services start in: the one that holds `targets/`, else the file's own."""
        if self.file is None:
            return Path.cwd()
        folder = self.file.resolve().parent
        return folder.parent.parent if folder.parent.name == "targets" else folder

    def adopted(self, service: str) -> Adopt | None:
        """Which container a service is, its own words over the target's; None where it is none that runs already."""
        own, spec = self.services[service].adopt, self.services[service]
        if own is None and (self.adopt is None or spec.url):
            return None
        general = self.adopt or Adopt()
        if own is None or not (own.container or own.label):
            compose = (own.compose if own else "") or general.compose
            alias = own.alias if own else ""
            return Adopt(compose=compose, service=(own.service if own else "") or service, alias=alias)
        return own

    def ways(self, service: str) -> set[str]:
        """How a service can be put up: `run`, `provides`, `url`, `image`, `build`, `adopt`."""
        found = {way for way in WAYS if getattr(self.services[service], way)}
        return found | {"adopt"} if self.adopted(service) else found

    def called(self, caller: str) -> list[str]:
        """Replicas that a service needs, as far as they are there."""
        found: dict[str, None] = {}
        for need in self.services[caller].references():
            if other := self.services.get(need.service):
                names = Service(need.service, other.replicas).replica_names()
                found |= dict.fromkeys(names if need.every else names[(need.replica or 1) - 1 :][:1])
        return list(found)

    def ports(self) -> dict[str, int]:
        """Where the file says on which port a proxy listens: by the edge's name."""
        found = {}
        for edge in self.topology().edges:
            proxies = self.services[edge.calling_service].proxies if edge.caller != LOAD else {}
            if port := proxies.get(edge.callee) or proxies.get(edge.called_service):
                found[edge.name] = port
        return found

    def to_point(self) -> list[str]:
        """What somebody must point where, as nobody can set the needs of what runs already; one line for each edge."""
        ports, said = self.ports(), []
        for edge in self.topology().edges:
            if edge.caller == LOAD or not self.services[edge.calling_service].url:
                continue
            if port := ports.get(edge.name):
                said.append(f"{edge.name}: point {edge.caller} at 127.0.0.1:{port}, where its proxy listens")
            else:
                what = f"{edge.name}: point {edge.caller} at its proxy, which gets a free port in each run"
                said.append(
                    f"{what}; `proxies: {{{edge.callee}: 9001}}` in {edge.calling_service} gives it one for good"
                )
        return said

    def topology(self) -> Topology:
        """Services and edges: one for each replica that a need names, and the front edge(s) from `load`."""
        services = tuple(
            Service(
                name=name,
                replicas=spec.replicas,
                provides=spec.provides,
                ready=spec.health.ready,
                live=spec.health.live,
                metrics=spec.metrics,
            )
            for name, spec in self.services.items()
        )
        by_name = {service.name: service for service in services}
        edges = [Edge(LOAD, by_name[self.entry].replica_names()[0], self.services[self.entry].protocol or "http")]
        for name, spec in self.services.items():
            named: dict[tuple[str, str], str] = {}  # two needs may name one callee, and a URL says more than an address
            for need in spec.references():
                callees = by_name[need.service].replica_names()
                if not need.every:
                    callees = [callees[(need.replica or 1) - 1]]
                said = self.services[need.service].protocol or need.protocol
                for ends in ((caller, callee) for caller in by_name[name].replica_names() for callee in callees):
                    named[ends] = named.get(ends) or said
            edges += [Edge(caller, callee, protocol or "tcp") for (caller, callee), protocol in named.items()]
        return Topology(self.name, self.entry, services, tuple(edges))

    def environment(self, replica: str, address_of: Callable[[Edge], str]) -> dict[str, str]:
        """What `replica`'s `needs` come to, with `address_of(edge)` (host:port) in place of each reference.

        What stands around `{service:all}`, up to a comma, is repeated for each replica, joined with commas.
        """
        topology = self.topology()
        spec = self.services[replica.partition(".")[0]]
        edges = {edge.callee: edge for edge in topology.edges if edge.caller == replica}
        result = {}
        for variable, text in spec.needs.items():
            copies: list[str] = []
            for part in text.split(","):
                every = next((match[1] for match in _PLACE.finditer(part) if match[3]), None)
                callees = topology.service(every).replica_names() if every else []
                copies += [_PLACE.sub(_filled(callee), part) for callee in callees] or [part]
            result[variable] = ",".join(
                _PLACE.sub(lambda m: address_of(edges[_callee(m, topology)]), copy) for copy in copies
            )
        return result


def _filled(callee: str) -> Callable[[re.Match[str]], str]:
    """Turn `{payments:all}` into a reference to one replica."""
    return lambda match: "{" + callee + "}" if match.group(3) else match.group(0)


def _callee(match: re.Match[str], topology: Topology) -> str:
    names = topology.service(match.group(1)).replica_names()
    return names[int(match.group(2) or 1) - 1]
